"""How often the tests are wrong when nothing is: nulls with ramps, drifts, spikes, sticky users.

Nulls with clusters are in `clusters` and `stalls`, those in which the gate decides in `whole_loop`,
those behind queues and batches in `like_with_like`.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np

from bench.rates import Rate
from bench.traces import (
    RAMP,
    LiveStage,
    Rng,
    Size,
    chunks,
    error_trace,
    first_crossing,
    latency_arms,
)
from serinus.evidence.eprocess import Events, log_regression, log_safety
from serinus.evidence.means import Outcomes, ever, log_drop
from serinus.evidence.ratio import log_mismatch
from serinus.evidence.shift import Shifts
from serinus.evidence.slow import SlowEvents
from serinus.evidence.summary import ArmSummary
from serinus.evidence.windows import Timeline


def false_alarms(rng: Rng, size: Size) -> Iterator[Rate]:
    """Every null, with what it is allowed."""
    looks = [np.full(40, 150)] * 4
    nulls: dict[str, Callable[[int, float], float]] = {
        "constant 1 %": lambda _stage, _part: 0.01,
        "ramp of the rate 0.2 to 5 %": lambda stage, _part: (0.002, 0.005, 0.02, 0.05)[stage],
        "25 x spike at the end": lambda stage, part: 0.05 if stage == 3 and part > 0.5 else 0.002,
        "drift x 1.5": lambda stage, part: 0.01 * (1 + 0.5 * (stage + part) / 4),
    }
    for name, base in nulls.items():
        for ratio in (1.0, 2.0):
            hits = 0
            for runs in chunks(size.cheap):
                trace = error_trace(rng, runs, RAMP, looks, base, ratio)
                log = log_regression(trace.events(), ratio)
                hits += int((first_crossing(log, 0.05, trace.exposed()) < np.inf).sum())
            yield Rate(f"errors, {name}, boundary {ratio:g} x", hits, size.cheap, 0.05)
    yield _false_safety(rng, size, looks)
    yield _sticky(rng, size.cheap // 4, by_unit=True)
    yield _sticky(rng, size.cheap // 4, by_unit=False)
    yield from _other_false_alarms(rng, size.cheap)


def _false_safety(rng: Rng, size: Size, looks: list[np.ndarray]) -> Rate:
    hits = 0
    for runs in chunks(size.cheap):
        trace = error_trace(rng, runs, RAMP, looks, lambda *_: 0.01, 2.0)
        log = log_safety(trace.events(), 2.0)
        hits += int((first_crossing(log, 0.05, trace.exposed()) < np.inf).sum())
    return Rate("errors, SAFE at the boundary 2 x", hits, size.cheap, 0.05)


def _sticky(rng: Rng, runs: int, *, by_unit: bool) -> Rate:
    """Heavy-tailed users, a few of whom always fail: one event each, or one per request."""
    hits = 0
    for _ in range(runs):
        users = 4000
        mine = rng.random(users) < 0.1
        failing = rng.random(users) < 0.02
        requests = np.ceil(rng.pareto(1.3, users)).astype(int) if not by_unit else np.ones(users)
        weight = (failing * requests).astype(float)
        ends = np.arange(100, users + 1, 100) - 1
        events = Events(
            np.cumsum(weight * mine)[ends][:, None],
            np.cumsum(weight)[ends][:, None],
            np.array([0.1]),
        )
        hits += bool((log_regression(events) >= math.log(20)).any())
    name = "one event per unit" if by_unit else "every request counted (wrong, for contrast)"
    # The contrast is there to be seen; nothing is promised about it.
    return Rate(f"sticky users, heavy tails, {name}", hits, runs, 0.05 if by_unit else 1.0)


def latency_nulls(rng: Rng, runs: int) -> Iterator[Rate]:
    """A ramp of equal candidates, under loads that move."""
    for name, drift in (
        ("no drift", (1.0, 1.0, 1.0)),
        ("drift x 1.5", (1.0, 1.2, 1.5)),
        ("up and down", (1.3, 0.8, 1.5)),
    ):
        hits = sum(_latency_alarm(rng, drift) for _ in range(runs))
        yield Rate(f"latency p50, p95, p99, ramp, {name}", hits, runs, 0.05)


def _other_false_alarms(rng: Rng, runs: int) -> Iterator[Rate]:
    hits = sum(_split_alarm(rng) for _ in range(runs))
    yield Rate("split, 200 looks", hits, runs, 0.001)
    hits = sum(_quality_alarm(rng) for _ in range(runs))
    yield Rate("quality, ramp and drift", hits, runs, 0.05)
    hits = sum(_shift_alarm(rng) for _ in range(runs))
    yield Rate("predictions at the tolerance", hits, runs, 0.05)


def _latency_alarm(rng: Rng, drift: tuple[float, ...]) -> bool:
    timeline = Timeline()
    for number, share in enumerate((0.01, 0.1, 0.5)):
        stage = LiveStage(timeline, number, share)
        for _ in range(8):
            stage.add(*latency_arms(rng, 400, share, drift[number], 1.0))
            if _log_slower(timeline) >= math.log(20):
                return True
    return False


def _log_slower(timeline: Timeline) -> float:
    slow = SlowEvents(timeline.windows)
    logs = np.array([slow.log_slower(quantile, 0.0) for quantile in (0.5, 0.95, 0.99)])
    return float(np.log(np.mean(np.exp(np.minimum(logs, 700)))))


def _split_alarm(rng: Rng) -> bool:
    mine = np.cumsum(rng.binomial(100, 0.05, 200))
    seen = np.arange(1, 201) * 100
    return any(
        log_mismatch([int(n - k), int(k)], [0.95, 0.05]) >= math.log(1000)
        for k, n in zip(mine, seen, strict=True)
    )


def _quality_alarm(rng: Rng) -> bool:
    share = np.repeat(RAMP, 1500)
    base = np.linspace(0.9, 0.5, len(share))
    mine = rng.random(len(share)) < share
    value = (rng.random(len(share)) < base).astype(float)
    return bool((ever(log_drop(Outcomes(mine, share, value), 0.0)) >= math.log(20)).any())


def _shift_alarm(rng: Rng) -> bool:
    timeline = Timeline()
    stage = LiveStage(timeline, 0, 0.1)
    for _ in range(8):
        mine = int(rng.binomial(1000, 0.1))
        arms = []
        for count, chances in ((1000 - mine, (0.5, 0.4, 0.1)), (mine, (0.45, 0.4, 0.15))):
            labels = dict(zip("abc", rng.multinomial(count, chances).tolist(), strict=True))
            arms.append(ArmSummary(units=count, latency={1: count}, predictions=labels))
        stage.add(*arms)
        shifts = Shifts.of(timeline.windows)
        if shifts is not None and shifts.log_beyond(0.05)[0] >= math.log(20):
            return True
    return False
