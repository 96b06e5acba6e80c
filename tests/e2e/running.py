"""A real `serinus serve` for tests: started as a user starts it, ended by its pid."""

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

SERINUS = Path(sys.executable).with_name("serinus")
_T = TypeVar("_T")
#: Served name → (model path or URI, percent of the traffic).
Served = Mapping[str, tuple[Path | str, int]]


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(condition: Callable[[], _T | None], *, within_s: float = 60.0, what: str = "") -> _T:
    """The first true value of ``condition``; fails after ``within_s``."""
    give_up_at = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > give_up_at:
            raise AssertionError(f"{what or condition} did not come true within {within_s} s")
        time.sleep(0.05)


class Running:
    """One server process and a client to it."""

    def __init__(
        self,
        home: Path,
        *arguments: str,
        port: int | None = None,
        environ: dict[str, str] | None = None,
    ) -> None:
        self.home = home
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = home.with_suffix(".log")
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SERINUS_", "MLFLOW_"))
        }
        tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{home.parent / 'mlflow.db'}"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(SERINUS), "serve", "--port", str(self.port), "--home", str(home), *arguments],
                stdout=log,
                stderr=log,
                cwd=home.parent,
                env={**inherited, **tracking, **(environ or {})},
            )
        self.http = self._client()

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30.0, trust_env=False)

    def reconnect(self) -> None:
        """Drop kept connections: one of them may lead to a gateway that was stopped on purpose."""
        self.http.close()
        self.http = self._client()

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_until_up(self) -> "Running":
        """Return once the control API answers."""

        def up() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended: {self.log.read_text()}")
            try:
                return self.http.get("/api/2.0/serving-endpoints").status_code == 200
            except httpx.TransportError:
                return False

        eventually(up, what="the control API")
        return self

    def children(self, module: str) -> list[psutil.Process]:
        """Living descendants that run ``serinus.<module>``."""
        found = []
        for process in psutil.Process(self.pid).children(recursive=True):
            try:
                if f"serinus.{module}" in process.cmdline():
                    found.append(process)
            except psutil.Error:
                continue  # it ended while we looked
        return found

    def everything(self) -> list[psutil.Process]:
        """The server and all that it started."""
        return [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]

    # --- the control API

    def create(self, name: str, served: Served, **extra: Any) -> None:
        """``{served name: (model path or URI, percent)}``; waits until it serves."""
        body = {"name": name, "config": _config(served, **extra)}
        self._wish(self.http.post("/api/2.0/serving-endpoints", json=body))
        self.wait(name)

    def update(self, name: str, served: Served, **extra: Any) -> None:
        """Replace the config and return at once."""
        path = f"/api/2.0/serving-endpoints/{name}/config"
        self._wish(self.http.put(path, json=_config(served, **extra)))

    def get(self, name: str) -> dict[str, Any]:
        """The endpoint as the API shows it."""
        answer = self.http.get(f"/api/2.0/serving-endpoints/{name}")
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def wait(self, name: str, outcome: str = "NOT_UPDATING") -> dict[str, Any]:
        """Wait until the update has ended, as ``outcome``, and the gateways serve by it."""

        def ended() -> dict[str, Any] | None:
            shown = self.get(name)
            return shown if shown["state"]["config_update"] != "IN_PROGRESS" else None

        shown = eventually(ended, within_s=120, what=f"the update of {name}")
        assert shown["state"]["config_update"] == outcome, json.dumps(shown, indent=1)
        return shown

    @staticmethod
    def _wish(answer: httpx.Response) -> None:
        assert answer.status_code == 200, answer.text

    # --- the data plane

    def ask(
        self, name: str, body: Any, served: str | None = None, **options: Any
    ) -> httpx.Response:
        """One prediction request; ``body`` is JSON."""
        path = f"/serving-endpoints/{name}/invocations"
        if served is not None:
            path = f"/serving-endpoints/{name}/served-models/{served}/invocations"
        return self.http.post(path, json=body, **options)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(60)
        finally:
            self.http.close()


def _config(served: Served, **extra: Any) -> dict[str, Any]:
    return {
        "served_entities": [
            {"name": name, "entity_name": str(uri), **extra} for name, (uri, _) in served.items()
        ],
        "traffic_config": {
            "routes": [
                {"served_model_name": name, "traffic_percentage": percent}
                for name, (_, percent) in served.items()
            ]
        },
    }


def _remember(home: Path) -> None:
    """Let all servers of this process keep what replicas find out of models in one place.

    Else the same proof is made for each server: MLflow is imported, which takes seconds. Only the
    first of them can be wrong, and `tests/integration/replica` looks at each on its own.
    """
    if not home.exists():
        home.mkdir(mode=0o700)
        (home / "forms").symlink_to(_forms(), target_is_directory=True)


@cache
def _forms() -> Path:
    made = tempfile.mkdtemp(prefix="serinus-forms-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


@contextmanager
def running(
    directory: Path, *arguments: str, environ: dict[str, str] | None = None
) -> Iterator[Running]:
    """A server that is up, and gone afterwards."""
    home = directory / "home"
    _remember(home)
    server = Running(home, *arguments, environ=environ)
    try:
        yield server.wait_until_up()
    finally:
        server.stop()
