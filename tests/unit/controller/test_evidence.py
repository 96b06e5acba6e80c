"""Evidence from flush to verdict, kept across controllers."""

from serinus.controller.evidence import Assessor
from serinus.entities import WHOLE
from serinus.evidence.summary import Arm, ErrorClass, Flush, StageSummary
from serinus.rollout.moves import next_exposure
from serinus.rollout.state import Phase
from tests.unit.controller.world import World


def _summary(world: World, *, stable_errors: int, candidate_errors: int) -> StageSummary:
    state = world.state()
    summary = StageSummary("r1", state.stage, candidate_bp=state.candidate_bp, control_bp=0)
    for arm, requests, errors in (
        (Arm.STABLE, 1900, stable_errors),
        (Arm.CANDIDATE, 100, candidate_errors),
    ):
        for number in range(requests):
            error = ErrorClass.MODEL if number < errors else None
            latency = 0.020 + 0.0001 * (number % 10)
            summary.record(arm, error, latency, 1000)
    return summary


def _at_five_percent(world: World, assessor: Assessor) -> None:
    world.judge = assessor.judge
    world.roll_out(
        2,
        steps=[{"set_weight": "5%"}, {"set_weight": "50%"}],
        guardrails=[{"error_rate": {}}],
        step={"min_duration": "1s", "warmup": "0s"},
    )
    world.until(lambda: world.weights().get("m-2") == 500)


def test_errors_of_the_candidate_alone_roll_it_back(world: World) -> None:
    assessor = Assessor(world.store)
    _at_five_percent(world, assessor)
    bad = _summary(world, stable_errors=2, candidate_errors=20)
    assessor.on_summary(("g", "i"), Flush("g", "i", 1, [bad]))
    world.until(lambda: world.phase() is Phase.ROLLED_BACK, seconds=30)
    assert "of 22 errors fell on the candidate" in world.state().reason


def test_a_new_controller_goes_on_with_what_the_old_one_knew(world: World) -> None:
    assessor = Assessor(world.store)
    _at_five_percent(world, assessor)
    fine = _summary(world, stable_errors=0, candidate_errors=0)
    assessor.on_summary(("g", "i"), Flush("g", "i", 1, [fine]))
    [view] = world.loop._observe(world.at).rollouts
    before = assessor.judge(view, world.at)
    assert assessor.judge(view, world.at) is before  # nothing new: nothing is computed again
    successor = Assessor(world.store)
    after = successor.judge(view, world.at)
    assert after.verdicts == before.verdicts
    assert after.evidence == before.evidence


def test_a_flush_that_comes_twice_counts_once(world: World) -> None:
    assessor = Assessor(world.store)
    _at_five_percent(world, assessor)
    [view] = world.loop._observe(world.at).rollouts
    flush = Flush("g", "i", 1, [_summary(world, stable_errors=3, candidate_errors=1)])
    assessor.on_summary(("g", "i"), flush)
    once = assessor.judge(view, world.at)
    assessor.on_summary(("g", "i"), flush)
    assert assessor.judge(view, world.at).verdicts == once.verdicts


def test_the_next_exposure_is_that_of_the_next_weight(world: World) -> None:
    _at_five_percent(world, Assessor(world.store))
    assert next_exposure(world.state()) == 5000
    world.ask("promote")
    world.until(lambda: world.weights()["m-2"] == 5000)
    assert next_exposure(world.state()) == WHOLE


def test_a_judge_that_fails_holds_and_stops_nobody(world: World) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    world.judge = broken  # type: ignore[assignment]
    world.roll_out(2)
    for _ in range(60):
        world.pass_time(10, turns=2)
    assert world.phase() in (Phase.PAUSED, Phase.PROGRESSING, Phase.VERIFYING)
    assert world.weights().get("m-2", 0) <= 100
