"""Rollouts through the real loop and store: what gateways are told and what runs, and when."""

from datetime import datetime
from typing import Any

from serinus.controller.rollouts import Judgement
from serinus.controller.snapshot import RolloutView
from serinus.entities import WHOLE, ConfigUpdate
from serinus.rollout.events import GuardrailVerdict, Verdict
from serinus.rollout.state import Phase
from tests.unit.controller.world import World

TIMED: dict[str, Any] = {
    "guardrails": [],
    "advance": {"after": "10s"},
    "step": {"min_duration": "5s"},
}


def _safe(_: RolloutView, __: datetime) -> Judgement:
    names = ("error_rate", "latency", "predictions")
    return Judgement(tuple(GuardrailVerdict(name, Verdict.SAFE, "", WHOLE) for name in names))


def _bad(view: RolloutView, _: datetime) -> Judgement:
    if not view.state.candidate_bp:
        return Judgement()  # nothing can be held against what has had no traffic
    return Judgement((GuardrailVerdict("error_rate", Verdict.REGRESSED, "9 of 11 errors"),))


def test_a_canary_by_time_walks_its_steps_and_becomes_the_config(world: World) -> None:
    world.roll_out(2, steps=[{"set_weight": "10%"}, {"set_weight": "50%"}], bake=None, **TIMED)
    seen: list[int] = []

    def done() -> bool:
        weight = world.weights().get("m-2", 0)
        if not seen or seen[-1] != weight:
            seen.append(weight)
        return world.phase() is Phase.SUCCEEDED

    world.until(done)
    assert seen == [0, 1000, 5000, WHOLE]
    endpoint = world.store.endpoint("e")
    assert endpoint.update is ConfigUpdate.NOT_UPDATING
    assert endpoint.active is not None
    assert [entity.name for entity in endpoint.active.entities] == ["m-2"]
    world.pass_time(5)
    assert world.weights() == {"m-2": WHOLE}
    assert world.gateways.now.stage is None


def test_the_old_version_stays_warm_and_then_goes(world: World) -> None:
    world.roll_out(2, strategy="blue-green", bake=None, rollback={"keep_warm": "60s"}, **TIMED)
    world.until(lambda: world.phase() is Phase.SUCCEEDED)
    world.pass_time(30)
    assert world.running() == {"d1", "d2"}
    world.pass_time(40)
    assert world.running() == {"d2"}


def test_blue_green_cuts_over_in_one_generation(world: World) -> None:
    world.roll_out(2, strategy="blue-green", cutover="approve", bake=None, **TIMED)
    world.until(lambda: world.phase() is Phase.PAUSED)
    assert world.weights() == {"m-1": WHOLE, "m-2": 0}  # reachable by its pinned path alone
    before = len(world.gateways.tables)
    world.ask("approve")
    world.until(lambda: world.weights().get("m-2") == WHOLE)
    cut = [
        {served.name: served.weight_bp for served in table.endpoints[0].served}
        for table in world.gateways.tables[before:]
    ]
    assert {"m-1": 0, "m-2": WHOLE} in cut
    assert all(weights["m-2"] in (0, WHOLE) for weights in cut)


def test_abort_takes_the_traffic_off_before_the_replicas(world: World) -> None:
    world.roll_out(2, steps=[{"set_weight": "10%"}], **TIMED)
    world.until(lambda: world.weights().get("m-2") == 1000)
    world.gateways.prompt = False
    world.ask("abort", reason="I saw something")
    world.turn()
    assert world.weights()["m-2"] == 0
    assert world.phase() is Phase.ROLLING_BACK
    world.pass_time(3600)
    assert world.running() == {"d1", "d2"}  # not acknowledged: nothing may go
    world.gateways.catch_up()
    world.gateways.prompt = True
    world.until(lambda: world.phase() is Phase.ROLLED_BACK)
    assert world.store.endpoint("e").update is ConfigUpdate.UPDATE_FAILED
    world.until(lambda: world.running() == {"d1"}, seconds=900)
    assert world.weights() == {"m-1": WHOLE}


def test_guardrails_without_data_hold(world: World) -> None:
    world.roll_out(2, steps=[{"set_weight": "1%"}])
    world.until(lambda: world.weights().get("m-2") == 100)
    world.pass_time(3600)
    assert world.weights()["m-2"] == 100
    assert world.phase() is Phase.PROGRESSING


def test_safe_verdicts_promote_and_a_regression_rolls_back(world: World) -> None:
    world.judge = _safe
    world.roll_out(2, bake=None)
    world.until(lambda: world.phase() is Phase.SUCCEEDED)
    world.judge = _bad
    world.roll_out(3, "r2")
    world.until(lambda: world.phase("r2") is Phase.ROLLED_BACK)
    assert "9 of 11 errors" in world.state("r2").reason
    assert world.weights()["m-2"] == WHOLE
    assert set(world.store.rollouts.refused("id-of-e")) == {"d3"}


