"""Prepares models in the background, one thread each: check the pinned files, find an environment.

The callers only ever look at the progress; nothing here blocks them.
"""

import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from serinus.engine.artifacts import ModelStore
from serinus.engine.engine import Stage, StagePhase
from serinus.engine.environment import EnvironmentFailed
from serinus.engine.optimize import Builder, prepare, stage_key
from serinus.entities import EnvironmentRef, ModelRef, Optimize
from serinus.errors import SerinusError, described

__all__ = ["Staging"]

_MAX_LOG_LINES = 5000


class Staging:
    """The preparation of each model that was asked for. ``changed`` is called from its threads."""

    def __init__(self, store: ModelStore, builder: Builder, changed: Callable[[], None]) -> None:
        self._store = store
        self._builder = builder
        self._changed = changed
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job] = {}

    def stage(self, model: ModelRef, optimize: Optimize = Optimize.NONE) -> Stage:
        """The progress of this model; starts it when it is new, or when its result is no good."""
        key = stage_key(model, optimize)
        with self._lock:
            job = self._jobs.get(key)
            if job is None or not self._stands(job, job.stage()):
                job = self._jobs[key] = _Job(model, optimize)
                threading.Thread(
                    target=self._run, args=(job,), name=f"stage-{model.digest[:8]}", daemon=True
                ).start()
        stage = job.stage()
        if stage.phase is StagePhase.FAILED:
            job.told = True
        return stage

    def _stands(self, job: "_Job", stage: Stage) -> bool:
        if stage.phase is StagePhase.FAILED:
            return not job.told
        if stage.phase is not StagePhase.READY or stage.environment is None:
            return True
        # Somebody may have tidied up behind our back.
        files = self._store.root / job.model.digest
        return Path(stage.environment.python).exists() and files.is_dir()

    def _run(self, job: "_Job") -> None:
        digest = job.model.digest
        try:
            job.say(f"checking the files of {job.model.uri}")
            self._store.verify(digest)
            path = self._store.path(digest)
            environment = prepare(self._builder, job.model, path, job.say, job.optimize)
            job.end(StagePhase.READY, "The model is ready to start.", environment)
        except (SerinusError, EnvironmentFailed, OSError) as error:
            job.end(StagePhase.FAILED, str(error))
        except Exception as error:  # noqa: BLE001 - see below
            # A stage that hangs for ever in STAGING would be worse than any reason.
            reason = described(error)
            structlog.get_logger(__name__).error("stage_failed", model=job.model.uri, error=reason)
            job.end(StagePhase.FAILED, f"The preparation met {reason}.")
        self._changed()


class _Job:
    """One preparation."""

    def __init__(self, model: ModelRef, optimize: Optimize) -> None:
        self.model = model
        self.optimize = optimize
        #: A failure has been seen by a caller, so that the next call starts afresh.
        self.told = False
        self._lock = threading.Lock()
        self._phase = StagePhase.STAGING
        self._message = "The model is being prepared."
        self._environment: EnvironmentRef | None = None
        self._log: list[str] = []

    def stage(self) -> Stage:
        with self._lock:
            return Stage(self._phase, self._environment, self._message, "\n".join(self._log))

    def say(self, line: str) -> None:
        with self._lock:
            if len(self._log) >= _MAX_LOG_LINES:
                del self._log[1]
                self._log[0] = "… (the beginning was cut)"
            self._log.append(line)
            self._message = line if self._phase is StagePhase.STAGING and line else self._message

    def end(
        self, phase: StagePhase, message: str, environment: EnvironmentRef | None = None
    ) -> None:
        with self._lock:
            self._phase, self._message, self._environment = phase, message, environment
            self._log.append(message)
