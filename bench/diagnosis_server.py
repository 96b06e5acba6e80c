"""The server that the live diagnosis matrix asks: started as a user starts it, called as one calls.

Ends only what it started.
"""

import json
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from bench.processes import DidNotStart, ProcessTree, free_port, limited_environment
from serinus.client import Client, ServerUnreachable
from serinus.errors import SerinusError
from serinus.replica.launch import Phase, read_launch, read_status

__all__ = ["Endpoint", "Sent", "Server", "served", "until"]

_POLL_S = 0.2
_WITHIN_S = 240.0
#: Sampled rows of which no more have come for so long are all there are; and outcomes of which no
#: more have become known for so long are of requests that nobody has kept.
_ROWS_STILL_S, _STILL_S = 3.0, 8.0
_T = TypeVar("_T")


class Sent:
    """What became of the requests of one case."""

    def __init__(self) -> None:
        self.requests = self.refused = self.rows = 0
        #: Id and first prediction of each answered request, in the order of sending.
        self.answers: list[tuple[str, Any]] = []

    def add(self, answer: httpx.Response, rows: int) -> None:
        """Count one answer; raises RuntimeError for one that is neither right nor refused."""
        self.requests += 1
        if answer.status_code == 200:
            self.rows += rows
            self.answers.append((answer.headers["x-request-id"], answer.json()["predictions"][0]))
        elif answer.status_code == 400:
            self.refused += 1
        else:
            raise RuntimeError(f"a request was answered {answer.status_code}: {answer.text[:300]}")