def test_a_bake_keeps_a_holdback_and_can_still_go_back(world: World) -> None:
    world.judge = _safe
    world.roll_out(2, bake={"holdback": "5%", "for": "1h"})
    world.until(lambda: world.phase() is Phase.BAKING)
    world.turn(4)
    assert world.weights() == {"m-2": 9500, "m-1": 500}
    assert world.store.endpoint("e").active.version == 2  # type: ignore[union-attr]
    world.judge = _bad
    world.until(lambda: world.phase() is Phase.ROLLED_BACK)
    world.turn(4)
    endpoint = world.store.endpoint("e")
    assert endpoint.active is not None
    assert endpoint.active.version == 3  # versions never go back
    assert [entity.name for entity in endpoint.active.entities] == ["m-1"]
    assert world.weights()["m-1"] == WHOLE


def test_a_candidate_that_cannot_load_is_never_given_traffic(world: World) -> None:
    world.unknown.add("models:/m/2")
    world.roll_out(2, **TIMED)
    world.until(lambda: world.phase() is Phase.ROLLED_BACK)
    assert "does not exist" in world.state().reason
    assert all(
        served.weight_bp == 0
        for table in world.gateways.tables
        for endpoint in table.endpoints
        for served in endpoint.served
        if served.name == "m-2"
    )
    assert world.store.endpoint("e").update is ConfigUpdate.UPDATE_FAILED


def test_a_candidate_that_crashes_under_load_is_rolled_back(world: World) -> None:
    world.roll_out(2, steps=[{"set_weight": "10%"}], **{**TIMED, "advance": {"after": "1h"}})
    world.until(lambda: world.weights().get("m-2") == 1000)
    for _ in range(60):
        for status in world.engine.list():
            if status.spec.model_digest == "d2" and status.phase.value == "READY":
                world.engine.crash(status.spec.replica_id)
        world.pass_time(1)
        if world.phase() is Phase.ROLLED_BACK:
            break
    assert world.phase() is Phase.ROLLED_BACK
    assert "in a row" in world.state().reason


def test_the_very_same_model_is_no_candidate(world: World) -> None:
    world.roll_out(1, **TIMED)
    world.until(lambda: world.phase() is Phase.ROLLED_BACK)
    assert "byte for byte" in world.state().reason


def test_a_model_that_was_rolled_back_needs_retry(world: World) -> None:
    world.judge = _bad
    world.roll_out(2)
    world.until(lambda: world.phase() is Phase.ROLLED_BACK)
    world.judge = _safe
    world.roll_out(2, "r2", bake=None)
    world.until(lambda: world.phase("r2") is Phase.ROLLED_BACK)
    assert "r1 has rolled this very model back" in world.state("r2").reason
    world.ask("retry")
    world.until(lambda: world.phase() is Phase.SUCCEEDED)
    assert world.weights()["m-2"] == WHOLE


def test_a_verb_that_does_not_fit_is_dropped_and_journalled(world: World) -> None:
    world.roll_out(2, bake=None, **TIMED)
    world.until(lambda: world.phase() is Phase.SUCCEEDED)
    world.ask("pause")
    assert world.store.rollouts.wishes() == ()
    kinds = [entry.kind for entry in world.store.rollouts.journal("r1")]
    assert kinds[-1] == "wish_refused"


def test_a_new_controller_carries_on_and_does_nothing_twice(world: World) -> None:
    notify = [{"webhook": "http://127.0.0.1/hook", "on": ["succeeded"]}]
    world.roll_out(2, bake=None, notify=notify, registry_alias="champion", **TIMED)
    for _ in range(200):
        world.pass_time(1)
        world.start()  # each turn by another controller
        if world.phase() is Phase.SUCCEEDED:
            break
    world.pass_time(1)
    world.messenger.settle()
    assert world.phase() is Phase.SUCCEEDED
    assert [body["moment"] for _, body in world.posted] == ["succeeded"]
    assert world.aliases == [("models:/m/2", "champion")]
    assert world.store.endpoint("e").active.version == 2  # type: ignore[union-attr]


def test_the_journal_tells_each_decision_with_its_reason(world: World) -> None:
    world.roll_out(2, steps=[{"set_weight": "10%"}], bake=None, **TIMED)
    world.until(lambda: world.phase() is Phase.SUCCEEDED)
    decided = [e.data for e in world.store.rollouts.journal("r1") if e.kind == "rollout_decided"]
    phases = [decided[0]["from"], *(each["to"] for each in decided)]
    assert phases[0] == "PENDING"
    assert phases[-1] == "SUCCEEDED"
    assert all(each["reason"] and each["waiting_for"] is not None for each in decided)
    assert sum(each["effects"] != [] for each in decided) >= 1
