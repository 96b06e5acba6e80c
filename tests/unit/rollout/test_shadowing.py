"""The shadow gate: what pairs of answers say, and what the rollout's place makes of it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from serinus.evidence.summary import Flush, Ledger, PairSummary, StageSummary
from serinus.parity.verification import Gate, GateResult
from serinus.rollout.judging import Kept
from serinus.rollout.parse import parse_spec
from serinus.rollout.shadowing import shadow_gate, shadows
from serinus.rollout.state import Phase, Position, RolloutState, begin

AT = datetime(2026, 3, 1, tzinfo=UTC)
STEPS = [{"shadow": {"until": {"requests": 100}}}, {"set_weight": "5%"}]
GUARDED = [{"error_rate": {}}, {"predictions": {"max_shift": "5%"}}]


def rollout(**spec: Any) -> RolloutState:
    read = parse_spec({"candidate": "models:/m/2", "steps": STEPS, "guardrails": GUARDED, **spec})
    return begin(
        id="r1",
        endpoint="e",
        spec=read,
        stable="m-1",
        candidate="m-2",
        candidate_digest="d2",
        config_version=2,
        actor="ada",
        at=AT,
    )


def seen(*gateways: PairSummary) -> Kept:
    ledger = Ledger()
    for at, pairs in enumerate(gateways):
        summary = StageSummary("r1", 1, shadow=pairs)
        summary.stable.requests = 1000  # live requests that are no pairs
        ledger.replace(Flush("g", f"i{at}", 1, [summary]))
    return Kept(ledger)


ALIKE = PairSummary(pairs=400, candidate_slower=180, not_compared=3)
WORSE = PairSummary(pairs=400, flips=200, over_tolerance=250)
FAILING = PairSummary(pairs=100, candidate_errors=80)


def gate(kept: Kept, position: Position = Position.STEPS, step: int = 1, **more: Any) -> Gate:
    phase = more.pop("phase", Phase.PROGRESSING)
    state = replace(rollout(**more), position=position, step=step, phase=phase)
    return shadow_gate(state, kept)


def test_it_passes_when_the_rollout_has_gone_on_and_nothing_is_worse():
    for found in (
        gate(seen(ALIKE, ALIKE)),
        gate(seen(ALIKE, ALIKE), Position.BAKE),
        gate(seen(ALIKE, ALIKE), Position.END, phase=Phase.SUCCEEDED),
        gate(seen(ALIKE, ALIKE), Position.END, phase=Phase.ROLLED_BACK),  # by what came later
    ):
        assert (found.name, found.result, found.fault) == ("shadow", GateResult.PASS, "")
        assert found.detail.startswith("800 copied requests were answered by both sides")
        assert "the candidate took longer in 360" in found.detail
        assert "6 could not be compared" in found.detail


@pytest.mark.parametrize(
    ("kept", "fault", "told"),
    [
        (seen(WORSE), "model", "predictions has regressed: 250 of 400 shadowed answers"),
        (seen(FAILING), "model.bug", "error_rate has regressed: of 180 shadowed requests"),
    ],
)
def test_it_fails_by_the_guardrails_of_the_rollout(kept, fault, told):
    for position, step, phase in (
        (Position.STEPS, 0, Phase.SHADOWING),
        (Position.STEPS, 1, Phase.PROGRESSING),
        (Position.END, 0, Phase.ROLLED_BACK),
    ):
        found = gate(kept, position, step, phase=phase)
        assert (found.result, found.fault, found.stage) == (GateResult.FAIL, fault, "answer")
        assert told in found.detail
    # Without guardrails nobody has said what would be worse.
    assert gate(kept, guardrails=[]).result is GateResult.PASS


@pytest.mark.parametrize(
    ("kept", "position", "step", "phase", "told"),
    [
        (seen(), Position.VERIFY, 0, Phase.VERIFYING, "has not come to its shadow step"),
        (seen(ALIKE), Position.STEPS, 0, Phase.SHADOWING, "under way. 400 copied requests"),
        (seen(ALIKE), Position.BACK, 0, Phase.ROLLING_BACK, "left before its end. 400 copied"),
        (seen(PairSummary(not_compared=9)), Position.BAKE, 1, Phase.BAKING, "No copied request"),
    ],
)
def test_what_can_not_be_said_is_skipped_and_says_why(kept, position, step, phase, told):
    found = gate(kept, position, step, phase=phase)
    assert found.result is GateResult.SKIPPED
    assert told in found.detail


def test_a_shadow_rollout_that_ended_well_has_passed():
    shadow = rollout(strategy="shadow", steps=STEPS[:1])
    over = replace(shadow, position=Position.SETTLE, phase=Phase.SHADOWING)
    assert shadow_gate(over, seen(ALIKE)).result is GateResult.PASS
    assert shadows(shadow)
    assert not shadows(rollout(steps=STEPS[1:]))
