"""The control API on a real port, with a controller that only pretends to deploy."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
import uvicorn

from serinus.api.app import create_app
from serinus.entities import ConfigUpdate, Deployment, Endpoint, EnvironmentRef, ModelRef
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store

#: The registered model that can't be loaded.
BROKEN = "broken"


def now() -> datetime:
    return datetime.now(UTC)


class PretendController:
    """Makes every wish in the store come true at once, except for models called ``broken``.

    While `held` it leaves wishes as they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._woken = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._epoch = store.take_epoch()
        self._free = threading.Event()
        self._free.set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._free.set()
        self.wake()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def wake(self) -> None:
        self._woken.set()

    @contextmanager
    def held(self) -> Iterator[None]:
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()
            self.wake()

    def logs(self, endpoint_id: str, served: str) -> str:
        return f"{served} has started\n"

    def _run(self) -> None:
        while not self._stopping:
            self._woken.wait(0.2)
            self._woken.clear()
            if self._free.is_set():
                for endpoint in self._store.endpoints(include_deleted=True):
                    self._reconcile(endpoint)

    def _reconcile(self, endpoint: Endpoint) -> None:
        if endpoint.deleted:
            self._store.purge(endpoint.id, epoch=self._epoch)
            return
        pending = endpoint.pending
        if endpoint.update is not ConfigUpdate.IN_PROGRESS or pending is None:
            return
        entry = JournalEntry("controller", "config_ended", now(), endpoint.id)
        broken = [entity for entity in pending.entities if entity.entity_name == BROKEN]
        for entity in pending.entities:
            log = f"fetched {entity.model_uri}\n"
            if entity in broken:
                done = replace(
                    entity,
                    deployment=Deployment.FAILED,
                    deployment_message=f"{entity.model_uri} can't be loaded.",
                    build_log=log,
                )
            else:
                done = replace(
                    entity,
                    deployment=Deployment.READY,
                    model=ModelRef("d" * 64, entity.model_uri, entity.model_uri),
                    environment=EnvironmentRef("e" * 64, "python", "current"),
                    build_log=log,
                )
            self._store.save_entity(endpoint.id, pending.version, done, epoch=self._epoch)
        if broken:
            message = f"{broken[0].name} can't be loaded."
            self._store.fail(
                endpoint.id, pending.version, message, now(), epoch=self._epoch, journal=[entry]
            )
        else:
            self._store.activate(
                endpoint.id, pending.version, now(), epoch=self._epoch, journal=[entry]
            )


@dataclass(frozen=True)
class Served:
    """A running control API."""

    url: str
    store: Store
    controller: PretendController


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with closing(Store.open(f"sqlite:///{tmp_path / 'serinus.db'}")) as store:
        controller = PretendController(store)
        app = create_app(
            store,
            wake=controller.wake,
            replica_logs=controller.logs,
            clock=now,
            new_id=lambda: uuid4().hex,
            workspace_id="4711",
        )
        controller.start()
        try:
            with listening(app) as url:
                yield Served(url, store, controller)
        finally:
            controller.stop()


@contextmanager
def listening(app: Callable[..., object]) -> Iterator[str]:
    """The app under uvicorn in a thread, on a port that the system chose."""
    with closing(socket.socket()) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([sock],), daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture(autouse=True)
def no_personal_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The clients must not find the credentials of whoever runs the tests."""
    for name in ("DATABRICKS_HOST", "DATABRICKS_TOKEN", "DATABRICKS_CONFIG_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
