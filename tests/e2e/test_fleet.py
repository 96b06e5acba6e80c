"""Several replicas of one version, and answers that are given again, on a running server."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.load import ROW, traffic
from tests.e2e.running import Running, eventually, running
from tests.models import saved

OTHER = {"dataframe_split": {"columns": ["x", "y"], "data": [[3.0, 4.0]]}}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("fleet")) as server:
        yield server


@pytest.fixture
def server(alone: Running) -> Iterator[Running]:
    """With an endpoint, and no process of the one before."""
    eventually(lambda: not _replicas(alone), what="the end of the one before")
    # A model that takes seconds to start: its return must be seen.
    alone.create("fleet", {"v-1": (saved("constant"), 100)}, replicas=2)
    yield alone
    assert alone.http.delete("/api/2.0/serving-endpoints/fleet").status_code == 200


def _replicas(server: Running) -> set[int]:
    return {process.pid for process in server.children("replica.main")}


def _deployment(server: Running) -> tuple[str, str]:
    [entity] = server.get("fleet")["config"]["served_entities"]
    return entity["state"]["deployment"], entity["state"]["deployment_state_message"]


def _says(deployment: tuple[str, str], state: str, words: str) -> bool:
    return deployment[0] == state and words in deployment[1]


def _busy(server: Running) -> dict[int, float]:
    """CPU seconds of each replica, which is how its part of the work shows from outside."""
    return {each.pid: sum(each.cpu_times()[:2]) for each in server.children("replica.main")}


def test_replicas_share_die_come_back_and_go_without_a_failure(server: Running) -> None:
    both = 'serinus_replicas_ready{endpoint="fleet",served="v-1"} 2'
    eventually(lambda: both in server.http.get("/metrics").text, what="two that are ready")
    # The copy in which a replica compared its model with MLflow's may still be ending.
    eventually(lambda: len(_replicas(server)) == 2, what="two replicas and nothing else")
    started = _replicas(server)
    idle = _busy(server)
    with traffic(server, "fleet") as tally:
        eventually(lambda: tally.answered > 400, what="the answers of two")
        worked = {pid: spent - idle[pid] for pid, spent in _busy(server).items()}
        assert min(worked.values()) > 0.25 * max(worked.values()), worked
        victim = min(started)
        os.kill(victim, signal.SIGKILL)
        # One is missing and one serves; then there are two again, and it is one of them.
        notice = "DEPLOYMENT_RECOVERING", "Starting 1 of 2 replicas"
        eventually(lambda: _says(_deployment(server), *notice), what="the notice")
        eventually(lambda: _deployment(server)[0] == "DEPLOYMENT_READY", what="the replacement")
        before = _replicas(server)
        assert (len(before), before & started) == (2, started - {victim})
        # Fewer: the rest goes on, what is too many answers what it has and ends.
        server.update("fleet", {"v-1": (saved("constant"), 100)})
        server.wait("fleet")
        eventually(lambda: len(_replicas(server)) == 1, what="the retirement")
        assert _replicas(server) < before
    assert (tally.broken, dict(tally.refused), tally.misattributed) == ([], {}, [])
    wanted = 'serinus_replicas_ready{endpoint="fleet",served="v-1"} 1'
    eventually(lambda: wanted in server.http.get("/metrics").text, what="the metrics")


def test_answers_are_given_again_where_a_policy_says_so(server: Running) -> None:
    assert "x-serinus-cache" not in server.ask("fleet", ROW).headers
    _policy(server, {"cache": {"ttl": "10m"}})
    eventually(lambda: _came(server.ask("fleet", OTHER)) == "hit", what="the policy")
    first = server.ask("fleet", ROW)
    again = server.ask("fleet", ROW)
    assert (_came(first), _came(again)) == ("miss", "hit")
    assert first.json() == again.json() == {"predictions": [1]}
    assert again.headers["served-model-name"] == "v-1"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert _came(server.ask("fleet", ROW, served="v-1")) == ""
    bad = {"dataframe_split": {"columns": ["x"], "data": [["a"]]}}
    assert [_came(server.ask("fleet", bad)) for _ in range(2)] == ["miss", "miss"]
    tensors = {
        "inputs": [
            {"name": name, "datatype": "FP64", "shape": [1], "data": [1.0]} for name in ("x", "y")
        ]
    }
    asked = [server.http.post("/v2/models/fleet/infer", json=tensors) for _ in range(2)]
    assert [_came(each) for each in asked] == ["miss", "hit"]
    assert asked[0].json() == asked[1].json()
    # Who has had enough gets no more, though it would cost nobody anything.
    _limit(server, 3)
    eventually(lambda: server.ask("fleet", ROW).status_code == 429, what="the limit")
    _limit(server, 100_000)
    eventually(lambda: _came(server.ask("fleet", ROW)) == "hit", what="the new limit")
    # What answers is what serves now: another version asks anew, at once.
    server.update("fleet", {"v-2": (saved("version-2"), 100)})
    server.wait("fleet")
    assert server.ask("fleet", ROW).json() == {"predictions": [2]}
    hits = 'serinus_cache_requests_total{endpoint="fleet",served="v-1",outcome="hit"}'
    eventually(lambda: hits in server.http.get("/metrics").text, what="the counters")
    _policy(server, {})
    eventually(lambda: _came(server.ask("fleet", ROW)) == "", what="the policy's end")


def _came(answer: httpx.Response) -> str:
    return str(answer.headers.get("x-serinus-cache", ""))


def _limit(server: Running, calls: int) -> None:
    limits = {"rate_limits": [{"calls": calls, "key": "endpoint", "renewal_period": "minute"}]}
    answer = server.http.put("/api/2.0/serving-endpoints/fleet/rate-limits", json=limits)
    assert answer.status_code == 200, answer.text


def _policy(server: Running, policy: dict[str, Any]) -> None:
    answer = server.http.put("/api/serinus/v1/endpoints/fleet/policy", json=policy)
    assert answer.status_code == 200, answer.text
