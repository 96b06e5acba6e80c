"""The case of the error_rate guardrail: errors by arm, shadowed pairs, and the floor. Pure.

Never counts a client's fault, and never two errors of one cause or one sticky unit.
"""

import numpy as np

from serinus.evidence.eprocess import Events, log_mean, log_regression, log_safety
from serinus.evidence.guardrails import Case, ErrorRate, Evidence
from serinus.evidence.proportion import log_above, log_below
from serinus.evidence.summary import Arm, PairSummary

__all__ = ["error_case"]


def error_case(evidence: Evidence, limits: ErrorRate) -> Case:
    """Errors on the candidate against those on stable (or control), and against the floor."""
    live = evidence.error_events()
    shadow = evidence.shadow()
    shadowed = _shadowed(shadow)
    hits = live.candidate.sum() + shadow.candidate_errors + shadow.both_errors
    trials = evidence.trials(Arm.CANDIDATE) + shadowed
    # One cause is one event when it is held against the candidate; but SAFE speaks of what users
    # meet, and they meet every failure.
    failed = sum(stage.candidate.failed for stage in evidence.stages)
    failed += shadow.candidate_errors + shadow.both_errors
    met = min(max(failed, hits), trials)
    # A pair that failed on both sides says nothing for safety, and against regression it counts as
    # stable's: only then do the counts keep to a ratio that the rates keep to.
    against = _with_pairs(live, shadow.candidate_errors, shadow.stable_errors + shadow.both_errors)
    harmless = _with_pairs(live, shadow.candidate_errors, shadow.stable_errors)

    log_regressed = float(log_regression(against, 1.0 + limits.max_increase))
    if limits.floor:
        log_regressed = min(log_regressed, log_above(hits, trials, limits.floor))

    def log_safe(exposure: float) -> float:
        within = float(log_safety(harmless, 1.0 + limits.max_increase / exposure))
        if not limits.floor:
            return within
        # Either is proof; their mean is one e-value, so two chances cost no more than one.
        return log_mean(np.array([within, log_below(met, trials, limits.floor / exposure)]))

    share = evidence.traffic_share()
    on_candidate, total = int(live.candidate.sum()), int(live.total.sum())
    return Case(
        has_data=trials > 0,
        log_regressed=log_regressed,
        log_safe=log_safe,
        seen=_seen(on_candidate, total, share, shadow),
        allowed=_allowed(limits),
        numbers={
            "candidate_errors": on_candidate,
            "errors": total,
            "candidate_trials": trials,
            "candidate_failed": failed,
            "traffic_share": share,
            "shadowed": shadowed,
            "shadow_candidate_errors": shadow.candidate_errors,
            "shadow_stable_errors": shadow.stable_errors,
            "shadow_both_errors": shadow.both_errors,
        },
        within=lambda exposure: _within(limits, exposure),
    )


def _with_pairs(live: Events, candidate: int, stable: int) -> Events:
    """The same events with one-sided failures of pairs as one more stage, split evenly."""
    if not candidate + stable:
        return live
    return Events(
        np.append(live.candidate, candidate),
        np.append(live.total, candidate + stable),
        np.append(live.share, 0.5),
    )


def _shadowed(shadow: PairSummary) -> int:
    return shadow.pairs + shadow.candidate_errors + shadow.stable_errors + shadow.both_errors


def _seen(on_candidate: int, total: int, share: float, shadow: PairSummary) -> str:
    parts = []
    if share or total:
        parts.append(
            f"{on_candidate:,} of {total:,} errors fell on the candidate, which had"
            f" {share:.1%} of traffic"
        )
    if _shadowed(shadow):
        parts.append(
            f"of {_shadowed(shadow):,} shadowed requests the candidate alone failed"
            f" {shadow.candidate_errors:,}, stable alone {shadow.stable_errors:,}"
        )
    return "; ".join(parts)


def _allowed(limits: ErrorRate) -> str:
    if limits.max_increase or limits.floor:
        words = f"with an increase of {limits.max_increase:.0%}"
        return f"{words} or a rate of {limits.floor:.2%}" if limits.floor else words
    return "under no change"


def _within(limits: ErrorRate, exposure: float) -> str:
    ratio = f"its error rate is less than {1.0 + limits.max_increase / exposure:.3g} times stable's"
    floor = limits.floor / exposure
    if floor >= 1.0:
        return ""
    return f"{ratio}, or below {floor:.2%}" if floor else ratio
