"""How others decide, on the same counts: Argo Rollouts, Flagger, a repeated z-test, GrowthBook.

Each rule takes one rollout's counts per look (not cumulative) and returns the look at which it
rolls back, or None. Thresholds are those that their documents use; see the names of arguments.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from serinus.evidence.eprocess import Floats

__all__ = ["RULES", "Looks", "argo", "flagger", "growthbook", "repeated_z"]


@dataclass(frozen=True)
class Looks:
    """Counts of one rollout between looks."""

    candidate_errors: Floats
    candidate_requests: Floats
    stable_errors: Floats
    stable_requests: Floats


def argo(looks: Looks, threshold: float = 0.99, failure_limit: int = 3) -> int | None:
    """`successCondition: result >= threshold`; fails when *more than* failureLimit windows did.

    A window without requests gives no measurement, which is the kinder reading.
    """
    failures = 0
    for look, (errors, requests) in enumerate(
        zip(looks.candidate_errors, looks.candidate_requests, strict=True)
    ):
        failures += bool(requests and 1.0 - errors / requests < threshold)
        if failures > failure_limit:
            return look
    return None


def flagger(looks: Looks, threshold: float = 0.99, failed_checks: int = 5) -> int | None:
    """`request-success-rate` with a threshold on the canary alone; a window without data fails."""
    failures = 0
    for look, (errors, requests) in enumerate(
        zip(looks.candidate_errors, looks.candidate_requests, strict=True)
    ):
        failures += not requests or 1.0 - errors / requests < threshold
        if failures >= failed_checks:
            return look
    return None


def repeated_z(looks: Looks, z: float = 2.326) -> int | None:
    """A one-sided pooled z-test of two proportions, repeated at every look."""
    k, n, b, m = (np.cumsum(each) for each in _columns(looks))
    pooled = (k + b) / np.maximum(n + m, 1)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / np.maximum(n, 1) + 1 / np.maximum(m, 1)))
    gap = k / np.maximum(n, 1) - b / np.maximum(m, 1)
    return _first(gap > z * np.maximum(spread, 1e-12))


def growthbook(looks: Looks, alpha: float = 0.01, tuning: float = 5000.0) -> int | None:
    """A one-sided asymptotic confidence sequence of the difference of two means (N* = 5000)."""
    k, n, b, m = (np.cumsum(each) for each in _columns(looks))
    p, q = k / np.maximum(n, 1), b / np.maximum(m, 1)
    total = n + m
    variance = total * (p * (1 - p) / np.maximum(n, 1) + q * (1 - q) / np.maximum(m, 1))
    log = math.log(2 * alpha)
    rho2 = (-2 * log + math.log(-2 * log + 1)) / tuning
    grown = total * rho2 + 1
    radius = np.sqrt(2 * grown / (total**2 * rho2) * np.log1p(np.sqrt(grown) / (2 * alpha)))
    enough = (k >= 1) & (k + b >= 5)
    return _first(enough & (p - q > np.sqrt(variance) * radius))


RULES: dict[str, Callable[[Looks], int | None]] = {
    "Argo Rollouts, success >= 99 %, failureLimit 3": argo,
    "Flagger, success >= 99 %, threshold 5": flagger,
    "z-test at every look, 1 %": repeated_z,
    "GrowthBook's sequence, 1 %": growthbook,
}


def _columns(looks: Looks) -> tuple[Floats, Floats, Floats, Floats]:
    return (
        looks.candidate_errors,
        looks.candidate_requests,
        looks.stable_errors,
        looks.stable_requests,
    )


def _first(hits: np.ndarray) -> int | None:
    return int(hits.argmax()) if hits.any() else None
