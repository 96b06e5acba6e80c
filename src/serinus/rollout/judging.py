"""From kept evidence to verdicts: the same ones whenever and by whomever it is asked. Pure.

The controller decides by them, `serinus.rollout.replay` checks afterwards that it did.
"""

from dataclasses import dataclass, field

from serinus.entities import WHOLE
from serinus.evidence import guardrails
from serinus.evidence.guardrails import Evidence
from serinus.evidence.summary import Ledger
from serinus.evidence.verdict import GuardrailVerdict as Judged
from serinus.evidence.verdict import judge
from serinus.evidence.windows import Timeline
from serinus.rollout.events import GuardrailVerdict, Verdict
from serinus.rollout.moves import steps_of
from serinus.rollout.spec import Guardrail, GuardrailKind, RolloutSpec, StepKind
from serinus.rollout.state import Position, RolloutState
from serinus.traffic import UnitKind

__all__ = ["Kept", "confidence_of", "evidence_of", "guardrail_of", "judge_kept", "next_exposure"]


@dataclass(slots=True)
class Kept:
    """One rollout's evidence as it is stored, journalled and judged again."""

    ledger: Ledger = field(default_factory=Ledger)
    timeline: Timeline = field(default_factory=Timeline)


def next_exposure(state: RolloutState) -> int:
    """The weight, in basis points, that the next step would give the candidate."""
    if state.position in (Position.BAKE, Position.SETTLE):
        return WHOLE
    steps = steps_of(state)
    start = state.step + 1 if state.position is Position.STEPS else 0
    for step in steps[start:]:
        if step.kind is StepKind.SET_WEIGHT:
            return step.weight_bp
    return WHOLE


def judge_kept(
    kept: Kept, key: str, spec: RolloutSpec, next_bp: int
) -> tuple[GuardrailVerdict, ...]:
    """The verdicts that this evidence gives: the same whenever it is asked."""
    wanted = [guardrail_of(each) for each in spec.guardrails]
    judged = judge(evidence_of(kept, key, spec), wanted, confidence_of(spec), next_bp)
    return tuple(_said(each) for each in judged)


def confidence_of(spec: RolloutSpec) -> guardrails.Confidence:
    """The spec's chances of being wrong, as the judge knows them."""
    chances = spec.confidence
    return guardrails.Confidence(chances.false_rollback, chances.false_promote)


def evidence_of(kept: Kept, key: str, spec: RolloutSpec) -> Evidence:
    """The kept evidence as the judge reads it."""
    sticky = spec.unit.kind is not UnitKind.REQUEST
    return Evidence(
        kept.ledger.stages(key),
        kept.timeline,
        unit_copies=kept.ledger.incarnations(key) if sticky else None,
    )


def guardrail_of(wanted: Guardrail) -> guardrails.Guardrail:
    """What the spec asks for, as the judge knows it."""
    match wanted.kind:
        case GuardrailKind.ERROR_RATE:
            return guardrails.ErrorRate(wanted.max_increase, wanted.floor, wanted.name)
        case GuardrailKind.LATENCY:
            limits = ((0.5, wanted.p50), (0.95, wanted.p95), (0.99, wanted.p99))
            asked = tuple((share, limit) for share, limit in limits if limit is not None)
            return guardrails.Latency(asked, floor_s=wanted.latency_floor_s, name=wanted.name)
        case GuardrailKind.PREDICTIONS:
            return guardrails.Predictions(wanted.max_shift, wanted.name)
        case GuardrailKind.QUALITY:
            return guardrails.Quality(wanted.max_drop, wanted.name)


def _said(judged: Judged) -> GuardrailVerdict:
    return GuardrailVerdict(
        judged.name, Verdict(judged.verdict.value), judged.reason, judged.safe_for_bp
    )
