"""Runs one replica of a model for as long as somebody looks at it, apart from every server.

It has an engine and a directory of its own: replicas of a server in the same home are neither seen
nor touched. When its process dies, the replica ends with it.
"""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from serinus.engine.artifacts import ModelStore
from serinus.engine.engine import ReplicaPhase, ReplicaSpec, ReplicaStatus, StagePhase
from serinus.engine.local import LocalEngine
from serinus.engine.optimize import Builder
from serinus.entities import EnvironmentRef, ModelRef

__all__ = ["TrialFailed", "trial"]

_REPLICA = "trial-1"
_LOG_BYTES = 4000
_LOOK_S = 0.2


class TrialFailed(Exception):
    """The model can't be prepared or its replica did not start; the message says why."""


@contextmanager
def trial(
    model: ModelRef,
    scratch: Path,
    *,
    store: ModelStore,
    builder: Builder,
    environ: Mapping[str, str],
    clock: Callable[[], datetime],
    say: Callable[[str], None],
    threads: int = 1,
    max_batch: int = 128,
    start_deadline_s: float = 300.0,
) -> Iterator[ReplicaStatus]:
    """A ready replica of a pinned model, ended on the way out.

    ``scratch`` is an empty directory with a short path; models and environments stay where
    ``store`` and ``builder`` keep them. ``say`` gets a sentence when something goes on. Raises
    TrialFailed.
    """
    lifeline, held = os.pipe()
    bell = threading.Event()
    engine = LocalEngine(
        scratch / "home",
        scratch / "run",
        store=store,
        builder=builder,
        clock=clock,
        environ=environ,
        lifeline_fd=lifeline,
        drain_s=2.0,
    )
    engine.watch(bell.set)
    try:
        environment = _staged(engine, model, bell, say)
        spec = ReplicaSpec(
            replica_id=_REPLICA,
            group="trial",
            model_digest=model.digest,
            environment=environment,
            threads=threads,
            max_batch=max_batch,
            start_deadline_s=start_deadline_s,
        )
        say("starting a replica")
        yield _ready(engine, spec, bell)
    finally:
        _end(engine, bell)
        engine.close()
        os.close(held)
        os.close(lifeline)


def _staged(
    engine: LocalEngine, model: ModelRef, bell: threading.Event, say: Callable[[str], None]
) -> EnvironmentRef:
    said = ""
    while True:
        bell.clear()
        stage = engine.stage(model)
        if stage.phase is StagePhase.FAILED:
            raise TrialFailed(f"The model can't be prepared: {stage.message}")
        if stage.phase is StagePhase.READY and stage.environment is not None:
            return stage.environment
        if stage.message != said:
            said = stage.message
            say(said)
        bell.wait(_LOOK_S)


def _ready(engine: LocalEngine, spec: ReplicaSpec, bell: threading.Event) -> ReplicaStatus:
    """The engine itself ends a replica that is not ready within the spec's deadline."""
    while True:
        bell.clear()
        status = engine.ensure(spec)
        if status.phase is ReplicaPhase.READY:
            return status
        if status.phase in (ReplicaPhase.EXITED, ReplicaPhase.DRAINING):
            log = engine.logs(spec.replica_id, tail_bytes=_LOG_BYTES).strip()
            raise TrialFailed(f"The replica did not start: {status.message}\n{log}".strip())
        bell.wait(_LOOK_S)


def _end(engine: LocalEngine, bell: threading.Event) -> None:
    engine.stop(_REPLICA, grace_s=3.0, fence_epoch=0)
    while engine.list():
        bell.clear()
        bell.wait(_LOOK_S)
