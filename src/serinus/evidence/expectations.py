"""How long a proof will take, before a rollout starts: for `plan`. Pure; draws no numbers.

The median time to a verdict is close to the moment at which the process, given exactly the
*expected* counts, reaches its threshold. That moment is found by bisection over the number of
requests, so margins, floors and mixtures are the real ones. `bench/calibrate.py` compares.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from serinus.entities import WHOLE
from serinus.evidence.eprocess import Events, log_decrease, log_mean, log_regression, log_safety
from serinus.evidence.guardrails import Confidence, ErrorRate, Latency, Predictions
from serinus.evidence.proportion import log_above, log_below

__all__ = [
    "Expectation",
    "StepExpectation",
    "Traffic",
    "expected_detection",
    "expected_steps",
]

#: Requests after which a proof is said never to come.
_NEVER = 1e12
#: The slowest of several label sets gathers evidence at about this part of the average one's speed.
_SLOWEST_SET = 0.55
#: Spread of log service times when nothing is known (log-normal sigma).
_SIGMA = 0.6


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the endpoint sees."""

    per_second: float
    #: Share of requests that fail at the model's fault today.
    error_rate: float = 0.0
    #: Spread of log latency; 0.6 is p95 at 2.7 times the median.
    sigma: float = _SIGMA


@dataclass(frozen=True, slots=True)
class Expectation:
    """When a verdict is to be expected, at the median."""

    #: Requests of both arms; infinite for never.
    requests: float
    #: Of these, on the candidate.
    candidate_requests: float
    seconds: float


@dataclass(frozen=True, slots=True)
class StepExpectation:
    """One step: the exposure it holds, the next one, and the time until that one is proved."""

    bp: int
    next_bp: int
    seconds: float
    #: Requests on the candidate during the step.
    candidate_requests: float
    #: The guardrail that takes longest.
    slowest: str


def expected_detection(
    traffic: Traffic,
    bp: int,
    candidate_error_rate: float,
    limits: ErrorRate,
    confidence: Confidence,
    guardrails: int = 3,
) -> Expectation:
    """When a candidate that fails at this rate is REGRESSED, at an exposure of ``bp``.

    ``candidate_requests`` is then the number of users' requests that met it; those that failed are
    this times ``candidate_error_rate``. ``guardrails``: how many share the error probability.
    """
    share = bp / WHOLE
    needed = math.log(max(guardrails, 1) / confidence.false_rollback)

    def log_evidence(requests: float) -> float:
        mine = requests * share
        hits = mine * candidate_error_rate
        total = hits + (requests - mine) * traffic.error_rate
        log = float(log_regression(Events.of([(hits, total, share)]), 1.0 + limits.max_increase))
        return min(log, log_above(hits, mine, limits.floor)) if limits.floor else log

    requests = _first(log_evidence, needed)
    return Expectation(requests, requests * share, requests / traffic.per_second)


def expected_steps(
    traffic: Traffic,
    steps_bp: Sequence[int],
    guardrails: Sequence[ErrorRate | Latency | Predictions],
    confidence: Confidence,
    min_duration_s: float = 30.0,
) -> list[StepExpectation]:
    """For a candidate that is just like stable: how long each step lasts until the next is proved.

    ``steps_bp``: rising exposures; the last is followed by 10,000 when it is not that itself.
    """
    ladder = [*steps_bp] if steps_bp[-1] == WHOLE else [*steps_bp, WHOLE]
    done: list[tuple[float, float]] = []  # (requests, share) of each step so far
    result = []
    for bp, next_bp in pairwise(ladder):
        share = bp / WHOLE
        times = {
            each.name: _first(
                _growth(traffic, each, done, share, next_bp / WHOLE),
                -math.log(confidence.false_promote),
            )
            for each in guardrails
        }
        slowest = max(times, key=times.__getitem__) if times else ""
        requests = max(min_duration_s * traffic.per_second, times.get(slowest, 0.0))
        done.append((requests, share))
        seconds = requests / traffic.per_second
        result.append(StepExpectation(bp, next_bp, seconds, requests * share, slowest))
    return result


def _growth(
    traffic: Traffic,
    guardrail: ErrorRate | Latency | Predictions,
    done: list[tuple[float, float]],
    share: float,
    exposure: float,
) -> Callable[[float], float]:
    """Log evidence for safety at ``exposure`` after so many requests in the step at ``share``."""

    def log_evidence(requests: float) -> float:
        spans = [*done, (requests, share)]
        match guardrail:
            case ErrorRate():
                return _log_error_safe(spans, traffic.error_rate, guardrail, exposure)
            case Latency():
                return _log_latency_safe(spans, traffic.sigma, guardrail, exposure)
            case Predictions():
                return _log_shift_within(spans, guardrail.max_shift / exposure)

    return log_evidence


def _log_error_safe(
    spans: list[tuple[float, float]], rate: float, limits: ErrorRate, exposure: float
) -> float:
    events = Events.of([(n * share * rate, n * rate, share) for n, share in spans])
    within = float(log_safety(events, 1.0 + limits.max_increase / exposure))
    if not limits.floor:
        return within
    mine = sum(n * share for n, share in spans)
    return log_mean(np.array([within, log_below(mine * rate, mine, limits.floor / exposure)]))


def _log_latency_safe(
    spans: list[tuple[float, float]], sigma: float, limits: Latency, exposure: float
) -> float:
    def of(quantile: float, margin: float) -> float:
        shift = math.log1p(margin) / sigma
        slow = _normal_tail(_normal_quantile(quantile) + shift)
        rows = [
            (n * share * slow, n * share * slow + n * (1.0 - share) * (1.0 - quantile), share)
            for n, share in spans
        ]
        return float(log_decrease(Events.of(rows), 1.0 / exposure))

    return min(of(quantile, margin) for quantile, margin in limits.limits)


def _log_shift_within(spans: list[tuple[float, float]], tolerance: float) -> float:
    """Of the widest set, one half of all answers, whose variance is the largest."""
    if tolerance >= 1.0:
        return math.inf if sum(n * share for n, share in spans) >= 1.0 else 0.0
    # A bet on a mean of `tolerance` with a variance of 1 / (4 rho (1 - rho)) grows like this; what
    # is taken off is lost to not knowing the best stake and to waiting for the slowest of all sets.
    growth = sum(
        n * tolerance**2 / (2.0 * (0.25 / (share * (1.0 - share)) + tolerance**2))
        for n, share in spans
        if 0.0 < share < 1.0
    )
    return _SLOWEST_SET * growth - 1.0


def _first(log_evidence: Callable[[float], float], needed: float) -> float:
    """The smallest number of requests that gives the evidence; infinite when none does."""
    if log_evidence(_NEVER) < needed:
        return math.inf
    low, high = 0.0, math.log(_NEVER)
    while high - low > 1e-3:
        middle = 0.5 * (low + high)
        if log_evidence(math.exp(middle)) >= needed:
            high = middle
        else:
            low = middle
    return math.exp(high)


def _normal_tail(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def _normal_quantile(share: float) -> float:
    low, high = -10.0, 10.0
    while high - low > 1e-9:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _normal_tail(middle) > 1.0 - share else (low, middle)
    return low
