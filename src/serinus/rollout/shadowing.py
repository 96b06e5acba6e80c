"""The shadow gate of a rollout: what both versions answered to the same live requests. Pure.

It is read off the evidence that the rollout decides by, so it can't say anything else than the
decision did; and it decides nothing.
"""

from enum import Enum, auto

from serinus.evidence.guardrails import Evidence
from serinus.evidence.summary import PairSummary, StageSummary
from serinus.evidence.verdict import GuardrailVerdict, Verdict, judge
from serinus.parity.verification import Gate, GateResult
from serinus.rollout.judging import Kept, confidence_of, guardrail_of
from serinus.rollout.moves import steps_of
from serinus.rollout.spec import GuardrailKind, StepKind
from serinus.rollout.state import Phase, Position, RolloutState

__all__ = ["SHADOW", "shadow_gate", "shadows"]

SHADOW = "shadow"


class _Standing(Enum):
    AHEAD = auto()
    UNDER_WAY = auto()
    #: It went back, or was given up, before the step was over.
    LEFT = auto()
    PASSED = auto()


def shadows(state: RolloutState) -> bool:
    """Whether the rollout's plan copies requests to the candidate."""
    return any(step.kind is StepKind.SHADOW for step in steps_of(state))


def shadow_gate(state: RolloutState, kept: Kept) -> Gate:
    """How the candidate's answers to copied requests compared with stable's, so far.

    It fails when a guardrail proves from these pairs alone that the candidate is worse; it passes
    when the rollout has gone on from its shadow step and none does.
    """
    standing = _standing(state)
    if standing is _Standing.AHEAD:
        return _gate(GateResult.SKIPPED, "The rollout has not come to its shadow step yet.")
    stages = [
        StageSummary(each.rollout_id, each.stage, shadow=each.shadow)
        for each in kept.ledger.stages(state.evidence_key)
        if each.shadow != PairSummary()
    ]
    evidence = Evidence(stages)
    seen = _seen(evidence.shadow(), _tolerance(state))
    worse = _worse(state, evidence)
    if worse is not None:
        told = f"{seen} {worse.name} has regressed: {worse.reason}."
        errors = worse.name == GuardrailKind.ERROR_RATE.value
        return _gate(GateResult.FAIL, told, fault="model.bug" if errors else "model")
    if not evidence.shadow().pairs:
        return _gate(GateResult.SKIPPED, f"No copied request was answered by both sides. {seen}")
    match standing:
        case _Standing.UNDER_WAY:
            return _gate(GateResult.SKIPPED, f"The shadow step is under way. {seen}")
        case _Standing.LEFT:
            return _gate(GateResult.SKIPPED, f"The shadow step was left before its end. {seen}")
        case _:
            return _gate(GateResult.PASS, seen)


def _standing(state: RolloutState) -> _Standing:
    last = max(at for at, step in enumerate(steps_of(state)) if step.kind is StepKind.SHADOW)
    match state.position:
        case Position.START | Position.VERIFY:
            return _Standing.AHEAD
        case Position.STEPS:
            return _Standing.UNDER_WAY if state.step <= last else _Standing.PASSED
        case Position.BAKE | Position.SETTLE:
            return _Standing.PASSED
        case Position.BACK | Position.END:
            passed = state.phase is Phase.SUCCEEDED or state.step > last
            return _Standing.PASSED if passed else _Standing.LEFT


def _worse(state: RolloutState, evidence: Evidence) -> GuardrailVerdict | None:
    """The first guardrail that these pairs alone prove broken."""
    wanted = [guardrail_of(each) for each in state.spec.guardrails]
    verdicts = judge(evidence, wanted, confidence_of(state.spec), next_bp=1)
    return next((each for each in verdicts if each.verdict is Verdict.REGRESSED), None)


def _tolerance(state: RolloutState) -> float | None:
    kinds = {each.kind: each for each in state.spec.guardrails}
    found = kinds.get(GuardrailKind.PREDICTIONS)
    return None if found is None else found.tolerance


def _seen(pairs: PairSummary, tolerance: float | None) -> str:
    by = "" if tolerance is None else f" (by more than {tolerance:g})"
    failed = pairs.candidate_errors + pairs.stable_errors + pairs.both_errors
    return (
        f"{pairs.pairs:,} copied requests were answered by both sides: in {pairs.flips:,} a class "
        f"differs, in {pairs.over_tolerance:,} a score{by}; the candidate took longer in "
        f"{pairs.candidate_slower:,}. Of {failed:,} that failed, {pairs.candidate_errors:,} failed "
        f"on the candidate alone and {pairs.stable_errors:,} on stable alone; "
        f"{pairs.not_compared:,} could not be compared."
    )


def _gate(result: GateResult, detail: str, *, fault: str = "") -> Gate:
    return Gate(
        name=SHADOW, result=result, fault=fault, stage="answer" if fault else "", detail=detail
    )
