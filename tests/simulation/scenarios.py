"""Histories with a plot: each must end the same wherever a controller crashes on the way."""

from collections.abc import Callable
from typing import Any

from serinus.entities import WHOLE, ConfigUpdate
from serinus.rollout.events import Verdict
from serinus.rollout.state import Phase
from tests.simulation.world import World

__all__ = ["BY_EVIDENCE", "BY_TIME", "SCENARIOS", "Scenario", "serving"]

Scenario = Callable[[World], None]

BY_TIME: dict[str, Any] = {
    "guardrails": [],
    "advance": {"after": "10s"},
    "step": {"min_duration": "5s", "warmup": "0s"},
    "rollback": {"keep_warm": "30s"},
}
BY_EVIDENCE: dict[str, Any] = {
    "guardrails": [{"error_rate": {}}],
    "step": {"min_duration": "5s", "warmup": "0s", "timeout": "60s"},
    "rollback": {"keep_warm": "30s"},
}
_STEPS = [{"set_weight": "10%"}, {"set_weight": "50%"}]
_NOTIFY = [{"webhook": "http://127.0.0.1/hook"}]
_TICK = 5.0


def serving() -> World:
    """A world whose endpoint ``e`` serves version 1."""
    world = World()
    world.serve(1)
    world.until(lambda: _idle(world))
    world.settle(seconds=2)
    return world


def _idle(world: World) -> bool:
    endpoint = world.store.endpoint("e")
    return endpoint.update is not ConfigUpdate.IN_PROGRESS


def _until(world: World, *phases: Phase, id_: str = "r1") -> None:
    world.until(lambda: world.phase(id_) in phases, tick=_TICK)


def _end(world: World) -> None:
    """Whatever is warm grows cold, and what is to be told is told."""
    world.settle(seconds=60, tick=15)


def canary_by_time(world: World) -> None:
    world.roll_out(2, steps=_STEPS, bake=None, notify=_NOTIFY, registry_alias="a", **BY_TIME)
    _until(world, Phase.SUCCEEDED)
    _end(world)


def canary_by_evidence(world: World) -> None:
    world.roll_out(2, steps=_STEPS, bake=None, notify=_NOTIFY, **BY_EVIDENCE)
    _until(world, Phase.SUCCEEDED)
    _end(world)


def canary_with_a_control_pool(world: World) -> None:
    world.roll_out(2, steps=_STEPS, bake=None, control=True, **BY_EVIDENCE)
    _until(world, Phase.SUCCEEDED)
    _end(world)


def canary_that_regresses(world: World) -> None:
    world.roll_out(2, steps=_STEPS, bake=None, notify=_NOTIFY, registry_alias="a", **BY_EVIDENCE)
    world.until(lambda: world.state().candidate_bp == 5000, tick=_TICK)
    world.verdict = Verdict.REGRESSED
    _until(world, Phase.ROLLED_BACK)
    _end(world)


def self_test(world: World) -> None:
    world.self_test(1, steps=_STEPS, notify=_NOTIFY, control=True, **BY_EVIDENCE)
    _until(world, Phase.SUCCEEDED)
    assert world.weights()[0] == {"m-1": WHOLE}
    _end(world)


def self_test_that_raises_an_alarm(world: World) -> None:
    world.self_test(1, steps=_STEPS, notify=_NOTIFY, **BY_EVIDENCE)
    world.until(lambda: world.state().candidate_bp == 5000, tick=_TICK)
    world.verdict = Verdict.REGRESSED
    _until(world, Phase.ROLLED_BACK)
    assert world.weights()[0] == {"m-1": WHOLE}
    _end(world)


def blue_green(world: World) -> None:
    world.roll_out(2, strategy="blue-green", cutover="approve", bake=None, **BY_TIME)
    _until(world, Phase.PAUSED)
    world.settle(seconds=20, tick=_TICK)
    world.ask("approve")
    _until(world, Phase.SUCCEEDED)
    _end(world)


def shadow(world: World) -> None:
    steps = [{"shadow": {"percent": 100, "until": {"requests": 5}}}]
    world.roll_out(2, strategy="shadow", steps=steps, bake=None, **BY_TIME)
    _until(world, Phase.SUCCEEDED)
    _end(world)


def bake_to_success(world: World) -> None:
    bake = {"holdback": "5%", "for": "20s"}
    world.roll_out(2, steps=_STEPS[:1], bake=bake, registry_alias="a", **BY_EVIDENCE)
    _until(world, Phase.SUCCEEDED)
    _end(world)


def bake_and_revert(world: World) -> None:
    bake = {"holdback": "5%", "for": "100s"}
    world.roll_out(2, steps=_STEPS[:1], bake=bake, registry_alias="a", **BY_EVIDENCE)
    _until(world, Phase.BAKING)
    world.settle(seconds=10, tick=_TICK)
    world.verdict = Verdict.REGRESSED
    _until(world, Phase.ROLLED_BACK)
    _end(world)


def newer_candidate(world: World) -> None:
    world.roll_out(2, steps=_STEPS, bake=None, **BY_TIME)
    world.until(lambda: world.state().candidate_bp == 1000, tick=_TICK)
    world.ask("supersede", by="models:/m/3")
    _until(world, Phase.ROLLED_BACK)
    world.roll_out(3, "r2", steps=_STEPS[:1], bake=None, **BY_TIME)
    _until(world, Phase.SUCCEEDED, id_="r2")
    _end(world)


