"""How soon a regression is found and safety proved, against published figures; times to the end.

The published medians are of few rollouts: candidate requests times base rate should be the same
whenever errors are rare and the ratio is 2, and among them it runs from 11.4 to 16.7. Those marked
censored left out the rollouts that found nothing in time, and so are too small.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.traces import (
    RAMP,
    LiveStage,
    Rng,
    chunks,
    error_trace,
    first_crossing,
    growing_looks,
    latency_arms,
)
from serinus.evidence.eprocess import Events, Floats, log_regression, log_safety
from serinus.evidence.guardrails import (
    Confidence,
    ErrorRate,
    Evidence,
    Guardrail,
    Latency,
    Predictions,
)
from serinus.evidence.slow import SlowEvents
from serinus.evidence.summary import ArmSummary, StageSummary
from serinus.evidence.verdict import Verdict, judge
from serinus.evidence.windows import Timeline

__all__ = ["Finding", "Journey", "errors_found", "journeys", "safety_proved", "slowness_found"]


@dataclass(frozen=True)
class Finding:
    """The candidate's requests until a verdict."""

    name: str
    #: The candidate's part of the traffic.
    share: float
    runs: int
    median: float
    #: 95 % interval of the median, from order statistics.
    low: float
    high: float
    late: float
    published: float
    #: True when the published figure leaves out what was not found in time.
    censored: bool = False

    @property
    def behind(self) -> bool:
        """More than a tenth later than published, beyond the doubt of this simulation."""
        return self.low > 1.1 * self.published


#: (base, candidate) → published median of candidate requests at shares of 1, 5, 10, 50 %.
_DETECTION = {
    (0.01, 0.02): (1225, 1267, 1320, 2750),
    (0.01, 0.03): (467, 462, 463, 993),
    (0.01, 0.05): (139, 160, 178, 496),
    (0.005, 0.01): (2273, 3336, 2592, 6520),
    (0.001, 0.005): (1092, 1484, 1476, 3193),
    (0.001, 0.2): (15, 24, 31, 100),
}
_CENSORED = {(0.005, 0.01, 0.01), (0.001, 0.005, 0.01)}
#: (base, ratio) → published median of candidate requests at a share of 5 %, equal arms.
_SAFETY = {
    (0.01, 1.25): 9617,
    (0.01, 1.5): 3066,
    (0.01, 2.0): 913,
    (0.01, 3.0): 377,
    (0.001, 2.0): 9515,
    (0.001, 3.0): 3292,
}
#: Slower by → published median of candidate requests at a share of 10 %, per quantile.
_SLOW = {1.1: (2250, 2496, 5647), 1.25: (658, 498, 810), 1.5: (321, 214, 295), 2.0: (204, 202, 204)}


def errors_found(rng: Rng, runs: int) -> Iterator[Finding]:
    """REGRESSED at margin 0 and alpha .01."""
    for (base, rate), published in _DETECTION.items():
        for share, figure in zip((0.01, 0.05, 0.1, 0.5), published, strict=True):
            found = _found(rng, runs, share, figure, base, rate / base, log_regression, 1.0, 0.01)
            name = f"REGRESSED, {base:.1%} to {rate:.1%}"
            yield _finding(name, share, found, figure, (base, rate, share) in _CENSORED)


def safety_proved(rng: Rng, runs: int) -> Iterator[Finding]:
    """SAFE at alpha .05, of an equal candidate."""
    for (base, ratio), figure in _SAFETY.items():
        found = _found(rng, runs, 0.05, figure, base, 1.0, log_safety, ratio, 0.05)
        yield _finding(f"SAFE, within {ratio:g} x of {base:.1%}", 0.05, found, figure)


def slowness_found(rng: Rng, runs: int) -> Iterator[Finding]:
    """REGRESSED by one quantile alone, margin 0 and alpha .01."""
    for slower, figures in _SLOW.items():
        limit = 4 * max(figures)
        rows = [_slow_found(rng, slower, limit) for _ in range(runs)]
        for place, quantile in enumerate((50, 95, 99)):
            found = np.array([row[place] for row in rows])
            yield _finding(f"p{quantile}, {slower:g} x slower", 0.1, found, figures[place])


def _finding(
    name: str, share: float, found: Floats, figure: int, censored: bool = False
) -> Finding:
    ordered, half = np.sort(found), 0.98 * math.sqrt(len(found))
    middle = len(found) / 2
    low, high = int(max(middle - half, 0)), int(min(middle + half, len(found) - 1))
    median, late = np.quantile(found, (0.5, 0.9), method="lower")
    return Finding(
        name,
        share,
        len(found),
        float(median),
        float(ordered[low]),
        float(ordered[high]),
        float(late),
        figure,
        censored,
    )


