"""Serinus and the rules of others on the same simulated rollouts: who aborts, misses, harms.

20 requests/s; steps of five minutes at 1, 5, 25 and 50 %. Argo Rollouts and Flagger measure windows
of a minute, as their documents do; the comparing rules look every ten seconds, like Serinus.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.baselines import RULES, Looks
from bench.traces import RAMP, Rng, Trace, chunks, error_trace
from serinus.evidence.eprocess import Events, Floats, log_decrease, log_regression, log_safety

__all__ = ["SCENES", "Fate", "fates"]

#: (error rate of stable, of the candidate).
SCENES = ((0.005, 0.005), (0.01, 0.01), (0.001, 0.008), (0.01, 0.03), (0.001, 0.2))
_PER_SECOND, _STEP_S, _LOOK_S, _WINDOW_S = 20, 300, 10, 60
#: Rules that judge windows of a minute; the others look at all so far.
_WINDOWED = ("Argo", "Flagger")
_ALPHA, _FALSE_PROMOTE = 0.01, 0.05
_STRICT, _DEFAULT = "Serinus, any increase", "Serinus, default (2 x, floor 1 %)"


@dataclass(frozen=True)
class Fate:
    """What one rule did with the rollouts of one scene."""

    rule: str
    base: float
    candidate: float
    runs: int
    rolled_back: int
    #: At the end given all traffic: by Serinus when it is SAFE, by the others when not rolled back.
    promoted: int
    #: Of the candidate, answered to users with an error: mean over rollouts, until the way back.
    failed_met: float
    #: Answered by the candidate until the way back or the end, mean.
    exposed: float


def fates(rng: Rng, runs: int) -> Iterator[Fate]:
    """Every rule on every scene."""
    looks = [np.full(_STEP_S // _LOOK_S, _PER_SECOND * _LOOK_S)] * len(RAMP)
    for base, candidate in SCENES:
        falls: dict[str, list[NDArray[np.int64]]] = {}
        passed: dict[str, list[NDArray[np.bool_]]] = {}
        met: list[Floats] = []
        exposed: list[Floats] = []
        for part in chunks(runs):
            trace = error_trace(
                rng, part, RAMP, looks, lambda *_, rate=base: rate, candidate / base
            )
            safe = _safe(trace)
            for name, fell in _falls(trace).items():
                falls.setdefault(name, []).append(fell)
                passed.setdefault(name, []).append(safe.get(name, np.ones(part, bool)))
            met.append(trace.candidate_errors.sum(axis=-1))
            exposed.append(trace.candidate_requests.sum(axis=-1))
        failed, answered = np.concatenate(met), np.concatenate(exposed)
        for name, parts in falls.items():
            fell, safe_at_end = np.concatenate(parts), np.concatenate(passed[name])
            yield _fate(name, base, candidate, fell, safe_at_end, failed, answered)


def _fate(
    name: str,
    base: float,
    candidate: float,
    falls: NDArray[np.int64],
    passed: NDArray[np.bool_],
    failed: Floats,
    answered: Floats,
) -> Fate:
    runs, looks = failed.shape
    at = np.minimum(falls, looks - 1)
    return Fate(
        name,
        base,
        candidate,
        runs,
        int((falls < looks).sum()),
        int(((falls == looks) & passed).sum()),
        float(failed[np.arange(runs), at].mean()),
        float(answered[np.arange(runs), at].mean()),
    )


def _falls(trace: Trace) -> dict[str, NDArray[np.int64]]:
    """Per rule, the look at which each rollout is rolled back; the number of looks for never."""
    runs, looks, _ = trace.candidate_errors.shape
    strict = log_regression(trace.events(), 1.0)
    within = np.minimum(log_regression(trace.events(), 2.0), _above_floor(trace, 0.01))
    falls = {
        _STRICT: _first(strict >= -np.log(_ALPHA), looks),
        _DEFAULT: _first(within >= -np.log(_ALPHA), looks),
    }
    tables = (
        trace.candidate_errors,
        trace.candidate_requests,
        trace.stable_errors,
        trace.stable_requests,
    )
    sums = [each.sum(axis=-1) for each in tables]
    every = _WINDOW_S // _LOOK_S
    for name, rule in RULES.items():
        step = every if name.startswith(_WINDOWED) else 1
        fresh = [np.diff(each[:, step - 1 :: step], axis=1, prepend=0.0) for each in sums]
        ends = [rule(Looks(*(each[run] for each in fresh))) for run in range(runs)]
        falls[name] = np.array([looks if end is None else (end + 1) * step - 1 for end in ends])
    return falls


def _safe(trace: Trace) -> dict[str, NDArray[np.bool_]]:
    """Rollouts that Serinus would call SAFE for all traffic at some look of the last step."""
    last = trace.candidate_errors.shape[1] * (len(RAMP) - 1) // len(RAMP)
    within = np.exp(np.minimum(log_safety(trace.events(), 2.0)[:, last:], 100.0))
    below = np.exp(np.minimum(log_decrease(_alone(trace, 0.01), 1.0, -2.5, 1.5)[:, last:], 100.0))
    return {
        _STRICT: np.any(within >= 1.0 / _FALSE_PROMOTE, axis=1),
        _DEFAULT: np.any((within + below) / 2.0 >= 1.0 / _FALSE_PROMOTE, axis=1),
    }


def _above_floor(trace: Trace, floor: float) -> Floats:
    return log_regression(_alone(trace, floor))


def _alone(trace: Trace, limit: float) -> Events:
    """The candidate's errors against a fixed number, as `evidence.proportion` has them."""
    hits, trials = (
        each.sum(axis=-1)[..., None] for each in (trace.candidate_errors, trace.candidate_requests)
    )
    return Events(hits, trials, np.array([limit]))


def _first(hit: NDArray[np.bool_], looks: int) -> NDArray[np.int64]:
    return np.where(hit.any(axis=1), hit.argmax(axis=1), looks)