def update_without_rollout(world: World) -> None:
    world.update(2)
    world.until(lambda: _idle(world))
    _end(world)


def update_that_fails(world: World) -> None:
    world.unknown.add("models:/m/2")
    world.update(2)
    world.until(lambda: _idle(world))
    _end(world)


def candidate_that_is_not_there(world: World) -> None:
    world.unknown.add("models:/m/2")
    world.roll_out(2, steps=_STEPS, bake=None, **BY_TIME)
    _until(world, Phase.ROLLED_BACK)
    _end(world)


def candidate_that_dies_again_and_again(world: World) -> None:
    slow = {**BY_TIME, "advance": {"after": "10m"}}
    world.roll_out(2, steps=_STEPS, bake=None, **slow)
    world.until(lambda: world.state().candidate_bp == 1000, tick=1)
    world.doomed.add("d2")
    _until(world, Phase.ROLLED_BACK)
    world.doomed.clear()
    _end(world)


def nobody_listens(world: World) -> None:
    world.outside_down = True
    world.roll_out(2, strategy="blue-green", notify=_NOTIFY, registry_alias="a", **BY_TIME)
    _until(world, Phase.SUCCEEDED)
    world.settle(seconds=10, tick=_TICK)
    world.outside_down = False
    _end(world)


def engine_out_of_reach(world: World) -> None:
    world.roll_out(2, steps=_STEPS, bake=None, **BY_TIME)
    world.until(lambda: world.state().candidate_bp == 1000, tick=_TICK)
    world.engine.unreachable(True)
    world.settle(seconds=20, tick=_TICK)
    world.engine.unreachable(False)
    _until(world, Phase.SUCCEEDED)
    _end(world)


def engine_fails_between_look_and_act(world: World) -> None:
    world.meanwhile = lambda _: world.engine.unreachable(True)
    world.interlude_on = "engine.ensure"
    world.update(2)
    world.settle(seconds=15)
    world.interlude_on = ""
    world.engine.unreachable(False)
    world.until(lambda: _idle(world))
    _end(world)


def aborted_while_acknowledgements_are_under_way(world: World) -> None:
    world.roll_out(2, steps=_STEPS, bake=None, **BY_TIME)
    world.slow = True
    world.until(lambda: world.weights()[0].get("m-2") == 1000, tick=1)
    world.ask("abort")
    _until(world, Phase.ROLLED_BACK)
    world.slow = False
    _end(world)


def retried(world: World) -> None:
    world.roll_out(2, steps=_STEPS[:1], bake=None, **BY_TIME)
    world.until(lambda: world.state().candidate_bp == 1000, tick=_TICK)
    world.ask("abort")
    _until(world, Phase.ROLLED_BACK)
    world.ask("retry")
    _until(world, Phase.SUCCEEDED)
    _end(world)


def paused_resumed_and_promoted(world: World) -> None:
    world.verdict = Verdict.NO_DATA
    world.roll_out(2, steps=_STEPS, bake=None, **BY_EVIDENCE)
    world.until(lambda: world.state().candidate_bp == 1000, tick=_TICK)
    world.ask("pause")
    _until(world, Phase.PAUSED)
    world.ask("resume")
    _until(world, Phase.PROGRESSING)
    world.settle(seconds=15, tick=_TICK)
    world.ask("promote", full=True)
    _until(world, Phase.SUCCEEDED)
    _end(world)


def deleted_in_mid_rollout(world: World) -> None:
    world.roll_out(2, steps=_STEPS, bake=None, **BY_TIME)
    world.until(lambda: world.state().candidate_bp == 1000, tick=_TICK)
    world.store.delete_endpoint("e", world.at)
    world.serve(3)
    world.until(lambda: _idle(world))
    _end(world)


def _aborted(at: Phase) -> Scenario:
    def scenario(world: World) -> None:
        shadow = {"shadow": {"percent": 50, "until": {"requests": 5}}}
        steps = [shadow, *_STEPS, {"pause": {}}]
        bake = {"holdback": "5%", "for": "100s"}
        world.roll_out(2, steps=steps, bake=bake, registry_alias="a", notify=_NOTIFY, **BY_TIME)
        if at is Phase.VERIFYING:
            world.apart = 0  # it lasts for one turn, which must not be missed
        if at is Phase.BAKING:
            _until(world, Phase.PAUSED)
            world.ask("approve")
        if at is Phase.ROLLING_BACK:
            world.until(lambda: world.state().candidate_bp == 1000, tick=_TICK)
            world.ask("abort")
        elif at is not Phase.PENDING:
            world.until(lambda: world.phase() is at, tick=1)
        world.ask("abort", reason="I saw something")
        _until(world, Phase.ROLLED_BACK)
        _end(world)

    scenario.__name__ = f"aborted_when_{at.value.lower()}"
    return scenario


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        canary_by_time,
        canary_by_evidence,
        canary_with_a_control_pool,
        canary_that_regresses,
        self_test,
        self_test_that_raises_an_alarm,
        blue_green,
        shadow,
        bake_to_success,
        bake_and_revert,
        newer_candidate,
        update_without_rollout,
        update_that_fails,
        candidate_that_is_not_there,
        candidate_that_dies_again_and_again,
        nobody_listens,
        engine_out_of_reach,
        engine_fails_between_look_and_act,
        aborted_while_acknowledgements_are_under_way,
        retried,
        paused_resumed_and_promoted,
        deleted_in_mid_rollout,
        *(_aborted(phase) for phase in Phase if not phase.terminal),
    )
}