def _found(
    rng: Rng,
    runs: int,
    share: float,
    figure: int,
    base: float,
    true_ratio: float,
    process: Callable[[Events, float], Floats],
    ratio: float,
    alpha: float,
) -> NDArray[np.float64]:
    sizes = growing_looks(int(6 * figure / share), 400, 20)
    found = []
    for part in chunks(runs):
        trace = error_trace(rng, part, [share], [sizes], lambda *_: base, true_ratio)
        found.append(first_crossing(process(trace.events(), ratio), alpha, trace.exposed()))
    return np.concatenate(found)


def _slow_found(rng: Rng, slower: float, limit: int) -> list[float]:
    """Candidate requests until each quantile's process alone rejects."""
    timeline = Timeline()
    stage = LiveStage(timeline, 0, 0.1)
    found = [math.inf] * 3
    while math.inf in found and stage.total.candidate.requests < limit:
        tick = max(100, stage.total.stable.requests // 20)
        stage.add(*latency_arms(rng, tick, 0.1, 1.0, slower))
        slow = SlowEvents(timeline.windows)
        for place, quantile in enumerate((0.5, 0.95, 0.99)):
            if found[place] == math.inf and slow.log_slower(quantile, 0.0) >= math.log(100):
                found[place] = stage.total.candidate.requests
    return found


@dataclass(frozen=True)
class Journey:
    """Minutes of an equal candidate to all traffic by 1-5-25-50 %."""

    per_second: float
    base: float
    guardrails: str
    control: bool
    runs: int
    median: float
    late: float
    #: Rollouts that did not get there.
    unfinished: int
    published: float | None


def journeys(rng: Rng, runs: int) -> Iterator[Journey]:
    """The error guardrail alone as published, then all defaults, without and with a control arm."""
    only = {
        (20.0, 0.0, 0.01): 4,
        (20.0, 0.001, 0.01): 5,
        (20.0, 0.01, 0.005): 8,
        (20.0, 0.05, 0.0): 2,
        (200.0, 0.01, 0.005): 2,
    }
    for (per_second, base, floor), published in only.items():
        guards: list[Guardrail] = [ErrorRate(1.0, floor)]
        times = [_journey(rng, per_second, base, guards) for _ in range(runs)]
        yield _travelled(per_second, base, "error_rate", False, times, published)
    guards = [ErrorRate(), Latency(), Predictions()]
    for per_second in (2.0, 20.0, 200.0):
        for control in (False, True):
            times = [_journey(rng, per_second, 0.001, guards, control=control) for _ in range(runs)]
            yield _travelled(per_second, 0.001, "all defaults", control, times, None)


def _travelled(
    per_second: float,
    base: float,
    guards: str,
    control: bool,
    times: list[float],
    published: float | None,
) -> Journey:
    median, late = np.quantile(times, (0.5, 0.9), method="lower") / 60
    unfinished = sum(not math.isfinite(each) for each in times)
    return Journey(
        per_second,
        base,
        guards,
        control,
        len(times),
        float(median),
        float(late),
        unfinished,
        published,
    )


def _journey(
    rng: Rng, per_second: float, base: float, guards: list[Guardrail], *, control: bool = False
) -> float:
    """Seconds to all traffic with decisions every 10 s and at least 30 s a step."""
    timeline, done, clock = Timeline(), list[StageSummary](), 0.0
    for number, (share, after) in enumerate(zip(RAMP, (500, 2500, 5000, 10_000), strict=True)):
        stage = LiveStage(timeline, number, share, share if control else 0.0)
        started = clock
        while True:
            clock += 10
            if clock > 200 * 60 * 20 / per_second:
                return math.inf
            stage.add(*_tick(rng, int(per_second * 10), share, base, guards, control=control))
            if clock - started < 30:
                continue
            verdicts = judge(Evidence([*done, stage.total], timeline), guards, Confidence(), after)
            if any(each.verdict is Verdict.REGRESSED for each in verdicts):
                return math.inf
            if all(each.verdict is Verdict.SAFE for each in verdicts):
                break
        done.append(stage.total)
    return clock


def _tick(
    rng: Rng, count: int, share: float, base: float, guards: list[Guardrail], *, control: bool
) -> list[ArmSummary]:
    """(stable, candidate, control) of ten seconds."""
    parts = (1.0 - share * (1 + control), share, share * control)
    arms = []
    for requests in rng.multinomial(count, parts).tolist():
        (arm, _) = (
            latency_arms(rng, requests, 0.0, 1.0, 1.0)
            if len(guards) > 1
            else (ArmSummary(units=requests, requests=requests), None)
        )
        arm.lone_errors = int(rng.binomial(requests, base))
        if len(guards) > 1:
            counts = rng.multinomial(requests, (0.6, 0.3, 0.1)).tolist()
            arm.predictions = {label: n for label, n in zip("abc", counts, strict=True) if n}
        arms.append(arm)
    return arms
