"""The server that rollouts are timed on, with its control API and its load; ends what it starts."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.models import BenchModel
from bench.processes import ProcessTree, free_port, limited_environment

__all__ = ["API", "ENDPOINT", "GATEWAYS", "POLL_S", "Server", "create", "loaded", "serving"]

ENDPOINT = "bench"
API = f"/api/serinus/v1/endpoints/{ENDPOINT}/rollouts"
GATEWAYS = 2
#: Asking for the state loads the server, so it is asked seldom. What a change takes is read off
#: the probes' answers and the rollout's own times, not off these looks; how long the bench rests
#: between two verbs, and so how far the server has calmed down, does depend on it.
POLL_S = 0.05
_HERE = Path(__file__).resolve().parent
_WITHIN_S = 60.0


class Server:
    """The control API of one running server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of the answer; raises RuntimeError for one that is not 200."""
        content = None if body is None else json.dumps(body)
        self._connection.request(method, path, content, {"content-type": "application/json"})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]!r}")
        return json.loads(text)

    def up(self) -> bool:
        """True once the control API answers."""
        try:
            self.call("GET", "/api/2.0/serving-endpoints")
        except (OSError, http.client.HTTPException, RuntimeError):
            self._connection.close()
            return False
        return True

    def rollout(self) -> dict[str, Any]:
        """The rollout as it is now."""
        shown: dict[str, Any] = self.call("GET", f"{API}/current")
        return shown

    def when(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The rollout once the condition holds of it."""
        give_up_at = time.monotonic() + _WITHIN_S
        while not condition(shown := self.rollout()):
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"it never came to that: {json.dumps(shown)[:1500]}")
            time.sleep(POLL_S)
        return shown


@contextmanager
def serving(home: Path, log: Path) -> Iterator[Server]:
    port, path = free_port(), f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    extra = {"MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}", "PATH": path}
    serve = [str(Path(sys.executable).with_name("serinus")), "serve", "--port", str(port)]
    tree = ProcessTree(
        [*serve, "--home", str(home / "home"), "--gateways", str(GATEWAYS)],
        env=limited_environment(extra),
        cwd=home,
        log=log,
        port=port,
    )
    try:
        server, give_up_at = Server(port), time.monotonic() + _WITHIN_S
        while not server.up():
            if time.monotonic() > give_up_at:
                raise RuntimeError("the server did not start; see its log")
            time.sleep(POLL_S)
        yield server
    finally:
        tree.stop()


@contextmanager
def loaded(job: dict[str, Any]) -> Iterator[list[str]]:
    """The gateways' ids; the load lasts as long as the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.rollout_load"],
        cwd=_HERE.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        under_way = process.stdout.readline()
        if not under_way:
            raise RuntimeError("the generator ended before it had begun")
        try:
            yield json.loads(under_way)
        finally:
            process.stdin.close()
            process.wait(60)


def create(server: Server, model: BenchModel) -> None:
    entity = {"name": "v-1", "entity_name": str(model.path)}
    body = {"name": ENDPOINT, "config": {"served_entities": [entity]}}
    server.call("POST", "/api/2.0/serving-endpoints", body)
    give_up_at = time.monotonic() + _WITHIN_S
    path = f"/api/2.0/serving-endpoints/{ENDPOINT}"
    while server.call("GET", path)["state"]["config_update"] == "IN_PROGRESS":
        if time.monotonic() > give_up_at:
            raise RuntimeError("the endpoint was not served; see its log")
        time.sleep(POLL_S)
