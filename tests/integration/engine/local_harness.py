"""A local engine over a home in a temporary directory, with stub replicas."""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree

from serinus.engine.artifacts import ModelStore, digest_of
from serinus.engine.engine import Engine, ReplicaSpec
from serinus.engine.installed import current_environment
from serinus.engine.local import LocalEngine
from serinus.entities import EnvironmentRef, ModelRef

STUB = Path(__file__).with_name("stub_replica.py")
HERE = EnvironmentRef("e" * 64, sys.executable, "current")


class CurrentOnly:
    """A builder that always gives the environment of the tests."""

    def prepare(
        self, model: ModelRef, directory: Path, say: Callable[[str], None]
    ) -> EnvironmentRef:
        say(f"{directory.name} gets the environment of the tests")
        return current_environment()


class LocalHarness:
    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        # Paths of sockets are short; those of pytest's directories are not.
        self.run_dir = Path(tempfile.mkdtemp(prefix="serinus-test-"))
        self.environ = dict(os.environ)
        self.store = ModelStore(self.home)
        self.engines: list[LocalEngine] = []
        self.local = self.open()
        self.engine: Engine = self.local
        digest = self.store.add(model_directory(directory / "good", "good"))
        self.model = ModelRef(digest, "models:/m/1", "models:/m/1")
        self.bad = model_directory(directory / "bad", "bad")
        self.bad_model = ModelRef(digest_of(self.bad), "models:/m/2", "models:/m/2")

    def open(self, **options: object) -> LocalEngine:
        """Another engine over the same home."""
        engine = LocalEngine(
            self.home,
            self.run_dir,
            store=self.store,
            builder=CurrentOnly(),
            clock=lambda: datetime.now(UTC),
            environ=self.environ,
            replica_command=(str(STUB),),
            **options,  # type: ignore[arg-type]
        )
        self.engines.append(engine)
        return engine

    def close(self) -> None:
        """End all replicas and engines, whatever the test left."""
        engine = self.open()
        for each in engine.list():
            engine.stop(each.spec.replica_id, grace_s=0.0, fence_epoch=1 << 30)
        deadline = time.monotonic() + 10
        while engine.list():
            assert time.monotonic() < deadline, engine.list()
            time.sleep(0.02)
        for opened in self.engines:
            opened.close()
        rmtree(self.run_dir)

    def spec(self, replica_id: str, behaviour: str = "", **changes: object) -> ReplicaSpec:
        env_vars = {"STUB": behaviour}
        if behaviour == "drains-slowly":
            env_vars["STUB_DRAIN_S"] = "1"
        spec = ReplicaSpec(replica_id, "g", self.model.digest, HERE, env_vars=env_vars)
        return replace(spec, **changes)  # type: ignore[arg-type]

    def pass_time(self, seconds: float) -> None:
        time.sleep(seconds)

    def crash(self, replica_id: str) -> None:
        pid = next(e.pid for e in self.local.list() if e.spec.replica_id == replica_id)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def mend_stage(self) -> None:
        self.store.add(self.bad)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        replicas = self.home / "run" / "replicas"
        aside = replicas.with_name("aside")
        replicas.rename(aside)
        yield
        aside.rename(replicas)

    def successor(self) -> Engine:
        return self.open()


def model_directory(path: Path, word: str) -> Path:
    """The least that passes for a model that mlflow saved."""
    path.mkdir(parents=True)
    (path / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: none\n")
    (path / "weights.bin").write_text(word)
    return path
