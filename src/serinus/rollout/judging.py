"""From kept evidence to verdicts: the same ones whenever and by whomever it is asked. Pure.

The controller decides by them, `serinus.rollout.replay` checks afterwards that it did.
"""

import math
from dataclasses import dataclass, field

from serinus.evidence import guardrails
from serinus.evidence.guardrails import Evidence
from serinus.evidence.outcomes import OutcomeLine
from serinus.evidence.summary import Ledger
from serinus.evidence.verdict import GuardrailVerdict as Judged
from serinus.evidence.verdict import judge
from serinus.evidence.windows import Timeline
from serinus.rollout.events import GuardrailVerdict, Verdict
from serinus.rollout.spec import Guardrail, GuardrailKind, RolloutSpec
from serinus.traffic import UnitKind

__all__ = ["Kept", "Peak", "confidence_of", "evidence_of", "guardrail_of", "judge_kept", "look_at"]


@dataclass(slots=True)
class Peak:
    """How near one guardrail has come to an alarm, over all looks at it."""

    looks: int = 0
    #: The highest log evidence for a regression.
    log_regressed: float = 0.0

    @property
    def smallest_p(self) -> float:
        """Valid at every look: the chance that no change at all ever comes this far."""
        return math.exp(-self.log_regressed)


@dataclass(slots=True)
class Kept:
    """One rollout's evidence as it is stored, journalled and judged again."""

    ledger: Ledger = field(default_factory=Ledger)
    timeline: Timeline = field(default_factory=Timeline)
    #: By guardrail.
    peaks: dict[str, Peak] = field(default_factory=dict)
    #: By quality guardrail.
    outcomes: dict[str, OutcomeLine] = field(default_factory=dict)
    #: Exposures for which there was no room in the store.
    exposures_dropped: int = 0


def judge_kept(
    kept: Kept, key: str, spec: RolloutSpec, next_bp: int
) -> tuple[GuardrailVerdict, ...]:
    """The verdicts that this evidence gives: the same whenever it is asked."""
    return tuple(_said(each, kept) for each in _judged(kept, key, spec, next_bp))


def look_at(kept: Kept, key: str, spec: RolloutSpec, next_bp: int) -> tuple[GuardrailVerdict, ...]:
    """The same, as one more look, which ``kept`` remembers."""
    judged = _judged(kept, key, spec, next_bp)
    for each in judged:
        log_regressed = each.numbers.get("log_regressed")
        if log_regressed is not None:
            peak = kept.peaks.setdefault(each.name, Peak())
            peak.looks += 1
            peak.log_regressed = max(peak.log_regressed, log_regressed)
    return tuple(_said(each, kept) for each in judged)


def _judged(kept: Kept, key: str, spec: RolloutSpec, next_bp: int) -> list[Judged]:
    wanted = [guardrail_of(each) for each in spec.guardrails]
    return judge(evidence_of(kept, key, spec), wanted, confidence_of(spec), next_bp)


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
        lines=kept.outcomes,
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


def _said(judged: Judged, kept: Kept) -> GuardrailVerdict:
    peak = kept.peaks.get(judged.name, Peak())
    return GuardrailVerdict(
        judged.name,
        Verdict(judged.verdict.value),
        judged.reason,
        judged.safe_for_bp,
        peak.looks,
        peak.smallest_p,
    )
