"""The case of the latency guardrail: slow answers by arm, at several quantiles. Pure."""

import math

import numpy as np

from serinus.evidence.eprocess import log_mean
from serinus.evidence.guardrails import Case, Evidence, Latency
from serinus.evidence.slow import SlowEvents

__all__ = ["latency_case"]


def latency_case(evidence: Evidence, limits: Latency) -> Case:
    """The candidate's answers above the baseline's past quantiles, times one plus the margins."""
    if not limits.limits:
        return Case(False, 0.0, lambda _: -math.inf, "", "", {})
    slow = SlowEvents(evidence.timeline.windows, of_model=limits.of_model, floor_s=limits.floor_s)
    logs = [slow.log_slower(quantile, margin) for quantile, margin in limits.limits]
    loudest, margin = limits.limits[int(np.argmax(logs))]

    def log_safe(exposure: float) -> float:
        return min(slow.log_not_slower(q, margin, exposure) for q, margin in limits.limits)

    events = slow.events(loudest, margin, lenient=True)
    on_candidate, total = float(events.candidate.sum()), float(events.total.sum())
    share = evidence.traffic_share()
    more = f", and {limits.floor_s * 1000:g} ms" if limits.floor_s else ""
    return Case(
        has_data=slow.answers > 0,
        # The mean over the quantiles is one e-value for all of them.
        log_regressed=log_mean(np.array(logs)),
        log_safe=log_safe,
        seen=(
            f"{on_candidate:,.0f} of {total:,.0f} answers slower than stable's p{loudest * 100:g}"
            f" (the candidate's: than {1.0 + margin:.2f} times that{more}) were the candidate's,"
            f" which had {share:.1%} of traffic"
        ),
        allowed=f"with a p{loudest * 100:g} that is {margin:.0%} higher" if margin else "",
        numbers={
            "quantile": loudest,
            "margin": margin,
            "candidate_slow": on_candidate,
            "slow": total,
            "candidate_answers": slow.answers,
            "traffic_share": share,
        },
        within=lambda exposure: _within(limits, exposure),
    )


def _within(limits: Latency, exposure: float) -> str:
    words = ", ".join(f"p{quantile * 100:g} by {margin:.0%}" for quantile, margin in limits.limits)
    if exposure >= 1.0:
        return f"it is slower by less than its margins ({words})"
    return f"answers beyond its margins ({words}) are less than {1.0 / exposure:.3g} times as many"
