"""The case of the quality guardrail: a mean of outcomes whose labels may have come late. Pure."""

import math

from serinus.evidence.guardrails import Case, Evidence, Quality
from serinus.evidence.means import confidence_sequence, log_drop, log_no_drop, now

__all__ = ["quality_case"]

#: The level of the interval that is shown.
_SHOWN = 0.05


def quality_case(evidence: Evidence, limits: Quality) -> Case:
    """Outcomes in order of exposure, weighted by the propensity that was in force."""
    outcomes = evidence.outcomes
    if outcomes is None or not outcomes.on_candidate.any() or outcomes.on_candidate.all():
        return Case(False, 0.0, lambda _: -math.inf, "", "", {"outcomes": 0})
    low, high = confidence_sequence(outcomes, _SHOWN)
    mine = outcomes.value[outcomes.on_candidate]
    others = outcomes.value[~outcomes.on_candidate]

    def log_safe(exposure: float) -> float:
        margin = limits.max_drop / exposure
        return math.inf if margin >= 1.0 else now(log_no_drop(outcomes, margin))

    return Case(
        has_data=True,
        log_regressed=now(log_drop(outcomes, limits.max_drop)),
        log_safe=log_safe,
        seen=(
            f"{len(mine):,} outcomes of the candidate have a mean of {mine.mean():.4f},"
            f" {len(others):,} of stable {others.mean():.4f};"
            f" the difference lies in [{low:+.4f}, {high:+.4f}]"
        ),
        allowed=f"with a drop of {limits.max_drop:g}" if limits.max_drop else "",
        numbers={
            "outcomes": len(outcomes),
            "candidate_outcomes": len(mine),
            "candidate_mean": float(mine.mean()),
            "stable_mean": float(others.mean()),
            "difference_low": low,
            "difference_high": high,
        },
    )
