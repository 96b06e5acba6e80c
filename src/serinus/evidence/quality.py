"""The case of the quality guardrail: a mean of outcomes whose labels may have come late. Pure."""

import math

import numpy as np

from serinus.evidence.guardrails import Case, Evidence, Quality
from serinus.evidence.means import Outcomes, confidence_sequence, log_drop, log_no_drop, now
from serinus.evidence.outcomes import OutcomeLine
from serinus.evidence.ratio import MISMATCH_ALPHA

__all__ = ["quality_case"]

#: The level of the interval that is shown.
_SHOWN = 0.05


def quality_case(evidence: Evidence, limits: Quality) -> Case:
    """Outcomes in order of exposure, weighted by the propensity that was in force."""
    line = evidence.lines.get(limits.name, OutcomeLine())
    outcomes = evidence.outcomes if evidence.outcomes is not None else line.outcomes()
    mine, others = outcomes.on_candidate, ~outcomes.on_candidate
    if not mine.any() or not others.any():
        return Case(False, 0.0, lambda _: -math.inf, "", "", {"outcomes": 0})
    low, high = confidence_sequence(outcomes, _SHOWN)
    units, mean = _units(outcomes, mine), _mean(outcomes, mine)
    other_units, other_mean = _units(outcomes, others), _mean(outcomes, others)
    missing, other_missing = line.missing()

    def log_safe(exposure: float) -> float:
        margin = limits.max_drop / exposure
        return math.inf if margin >= 1.0 else now(log_no_drop(outcomes, margin))

    return Case(
        has_data=True,
        log_regressed=now(log_drop(outcomes, limits.max_drop)),
        log_safe=log_safe,
        seen=(
            f"{units:,} outcomes of the candidate have a mean of {mean:.4f}, {other_units:,} of"
            f" stable {other_mean:.4f}; the difference lies in [{low:+.4f}, {high:+.4f}]"
        ),
        allowed=f"with a drop of {limits.max_drop:g}" if limits.max_drop else "",
        numbers={
            "outcomes": units + other_units,
            "candidate_outcomes": units,
            "candidate_mean": mean,
            "stable_mean": other_mean,
            "difference_low": low,
            "difference_high": high,
            "candidate_missing": missing,
            "stable_missing": other_missing,
        },
        invalid=_uneven(line, units, other_units),
        within=lambda exposure: _within(limits.max_drop / exposure),
    )


def _within(margin: float) -> str:
    return f"its mean is lower by less than {margin:.3g}" if margin < 1.0 else ""


def _uneven(line: OutcomeLine, units: int, other_units: int) -> str:
    """Why these outcomes compare nothing; empty when labels come for both arms alike."""
    mismatch = line.log_mismatch()
    if mismatch < -math.log(MISMATCH_ALPHA):
        return ""
    missing, other_missing = line.missing()
    return (
        f"labels came for {units:,} of {units + missing:,} of the candidate's requests and for"
        f" {other_units:,} of {other_units + other_missing:,} of stable's: whether one comes"
        " depends on who answered, so the two means do not compare"
    )


def _units(outcomes: Outcomes, side: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> int:
    return int(outcomes.counts[side].sum())


def _mean(outcomes: Outcomes, side: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> float:
    return float(np.average(outcomes.value[side], weights=outcomes.counts[side]))
