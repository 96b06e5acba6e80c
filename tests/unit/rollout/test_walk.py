"""Every reachable state of the small plans: nothing bad happens, and something good still can."""

from dataclasses import replace
from datetime import timedelta
from functools import cache

import pytest

from serinus.errors import InvalidState
from serinus.rollout.events import (
    Abort,
    Approve,
    Diagnosed,
    Facts,
    Observed,
    PoolState,
    Promote,
    Resume,
    Verification,
)
from serinus.rollout.machine import TABLE, decide, why
from serinus.rollout.spec import OnSilence
from serinus.rollout.state import Cause, Phase, Position, RolloutState
from tests.unit.rollout.plans import PLANS
from tests.unit.rollout.rules import NOW, PATIENCE
from tests.unit.rollout.walk import (
    ALL_SAFE,
    DIAGNOSES,
    REGRESSED,
    SILENT,
    Walk,
    start,
    walk,
)


@cache
def walked(name: str) -> Walk:
    return walk(PLANS[name], told=DIAGNOSES if name == "diagnosed" else ())


def healthy(state: RolloutState, **changes: object) -> Facts:
    facts = Facts(
        PoolState.READY,
        acknowledged_stage=state.stage,
        verification=Verification.PASS,
        shadow_requests=10,
        verdicts=ALL_SAFE,
    )
    return replace(facts, **changes)  # type: ignore[arg-type]


def run(state: RolloutState, **changes: object) -> RolloutState:
    """On under unchanging facts, with somebody who says yes when asked, until it stays put."""
    at = NOW
    for _ in range(30):
        at += timedelta(seconds=PATIENCE)
        if state.held:
            new = decide(state, Resume(at, "mia")).state
        elif state.cause is Cause.DIAGNOSED and state.fault:
            new = decide(state, Diagnosed(at, "mia")).state
        elif state.cause is Cause.APPROVAL:
            new = decide(state, Approve(at, "mia")).state
        else:
            facts = healthy(state, acknowledged_at=at, **changes)
            new = decide(state, Observed(at, facts)).state
        if new is state:
            return state
        state = new
    raise AssertionError(f"no end: {state.phase}, waits for {state.waiting_for}")


@pytest.mark.parametrize("name", PLANS)
def test_no_reachable_step_breaks_a_rule(name):
    assert len(walked(name).nodes) > 50  # the checks are in the walk


@pytest.mark.parametrize("name", PLANS)
def test_a_healthy_candidate_succeeds_from_wherever_it_is(name):
    for state, _ in walked(name).nodes.values():
        if not state.phase.terminal and state.phase is not Phase.ROLLING_BACK:
            assert run(state).phase is Phase.SUCCEEDED, (state.phase, state.position, state.step)


@pytest.mark.parametrize("name", PLANS)
def test_abort_leads_back_from_wherever_it_is(name):
    for state, _ in walked(name).nodes.values():
        if not state.phase.terminal:
            back = decide(state, Abort(NOW, "mia")).state
            assert back.phase is Phase.ROLLING_BACK
            assert back.candidate_bp == back.shadow_bp == 0
            assert run(back).phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("name", [name for name in PLANS if PLANS[name].guardrails])
def test_a_regression_leads_back_from_wherever_it_is(name):
    for state, _ in walked(name).nodes.values():
        if not state.phase.terminal:
            assert run(state, verdicts=REGRESSED).phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("name", ["canary", "canary-bake", "control"])
@pytest.mark.parametrize("said", [(), SILENT])
def test_silence_is_not_success(name, said):
    state = run(start(PLANS[name]), verdicts=said)
    assert (state.phase, state.cause) == (Phase.PAUSED, Cause.NO_DATA)
    first = next(step.weight_bp for step in PLANS[name].steps if step.weight_bp)
    assert state.candidate_bp == first


@pytest.mark.parametrize("promoted", [False, True])
def test_a_proved_fault_holds_until_it_is_gone_or_a_person_says_otherwise(promoted):
    spec = PLANS["diagnosed"]
    state = decide(start(spec), Diagnosed(NOW, "mia", "model.bug (exact)")).state
    at = NOW
    for _ in range(10):
        at += timedelta(seconds=PATIENCE)
        state = decide(state, Observed(at, healthy(state, acknowledged_at=at))).state
    assert (state.phase, state.cause, state.candidate_bp) == (Phase.PAUSED, Cause.DIAGNOSED, 1000)
    assert "model.bug (exact)" in state.reason
    assert "The last diagnosis of the candidate is model.bug (exact)." in why(state)
    with pytest.raises(InvalidState):
        decide(state, Resume(at, "mia"))
    freed = Promote(at, "mia", full=True) if promoted else Diagnosed(at, "mia")
    state = decide(state, freed).state
    for _ in range(10):
        at += timedelta(seconds=PATIENCE)
        state = decide(state, Observed(at, healthy(state, acknowledged_at=at))).state
    if promoted:  # the bake asks once more
        assert (state.position, state.cause) == (Position.BAKE, Cause.DIAGNOSED)
        state = decide(state, Promote(at, "mia")).state
    assert run(state).phase is Phase.SUCCEEDED


def test_a_spec_may_let_a_diagnosed_fault_pass():
    on = replace(PLANS["diagnosed"].on, diagnosis=OnSilence.ADVANCE)
    state = start(replace(PLANS["diagnosed"], on=on))
    state = decide(state, Diagnosed(NOW, "mia", "model.bug (exact)")).state
    done = run(state)
    assert (done.phase, done.fault) == (Phase.SUCCEEDED, "model.bug (exact)")


def test_every_edge_of_the_table_is_taken_by_some_plan():
    taken = set().union(*(walked(name).edges for name in PLANS))
    declared = {
        (phase, event, target)
        for (phase, event), targets in TABLE.items()
        for target in targets
        if target is not phase
    }
    assert {edge for edge in taken if edge[0] is not edge[2]} == declared
