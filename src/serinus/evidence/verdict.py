"""From evidence to a verdict per guardrail, with its reason in words and numbers. Pure.

SAFE and REGRESSED are proofs, each with its own error probability; everything else holds. A
split that did not happen as configured makes every comparison INVALID. Never says what to do.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from serinus.entities import WHOLE
from serinus.evidence.error_rate import error_case
from serinus.evidence.guardrails import (
    Case,
    Confidence,
    ErrorRate,
    Evidence,
    Guardrail,
    Latency,
    Predictions,
    Quality,
)
from serinus.evidence.latency import latency_case
from serinus.evidence.predictions import predictions_case
from serinus.evidence.quality import quality_case
from serinus.evidence.ratio import MISMATCH_ALPHA, log_mismatch
from serinus.evidence.summary import Arm, StageSummary

__all__ = ["GuardrailVerdict", "Verdict", "judge", "log_split_mismatch"]

#: Exposures, in basis points, among which the highest that is SAFE is looked for.
_LADDER = (1, 10, 50, 100, 200, 500, 1000, 1500, 2000, 2500, 3300, 5000, 7500, WHOLE)
#: Evidence above this (log) is shown as "more than".
_LARGEST_SHOWN = math.log(1e9)


class Verdict(Enum):
    """What a guardrail says about the candidate at this moment."""

    REGRESSED = "REGRESSED"  # proved worse than its margin allows
    SAFE = "SAFE"  # proved good enough for the next exposure
    UNDECIDED = "UNDECIDED"  # neither, so far
    NO_DATA = "NO_DATA"  # nothing to compare
    INVALID = "INVALID"  # the split is not what was configured


@dataclass(frozen=True, slots=True)
class GuardrailVerdict:
    """One guardrail's verdict and why."""

    name: str
    verdict: Verdict
    #: A sentence for people.
    reason: str
    #: The highest exposure, in basis points, for which it is SAFE; 0 for none.
    safe_for_bp: int = 0
    #: What the reason was made from; e-values as logs.
    numbers: dict[str, float] = field(default_factory=dict)


def judge(
    evidence: Evidence,
    guardrails: Sequence[Guardrail],
    confidence: Confidence,
    next_bp: int,
) -> list[GuardrailVerdict]:
    """A verdict for each guardrail; SAFE means for an exposure of ``next_bp`` (1 … 10,000)."""
    mismatch = log_split_mismatch(evidence)
    if mismatch >= -math.log(MISMATCH_ALPHA):
        reason = _mismatch_reason(evidence, mismatch)
        numbers = {"log_mismatch": min(mismatch, 1e300)}
        return [
            GuardrailVerdict(each.name, Verdict.INVALID, reason, numbers=numbers)
            for each in guardrails
        ]
    alpha = confidence.false_rollback / max(len(guardrails), 1)
    # An exposure of nothing needs no proof; ask for that of the smallest there is.
    next_bp = max(next_bp, 1)
    return [
        _conclude(each.name, _case(evidence, each), alpha, confidence.false_promote, next_bp)
        for each in guardrails
    ]


def log_split_mismatch(evidence: Evidence) -> float:
    """Log evidence that units were not split as configured, over all stages."""
    copies = max(evidence.unit_copies or 1, 1)
    return sum(
        log_mismatch([count // copies for count in _units(stage)], _shares(stage))
        for stage in evidence.stages
    )


def _case(evidence: Evidence, guardrail: Guardrail) -> Case:
    match guardrail:
        case ErrorRate():
            return error_case(evidence, guardrail)
        case Latency():
            return latency_case(evidence, guardrail)
        case Predictions():
            return predictions_case(evidence, guardrail)
        case Quality():
            return quality_case(evidence, guardrail)


def _conclude(
    name: str, case: Case, alpha: float, false_promote: float, next_bp: int
) -> GuardrailVerdict:
    if not case.has_data:
        return GuardrailVerdict(
            name, Verdict.NO_DATA, "nothing of the candidate could be compared yet", 0, case.numbers
        )
    if case.invalid:
        return GuardrailVerdict(name, Verdict.INVALID, case.invalid, 0, case.numbers)
    needed = -math.log(false_promote)
    log_safe = case.log_safe(next_bp / WHOLE)
    numbers = case.numbers | {
        "log_regressed": _finite(case.log_regressed),
        "log_regressed_needed": -math.log(alpha),
        "log_safe": _finite(log_safe),
        "log_safe_needed": needed,
    }
    if case.log_regressed >= -math.log(alpha):
        allowed = case.allowed or "under no change"
        reason = f"{case.seen}; {allowed} this or worse happens once in {_rollouts(case)} rollouts"
        return GuardrailVerdict(name, Verdict.REGRESSED, reason, 0, numbers)
    safe_for_bp = _safe_for(case, needed, next_bp, safe=log_safe >= needed)
    step = f"{next_bp / 100:g} %"
    if log_safe >= needed:
        within = case.within(next_bp / WHOLE)
        proved = f"proved for an exposure of {step}: {within}" if within else _harmless(step)
        # The numbers beside it are mere counts: they may look bad and be few.
        reason = f"{proved}; seen so far: {case.seen}"
        return GuardrailVerdict(name, Verdict.SAFE, reason, safe_for_bp, numbers)
    reason = (
        f"{case.seen}; not yet proof for an exposure of {step}: evidence"
        f" {math.exp(min(log_safe, needed)):.2g} of the {1.0 / false_promote:.3g} needed"
    )
    return GuardrailVerdict(name, Verdict.UNDECIDED, reason, safe_for_bp, numbers)


def _harmless(step: str) -> str:
    return f"nothing to prove for an exposure of {step}: no change could use up its margin"


def _safe_for(case: Case, needed: float, next_bp: int, *, safe: bool) -> int:
    """The highest exposure that is SAFE, looked for on the far side of ``next_bp``."""
    if safe and case.log_safe(1.0) >= needed:
        return WHOLE
    place = bisect_left(_LADDER, next_bp)
    rungs = [each for each in _LADDER[place:] if each > next_bp] if safe else list(_LADDER[:place])
    if safe:
        rungs.insert(0, next_bp)
    low = bisect_left(rungs, 1, key=lambda bp: int(case.log_safe(bp / WHOLE) < needed))
    return rungs[low - 1] if low else 0


def _rollouts(case: Case) -> str:
    if case.log_regressed >= _LARGEST_SHOWN:
        return "more than 1,000,000,000"
    return f"{float(f'{math.exp(case.log_regressed):.2g}'):,.0f}"


def _finite(log: float) -> float:
    # JSON has no infinity.
    return max(min(log, 1e300), -1e300)


def _units(stage: StageSummary) -> list[int]:
    return [stage.arm(arm).units for arm in Arm]


def _shares(stage: StageSummary) -> list[float]:
    stable_bp = WHOLE - stage.candidate_bp - stage.control_bp
    return [bp / WHOLE for bp in (stable_bp, stage.candidate_bp, stage.control_bp)]


def _mismatch_reason(evidence: Evidence, mismatch: float) -> str:
    worst = max(evidence.stages, key=lambda stage: log_mismatch(_units(stage), _shares(stage)))
    units = _units(worst)
    return (
        f"the split did not happen: in stage {worst.stage}, {units[1]:,} of {sum(units):,} units"
        f" ({units[1] / max(sum(units), 1):.2%}) went to the candidate, which was given"
        f" {worst.candidate_bp / 100:g} %; a working router does this once in"
        f" {math.exp(min(mismatch, _LARGEST_SHOWN)):,.0f} rollouts or less; no comparison holds"
        " until the routing is right"
    )
