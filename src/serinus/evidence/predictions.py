"""The case of the predictions guardrail: pairs of shadowing, and live shares of labels. Pure.

A pair that disagrees bounds any shift from above, so few disagreements prove a small shift;
many are a finding of their own, even when they cancel out.
"""

import math

import numpy as np

from serinus.evidence.eprocess import log_mean
from serinus.evidence.guardrails import Case, Evidence, Predictions
from serinus.evidence.proportion import log_above, log_below
from serinus.evidence.shift import Shifts

__all__ = ["predictions_case"]


def predictions_case(evidence: Evidence, limits: Predictions) -> Case:
    """Disagreement of pairs and shift of labels against the one tolerance."""
    shadow = evidence.shadow()
    shifts = Shifts.of(evidence.timeline.windows)
    by_pairs = log_above(shadow.disagreements, shadow.pairs, limits.max_shift)
    by_shift, loudest = shifts.log_beyond(limits.max_shift) if shifts else (0.0, "")

    def log_safe(exposure: float) -> float:
        tolerance = limits.max_shift / exposure
        logs = [log_below(shadow.disagreements, shadow.pairs, tolerance)] if shadow.pairs else []
        if shifts:
            logs.append(shifts.log_within(tolerance))
        return _mean_or_certain(logs)

    parts = []
    numbers: dict[str, float] = {"pairs": shadow.pairs, "disagreements": shadow.disagreements}
    if shadow.pairs:
        share = shadow.disagreements / shadow.pairs
        parts.append(
            f"{shadow.disagreements:,} of {shadow.pairs:,} shadowed answers ({share:.1%}) differ"
            " from stable's"
        )
    if shifts:
        gap, name = shifts.difference()
        numbers |= {"candidate_answers": shifts.answers, "largest_shift": gap}
        parts.append(
            f"in {shifts.answers:,} of its own answers the share of “{name}” differs by"
            f" {gap:+.1%} of all"
        )
    return Case(
        has_data=bool(shadow.pairs or (shifts and shifts.answers)),
        log_regressed=log_mean(np.array([by_pairs, by_shift])) if shifts else by_pairs,
        log_safe=log_safe,
        seen="; ".join(parts),
        allowed=f"with a shift of {limits.max_shift:.0%}"
        + (f" (clearest: “{loudest}”)" if loudest and by_shift > by_pairs else ""),
        numbers=numbers,
        within=lambda exposure: _within(limits.max_shift / exposure),
    )


def _within(tolerance: float) -> str:
    return f"no share differs by {tolerance:.1%} or more" if tolerance < 1.0 else ""


def _mean_or_certain(logs: list[float]) -> float:
    if not logs:
        return -math.inf
    return math.inf if math.inf in logs else log_mean(np.array(logs))
