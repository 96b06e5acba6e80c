"""Rollouts on a running server under traffic: there, back, and with a dying controller."""

import math
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from scipy.stats import binom

from tests.e2e.load import ROW, Line, shares, traffic
from tests.e2e.running import Running, eventually, running
from tests.models import saved

BASE = "/api/serinus/v1/endpoints"
#: By time alone, as quick as it goes.
TIMED: dict[str, Any] = {
    "guardrails": [],
    "advance": {"after": "1s"},
    "step": {"min_duration": "1s"},
    "bake": None,
}
#: Two-sided 99.9 % of the normal distribution.
Z = 3.2905


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("rollouts"), "--gateways", "2") as server:
        yield server


@pytest.fixture
def endpoint(server: Running, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh endpoint that serves ``version-1``."""
    name = "e" + str(abs(hash(request.node.name)) % 10**8)
    server.create(name, {"v-1": (saved("version-1"), 100)})
    yield name
    server.http.delete(f"/api/2.0/serving-endpoints/{name}")


def start(server: Running, endpoint: str, model: str, **spec: Any) -> dict[str, Any]:
    body = {"candidate": str(saved(model)), **spec}
    answer = server.http.post(f"{BASE}/{endpoint}/rollouts", json=body)
    assert answer.status_code == 200, answer.text
    started: dict[str, Any] = answer.json()
    return started


def rollout(server: Running, endpoint: str, id_: str = "current") -> dict[str, Any]:
    shown: dict[str, Any] = server.http.get(f"{BASE}/{endpoint}/rollouts/{id_}").json()
    return shown


def verb(server: Running, endpoint: str, name: str, **body: Any) -> httpx.Response:
    return server.http.post(f"{BASE}/{endpoint}/rollouts/current/{name}", json=body)


def ended(server: Running, endpoint: str, phase: str, within_s: float = 120) -> dict[str, Any]:
    """The rollout once it is over, which must be as ``phase``."""
    over = ("SUCCEEDED", "ROLLED_BACK", "FAILED")

    def end() -> dict[str, Any] | None:
        shown = rollout(server, endpoint)
        return shown if shown.get("phase") in over else None

    shown = eventually(end, within_s=within_s, what=f"the end of the rollout of {endpoint}")
    assert shown["phase"] == phase, shown
    return shown


def _weight_is(server: Running, endpoint: str, weight_bp: int) -> None:
    """Decided, and acknowledged by every gateway."""

    def there() -> bool:
        shown = rollout(server, endpoint)
        return shown["weight_bp"] == weight_bp and shown["stage_at"] is not None

    eventually(there, what=f"{weight_bp} bp")


@pytest.mark.parametrize(
    "spec",
    [{"steps": [{"set_weight": "10%"}, {"set_weight": "50%"}]}, {"strategy": "blue-green"}],
    ids=["canary", "blue-green"],
)
def test_a_controller_killed_after_every_journalled_step_changes_nothing(
    server: Running, endpoint: str, spec: dict[str, Any]
) -> None:
    start(server, endpoint, "version-2", **spec, **TIMED)
    id_ = rollout(server, endpoint)["id"]
    kills, seen = 0, -1
    with traffic(server, endpoint) as tally:

        def over() -> bool:
            nonlocal kills, seen
            try:
                journal = server.http.get(f"{BASE}/{endpoint}/rollouts/{id_}/journal").json()
                entries = len(journal["entries"])
                phase = rollout(server, endpoint, id_)["phase"]
            except (httpx.TransportError, KeyError):
                return False
            if entries > seen:
                seen = entries
                for controller in server.children("server.controller"):
                    os.kill(controller.pid, signal.SIGKILL)
                    kills += 1
            return bool(phase == "SUCCEEDED")

        eventually(over, within_s=200, what="the success")
        server.wait_until_up()
        eventually(
            lambda: server.get(endpoint)["state"]["config_update"] == "NOT_UPDATING",
            what="the active config",
        )
    assert kills >= 2  # entries that are written close together are seen as one
    replayed = server.http.get(f"{BASE}/{endpoint}/rollouts/{id_}/replay").json()
    assert replayed["stands"], [each["against"] for each in replayed["decisions"]]
    assert (tally.broken, dict(tally.refused), tally.misattributed) == ([], {}, [])
    shown = server.get(endpoint)
    assert [entity["entity_name"] for entity in shown["config"]["served_entities"]] == [
        str(saved("version-2"))
    ]
    answers = {server.ask(endpoint, ROW).json()["predictions"][0] for _ in range(50)}
    assert answers == {2}


def test_after_an_acknowledged_abort_the_candidate_answers_nobody(
    server: Running, endpoint: str
) -> None:
    with traffic(server, endpoint) as tally:
        for model in ("version-2", "version-3"):
            start(
                server,
                endpoint,
                model,
                steps=[{"set_weight": "50%"}],
                guardrails=[],
                advance={"after": "1h"},
            )
            eventually(lambda: rollout(server, endpoint)["weight_bp"] == 5000, what="the weight")
            assert verb(server, endpoint, "abort", reason="a test").status_code == 200
            ended(server, endpoint, "ROLLED_BACK")
            answers = {server.ask(endpoint, ROW).json()["predictions"][0] for _ in range(40)}
            assert answers == {1}
    assert (tally.broken, dict(tally.refused), tally.misattributed) == ([], {}, [])


def test_sticky_units_keep_their_version_while_the_weight_grows(
    server: Running, endpoint: str
) -> None:
    start(
        server,
        endpoint,
        "version-2",
        unit={"header": "x-user-id"},
        guardrails=[],
        steps=[{"set_weight": "1%"}, {"set_weight": "10%"}, {"set_weight": "50%"}],
        advance={"after": "1h"},
    )
    users = [f"user-{number}" for number in range(1500)]
    on_candidate: set[str] = set()
    for weight in (100, 1000, 5000):
        if on_candidate:
            verb(server, endpoint, "promote")
        _weight_is(server, endpoint, weight)
        with closing(Line(server)) as line:
            now = {
                user
                for user in users
                if line.ask(endpoint, ROW, {"x-user-id": user}).json() == {"predictions": [2]}
            }
        assert on_candidate <= now, "a user went back to stable"
        share = weight / 10_000
        spread = Z * math.sqrt(share * (1 - share) / len(users))
        assert abs(len(now) / len(users) - share) <= spread
        on_candidate = now
    verb(server, endpoint, "abort")
    ended(server, endpoint, "ROLLED_BACK")


def test_one_request_in_a_thousand_goes_to_the_candidate(server: Running, endpoint: str) -> None:
    by_time = {"guardrails": [], "advance": {"after": "1h"}}
    candidate = start(server, endpoint, "version-2", steps=[{"set_weight": "0.1%"}], **by_time)
    _weight_is(server, endpoint, 10)
    seen = shares(server, endpoint, 12_000)
    least, most = binom.interval(0.999, seen.total(), 0.001)
    assert 0 < least <= seen[candidate["candidate"]] <= most
    assert set(seen) == {"v-1", candidate["candidate"]}


def test_the_preview_of_a_blue_green_is_reached_by_its_own_path_alone(
    server: Running, endpoint: str
) -> None:
    candidate = start(
        server, endpoint, "version-2", strategy="blue-green", cutover="approve", **TIMED
    )["candidate"]
    eventually(lambda: rollout(server, endpoint)["phase"] == "PAUSED", what="the preview")
    # Its route is published right after.
    eventually(
        lambda: server.ask(endpoint, ROW, served=candidate).status_code == 200, what="its own path"
    )
    assert server.ask(endpoint, ROW, served=candidate).json() == {"predictions": [2]}
    seen = Counter(server.ask(endpoint, ROW).json()["predictions"][0] for _ in range(50))
    assert seen == {1: 50}
    assert verb(server, endpoint, "approve").status_code == 200
    ended(server, endpoint, "SUCCEEDED")
    seen = Counter(server.ask(endpoint, ROW).json()["predictions"][0] for _ in range(50))
    assert seen == {2: 50}
    undone = server.http.post(f"{BASE}/{endpoint}/undo", json={})
    assert undone.status_code == 200, undone.text
    ended(server, endpoint, "SUCCEEDED")
    assert server.ask(endpoint, ROW).json() == {"predictions": [1]}


def test_shadow_traffic_is_compared_and_never_answers(server: Running, endpoint: str) -> None:
    start(
        server,
        endpoint,
        "version-2",
        strategy="shadow",
        guardrails=[],
        steps=[{"shadow": {"percent": "100%", "until": {"requests": 100}}}],
    )
    with traffic(server, endpoint, threads=2) as tally:
        ended(server, endpoint, "SUCCEEDED")
    assert set(tally.by_version) == {"v-1"}
    assert (tally.broken, dict(tally.refused)) == ([], {})
    [gate] = [
        g for g in rollout(server, endpoint)["verification"]["gates"] if g["name"] == "shadow"
    ]
    assert gate["result"] == "pass", gate
    pairs = int(gate["detail"].partition(" copied requests")[0].replace(",", ""))
    assert pairs >= 100
    assert f"in {pairs:,} a class differs" in gate["detail"]  # one says 1, the other 2


def test_a_verb_that_does_not_fit_is_refused_at_once(server: Running, endpoint: str) -> None:
    start(server, endpoint, "version-2", steps=[{"set_weight": "50%"}], **TIMED)
    refused = verb(server, endpoint, "approve")
    assert (refused.status_code, refused.json()["error_code"]) == (400, "INVALID_STATE")
    ended(server, endpoint, "SUCCEEDED")
    assert verb(server, endpoint, "pause").status_code == 400