class Endpoint:
    """One endpoint with one served entity. For one thread."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self._client = Client(url, timeout=120.0, patience_s=120.0)
        self._http = httpx.Client(base_url=url, timeout=120.0, trust_env=False)

    def create(self, model: Path, replicas: int = 1) -> None:
        """Serve the model, and wait until it serves and is verified."""
        entity = {"name": "one", "entity_name": str(model), "replicas": replicas}
        route = {"served_model_name": "one", "traffic_percentage": 100}
        self._client.create(
            self.name, {"served_entities": [entity], "traffic_config": {"routes": [route]}}
        )
        self._client.wait_until_updated(self.name, timeout_s=_WITHIN_S)
        self.verified()

    def update(self, model: Path, replicas: int = 1) -> str:
        """Serve another model instead; returns the digest of its pinned files."""
        entity = {"name": "one", "entity_name": str(model), "replicas": replicas}
        self._client.update_config(self.name, {"served_entities": [entity]})
        self._client.wait_until_updated(self.name, timeout_s=_WITHIN_S)
        self.verified()
        found = self._client.verification(self.name)["verifications"]
        return str(found[0]["model_digest"])

    def half_way(self, candidate: Path) -> None:
        """Have another model take half of the users, and stay so."""
        steps = [{"set_weight": "50%"}, {"pause": {}}, {"set_weight": "100%"}]
        unit = {"json_path": "context.user_id"}
        spec = {"candidate": str(candidate), "steps": steps, "unit": unit, "guardrails": []}
        self._client.start_rollout(self.name, spec)

        def there() -> bool:
            found = self._client.rollout(self.name)
            return found["weight_bp"] == 5000 and bool(found["stage_at"])

        until(there, f"half of the users of {self.name}")

    def verify(self) -> None:
        """Replay the golden rows on what serves now, as `serinus diagnose --live` does."""
        self._client.verify(self.name)
        self.verified()

    def verified(self) -> None:
        """Wait until the verification has ended."""

        def ended() -> bool:
            found = self._client.verification(self.name)["verifications"]
            return bool(found) and all(each["status"] == "ended" for each in found)

        until(ended, f"the verification of {self.name}")

    def send(self, body: bytes, caller: str, rows: int, sent: Sent) -> None:
        """One request."""
        answer = self._http.post(
            f"/serving-endpoints/{self.name}/invocations",
            content=body,
            headers={"content-type": "application/json", "x-caller": caller},
        )
        sent.add(answer, rows)

    def keys(self, names: list[str]) -> list[dict[str, Any]]:
        """What sampled rows have in the key fields."""
        return self._client.sampled_keys(self.name, names)

    def tell(self, outcomes: list[dict[str, Any]]) -> None:
        """Say how requests turned out, until no more of them become known.

        Replicas keep some requests a second, and an outcome of another one is of no use. Those that
        are kept become known a little later, and an outcome that is told twice counts once.
        """
        for begin in range(0, len(outcomes), 1000):
            some = outcomes[begin : begin + 1000]
            looks: list[tuple[int, float]] = []

            def no_more(some: list[Any] = some, looks: list[tuple[int, float]] = looks) -> bool:
                unknown, now = (
                    self._client.tell_outcomes(self.name, some)["unknown"],
                    time.monotonic(),
                )
                if not looks or looks[-1][0] != unknown:
                    looks.append((unknown, now))
                still = now - looks[-1][1] >= _STILL_S
                return not unknown or (unknown < len(some) and still)

            until(no_more, f"the requests of {len(some)} outcomes of {self.name}")

    def counted(self, caller: str | None, rows: int) -> None:
        """Wait until that many rows are counted, or were left out by a replica that had no time.

        Raises RuntimeError when they are not: a diagnosis of fewer rows would be another case.
        """

        def all_there() -> bool:
            versions = self._client.skew(self.name, caller=caller)["versions"]
            return bool(sum(each["rows"] + each["skipped_rows"] for each in versions) >= rows)

        until(all_there, f"the counts of {rows} rows of {caller or self.name}")

    def settled_keys(self, names: list[str]) -> list[dict[str, Any]]:
        """As `keys`, once no more rows arrive: they are heard some at a time, the oldest first."""
        found = self.keys(names)
        since = time.monotonic()

        def no_more() -> bool:
            nonlocal found, since
            before, found = len(found), self.keys(names)
            if len(found) != before:
                since = time.monotonic()
            return time.monotonic() - since >= _ROWS_STILL_S

        until(no_more, f"the sampled rows of {self.name}")
        return found

    def diagnosis(self, caller: str | None, offline: dict[str, Any] | None) -> dict[str, Any]:
        """What is wrong with its predictions, by what is known now."""
        return self._client.diagnose(self.name, caller=caller, offline=offline)

    def delete(self) -> None:
        """Take it away."""
        self._client.delete(self.name)
        self._client.close()
        self._http.close()


def until(condition: Callable[[], _T | None], what: str) -> _T:
    """The first true value; raises RuntimeError when there was none in time."""
    give_up_at = time.monotonic() + _WITHIN_S
    while not (value := condition()):
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"{what}: not within {_WITHIN_S:.0f} s")
        time.sleep(_POLL_S)
    return value


class Server:
    """A running server, and what somebody with access to its machine can break."""

    def __init__(self, url: str, home: Path, tree: ProcessTree) -> None:
        self.url = url
        self._home = home
        self._tree = tree

    def replicas(self, digest: str) -> list[int]:
        """Pids of those that are ready to serve a model."""
        found = []
        for process in self._tree.processes():
            try:
                command = process.cmdline()
            except psutil.Error:
                continue
            if "serinus.replica.main" in command:
                launch = read_launch(Path(command[-1]))
                status = read_status(Path(launch.status_path))
                if launch.model_digest == digest and status and status.phase is Phase.READY:
                    found.append(process.pid)
        return found

    def overwrite(self, digest: str, model: Path) -> None:
        """Put another model's files in the place of a pinned one's."""
        pinned = self._home / "models" / digest
        for place in (pinned, *pinned.rglob("*")):
            place.chmod(0o755 if place.is_dir() else 0o644)
        shutil.rmtree(pinned)
        shutil.copytree(model, pinned)

    def salt(self, endpoint: str, salt: str) -> None:
        """Change what the units of an endpoint's rollout are assigned by."""
        newest = (
            "SELECT rollouts.id FROM rollouts JOIN endpoints ON endpoints.id = endpoint_id "
            "WHERE endpoints.name = ? ORDER BY started_at DESC LIMIT 1"
        )
        with closing(sqlite3.connect(self._home / "serinus.db", timeout=60)) as database:
            (id_,) = database.execute(newest, (endpoint,)).fetchone()
            database.execute(
                "UPDATE rollouts SET state = json_set(state, '$.salt', ?), revision = revision + 1 "
                "WHERE id = ?",
                (salt, id_),
            )
            database.commit()

    def restart(self, digest: str, count: int) -> None:
        """End some of the model's replicas, and wait until the server has started others."""
        before = self.replicas(digest)
        gone = before[:count]
        for pid in gone:
            psutil.Process(pid).kill()

        def back() -> bool:
            now = self.replicas(digest)
            return len(now) == len(before) and not set(now) & set(gone)

        until(back, f"{count} new replicas of {digest[:12]}")


@contextmanager
def served(home: Path) -> Iterator[Server]:
    """A server whose files are below ``home``."""
    port = free_port()
    extra = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
    }
    tree = ProcessTree(
        [
            str(Path(sys.executable).with_name("serinus")),
            "serve",
            "--port",
            str(port),
            "--home",
            str(home / "home"),
        ],
        env=limited_environment(extra),
        cwd=home,
        log=home / "server.log",
        port=port,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        with Client(url) as client:

            def up() -> bool:
                if tree.ended:
                    raise DidNotStart(tree.ended)
                try:
                    client.endpoints()
                except (ServerUnreachable, SerinusError, json.JSONDecodeError):
                    return False
                return True

            until(up, "the server")
        yield Server(url, home / "home", tree)
    finally:
        tree.stop()
