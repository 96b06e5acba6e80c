"""Stable against itself: nothing changes, and any alarm is told as a false one."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from serinus.controller.rollouts import Judgement
from serinus.controller.snapshot import RolloutView
from serinus.entities import WHOLE
from serinus.rollout.events import GuardrailVerdict, Verdict
from tests.unit.api.rolling import BRISK, THEIRS, Rolling


@pytest.fixture
def rolling(tmp_path: Path) -> Iterator[Rolling]:
    rolling = Rolling(tmp_path)
    yield rolling
    rolling.world.close()


def _judging(verdict: Verdict, smallest_p: float) -> Any:
    def judge(view: RolloutView, _: datetime) -> Judgement:
        said = verdict if view.state.candidate_bp else Verdict.NO_DATA
        found = GuardrailVerdict("error_rate", said, "measured", WHOLE, 12, smallest_p)
        return Judgement((found,))

    return judge


def _start(rolling: Rolling, **spec: Any) -> dict[str, Any]:
    wanted = {"self_test": True, "step": BRISK["step"], "guardrails": [{"error_rate": {}}], **spec}
    return rolling.good("POST", "rollouts", wanted)


def test_it_takes_a_share_and_gives_it_back(rolling: Rolling) -> None:
    before = rolling.endpoint()["config"]
    rolling.world.judge = _judging(Verdict.SAFE, 0.3)
    started = _start(rolling, steps=[{"set_weight": "10%"}, {"set_weight": "50%"}])
    assert (started["stable"], started["candidate"]) == ("m-1", "m-1-aa")
    seen: set[int] = set()

    def over() -> bool:
        seen.add(rolling.world.weights().get("m-1-aa", 0))
        return bool(rolling.now()["phase"] == "SUCCEEDED")

    rolling.world.until(over)
    assert seen == {0, 1000, 5000}
    told = rolling.now()["self_test"]
    assert (told["over"], told["passed"], told["false_alarms"]) == (True, True, [])
    assert told["said"].startswith("No false alarm in 12 looks: the smallest p was 0.3")
    assert told["guardrails"][0]["alarm_at_p"] == 0.01
    rolling.world.pass_time(10)
    assert rolling.world.weights() == {"m-1": WHOLE}
    after = rolling.endpoint()
    assert after["config"] == before
    assert after["state"]["config_update"] == "NOT_UPDATING"
    assert "pending_config" not in after
    living = {each.spec.replica_id: each.phase.value for each in rolling.world.engine.list()}
    assert sorted(living.values()) == ["DRAINING", "READY"], living  # it goes at once


def test_both_pools_answer_as_stable(rolling: Rolling) -> None:
    rolling.world.judge = _judging(Verdict.SAFE, 0.3)
    _start(rolling, steps=[{"set_weight": "10%"}])
    rolling.world.until(lambda: rolling.world.weights().get("m-1-aa") == 1000)
    served = {each.name: each.shown_as for each in rolling.world.gateways.now.served}
    assert served == {"m-1": "", "m-1-aa": "m-1"}


def test_a_false_alarm_goes_back_and_speaks_against_nobody(rolling: Rolling) -> None:
    rolling.world.judge = _judging(Verdict.REGRESSED, 0.0004)
    started = _start(rolling, steps=[{"set_weight": "10%"}])
    ended = rolling.until("ROLLED_BACK")
    assert ended["self_test"]["false_alarms"] == ["error_rate"]
    assert not ended["self_test"]["passed"]
    assert "would have been wrong" in ended["self_test"]["said"]
    endpoint = rolling.world.store.endpoint("e")
    assert rolling.world.store.rollouts.refused(endpoint.id) == {}
    assert rolling.endpoint()["state"]["config_update"] == "NOT_UPDATING"
    rolling.good("POST", f"rollouts/{started['id']}/retry")
    assert rolling.until("ROLLED_BACK")["attempt"] == 2
    rolling.world.judge = _judging(Verdict.SAFE, 0.5)
    _start(rolling, steps=[{"set_weight": "10%"}])
    assert rolling.until("SUCCEEDED")["self_test"]["passed"]


@pytest.mark.parametrize(
    ("verb", "body", "phase"),
    [
        ("promote", {"full": True}, "SUCCEEDED"),
        ("promote", {}, "SUCCEEDED"),
        ("abort", {}, "ROLLED_BACK"),
    ],
)
def test_no_verb_leads_to_full_weight(
    rolling: Rolling, verb: str, body: dict[str, Any], phase: str
) -> None:
    rolling.world.judge = _judging(Verdict.UNDECIDED, 0.5)
    _start(rolling, steps=[{"set_weight": "10%"}])
    rolling.world.until(lambda: rolling.world.weights().get("m-1-aa") == 1000)
    rolling.good("POST", f"rollouts/current/{verb}", body)
    rolling.until(phase)
    assert rolling.world.weights() == {"m-1": WHOLE}


def test_what_does_not_go_with_it_is_refused(rolling: Rolling) -> None:
    for key, value in (
        ("candidate", "models:/m/2"),
        ("bake", {"for": "1h"}),
        ("strategy", "shadow"),
        ("registry_alias", "champion"),
    ):
        status, _, told = rolling.refused("POST", "rollouts", {"self_test": True, key: value})
        assert status == 400
        assert told.startswith(key), told


def test_a_policy_for_releases_does_not_stand_in_its_way(rolling: Rolling) -> None:
    policy = {"rollout": {"strategy": "blue-green", "bake": {"for": "1h"}, "registry_alias": "a"}}
    rolling.good("PUT", "policy", policy)
    rolling.world.judge = _judging(Verdict.SAFE, 0.3)
    _start(rolling)
    assert rolling.until("SUCCEEDED")["spec"]["self_test"] is True
    assert rolling.good("GET", f"{THEIRS}/e")["state"]["config_update"] == "NOT_UPDATING"
