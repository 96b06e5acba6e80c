"""`python -m bench.calibrate`: does the evidence keep its promises? Seeded simulation, tables.

False alarms under nulls, requests until a regression is found or safety proved (against the
published figures), time to all traffic, and others' rules on the same traces. `--quick` takes about
a minute. Exit code 1 when a false-alarm rate is significantly above its nominal level.
"""

import argparse
import math
import timeit
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.baselines import RULES, Looks
from bench.false_alarms import Rate, false_alarms
from bench.traces import (
    RAMP,
    LiveStage,
    Rng,
    Size,
    Trace,
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
    Quality,
)
from serinus.evidence.means import Outcomes
from serinus.evidence.slow import SlowEvents
from serinus.evidence.summary import Arm, ArmSummary, StageSummary
from serinus.evidence.verdict import Verdict, judge
from serinus.evidence.windows import Timeline

_SEED = 20_240_117


QUICK = Size(cheap=1000, detection=400, latency=60, ramps=20)
FULL = Size(cheap=10_000, detection=2000, latency=400, ramps=60)


def main() -> int:
    """Simulate, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m bench.calibrate", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rollouts, about a minute")
    parser.add_argument("--seed", type=int, default=_SEED)
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    rng = np.random.default_rng(arguments.seed)
    console = Console(width=118)
    rates = list(false_alarms(rng, size))
    _show_rates(console, rates)
    _show_detection(console, rng, size)
    _show_latency_detection(console, rng, size)
    _show_ramps(console, rng, size)
    _show_rules(console, rng, size)
    _show_speed(console, rng)
    return int(any(rate.broken for rate in rates))


def _show_rates(console: Console, rates: list[Rate]) -> None:
    table = Table("false alarms under the null", "rollouts", "rate", "95 % interval", "allowed")
    for rate in rates:
        low, high = rate.interval()
        table.add_row(
            rate.name,
            f"{rate.runs:,}",
            f"{rate.hits / rate.runs:.2%}",
            f"{low:.2%} … {high:.2%}",
            ("[red]BROKEN [/]" if rate.broken else "") + f"{rate.nominal:.1%}",
        )
    console.print(table)


#: (base, candidate) → published median of candidate requests at shares of 1, 5, 10, 50 %.
_DETECTION = {
    (0.01, 0.02): (1225, 1267, 1320, 2750),
    (0.01, 0.03): (467, 462, 463, 993),
    (0.01, 0.05): (139, 160, 178, 496),
    (0.005, 0.01): (2273, 3336, 2592, 6520),
    (0.001, 0.005): (1092, 1484, 1476, 3193),
    (0.001, 0.2): (15, 24, 31, 100),
}
#: (base, ratio) → published median of candidate requests at a share of 5 %, equal arms.
_SAFETY = {
    (0.01, 1.25): 9617,
    (0.01, 1.5): 3066,
    (0.01, 2.0): 913,
    (0.01, 3.0): 377,
    (0.001, 2.0): 9515,
    (0.001, 3.0): 3292,
}


def _show_detection(console: Console, rng: Rng, size: Size) -> None:
    table = Table("candidate requests to a verdict", "median", "p90", "published", "ratio")
    for (base, rate), published in _DETECTION.items():
        for share, figure in zip((0.01, 0.05, 0.1, 0.5), published, strict=True):
            found = _found(rng, size, share, figure, base, rate / base, log_regression, 1.0, 0.01)
            name = f"REGRESSED {base:.1%} to {rate:.1%} at {share:.0%} (alpha .01)"
            _add_figure(table, name, found, figure)
    for (base, ratio), figure in _SAFETY.items():
        found = _found(rng, size, 0.05, figure, base, 1.0, log_safety, ratio, 0.05)
        _add_figure(
            table, f"SAFE within {ratio:g} x of {base:.1%} at 5% (alpha .05)", found, figure
        )
    console.print(table)


def _found(
    rng: Rng,
    size: Size,
    share: float,
    figure: int,
    base: float,
    true_ratio: float,
    process: Callable[[Events, float], Floats],
    ratio: float,
    alpha: float,
) -> Floats:
    sizes = growing_looks(int(6 * figure / share), 220, 20)
    found = []
    for runs in chunks(size.detection):
        trace = error_trace(rng, runs, [share], [sizes], lambda *_: base, true_ratio)
        found.append(first_crossing(process(trace.events(), ratio), alpha, trace.exposed()))
    return np.concatenate(found)


def _add_figure(table: Table, name: str, found: Floats, figure: int) -> None:
    median, late = np.quantile(found, (0.5, 0.9), method="lower")
    mark = "" if median <= 1.1 * figure else " *"
    table.add_row(
        name, f"{median:,.0f}", f"{late:,.0f}", f"{figure:,}", f"{median / figure:.2f}{mark}"
    )


#: Slower by → published median of candidate requests at a share of 10 %, per quantile.
_SLOW = {1.1: (2250, 2496, 5647), 1.25: (658, 498, 810), 1.5: (321, 214, 295), 2.0: (204, 202, 204)}


def _show_latency_detection(console: Console, rng: Rng, size: Size) -> None:
    table = Table(
        "slow candidate, 10 % (alpha .01)", "quantile", "median", "p90", "published", "ratio"
    )
    for slower, figures in _SLOW.items():
        limit = 4 * max(figures)
        rows = [_slow_found(rng, slower, limit) for _ in range(max(size.latency // 2, 20))]
        for place, quantile in enumerate((0.5, 0.95, 0.99)):
            found = np.array([row[place] for row in rows])
            median, late = np.quantile(found, (0.5, 0.9), method="lower")
            mark = "" if median <= 1.1 * figures[place] else " *"
            table.add_row(
                f"x {slower:g}",
                f"p{quantile * 100:g}",
                f"{median:,.0f}",
                f"{late:,.0f}",
                f"{figures[place]:,}",
                f"{median / figures[place]:.2f}{mark}",
            )
    console.print(table)


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


def _show_ramps(console: Console, rng: Rng, size: Size) -> None:
    table = Table(
        "identical candidate, 1-5-25-50 %", "guardrails", "median minutes", "p90", "published"
    )
    confidence = Confidence()
    only: dict[tuple[float, float, float], int] = {
        (20, 0.0, 0.01): 4,
        (20, 0.001, 0.01): 5,
        (20, 0.01, 0.005): 8,
        (20, 0.05, 0.0): 2,
        (200, 0.01, 0.005): 2,
    }
    for (per_second, base, floor), published in only.items():
        guards: list[Guardrail] = [ErrorRate(1.0, floor)]
        times = [_ramp(rng, per_second, base, guards, confidence) for _ in range(size.ramps)]
        _add_ramp(
            table, f"{per_second:g}/s, {base:.1%} errors", "error_rate", times, f"{published}"
        )
    for per_second in (2.0, 20.0, 200.0):
        guards = [ErrorRate(), Latency(), Predictions()]
        times = [_ramp(rng, per_second, 0.001, guards, confidence) for _ in range(size.ramps)]
        _add_ramp(table, f"{per_second:g}/s, 0.1% errors", "all defaults", times, "")
    console.print(table)


def _add_ramp(table: Table, name: str, guards: str, times: list[float], published: str) -> None:
    median, late = np.quantile(times, (0.5, 0.9), method="lower") / 60
    table.add_row(name, guards, f"{median:.1f}", f"{late:.1f}", published)


def _ramp(
    rng: Rng, per_second: float, base: float, guards: list[Guardrail], confidence: Confidence
) -> float:
    """Seconds to all traffic with decisions every 10 s and at least 30 s a step."""
    timeline, done, clock = Timeline(), list[StageSummary](), 0.0
    for number, (share, after) in enumerate(zip(RAMP, (500, 2500, 5000, 10_000), strict=True)):
        stage = LiveStage(timeline, number, share)
        started = clock
        while clock < 200 * 60 * 20 / per_second:
            clock += 10
            stage.add(*_tick_arms(rng, int(per_second * 10), share, base, len(guards) > 1))
            if clock - started < 30:
                continue
            verdicts = judge(Evidence([*done, stage.total], timeline), guards, confidence, after)
            if any(each.verdict is Verdict.REGRESSED for each in verdicts):
                return math.inf
            if all(each.verdict is Verdict.SAFE for each in verdicts):
                break
        done.append(stage.total)
    return clock


def _tick_arms(
    rng: Rng, count: int, share: float, base: float, full: bool
) -> tuple[ArmSummary, ArmSummary]:
    if full:
        arms = latency_arms(rng, count, share, 1.0, 1.0)
    else:
        mine = int(rng.binomial(count, share))
        arms = (
            ArmSummary(units=count - mine, requests=count - mine),
            ArmSummary(units=mine, requests=mine),
        )
    for arm in arms:
        arm.lone_errors = int(rng.binomial(arm.requests, base))
        if full:
            counts = rng.multinomial(arm.requests, (0.6, 0.3, 0.1)).tolist()
            arm.predictions = {label: n for label, n in zip("abc", counts, strict=True) if n}
    return arms[0], arms[1]


#: (base, candidate): what happens on the traces that all rules see.
_SCENES = ((0.005, 0.005), (0.01, 0.01), (0.001, 0.008), (0.01, 0.03), (0.001, 0.2))


def _show_rules(console: Console, rng: Rng, size: Size) -> None:
    """20 requests/s, steps of 5 minutes at 1-5-25-50 %, a look a minute."""
    names = [f"{base:.1%} to {rate:.1%}" for base, rate in _SCENES]
    table = Table("rolled back | failed requests met on the candidate (mean)", *names)
    runs = min(size.detection, 400)
    looks = [np.full(5, 1200)] * 4
    cells: dict[str, list[str]] = {}
    for base, rate in _SCENES:
        trace = error_trace(rng, runs, RAMP, looks, _constant(base), rate / base)
        for name, falls in _falls(trace).items():
            errors = trace.candidate_errors.sum(axis=-1)
            met = errors[np.arange(runs), np.minimum(falls, errors.shape[1] - 1)]
            share = float((falls < errors.shape[1]).mean())
            cells.setdefault(name, []).append(f"{share:.0%} | {met.mean():,.0f}")
    for name, row in cells.items():
        table.add_row(name, *row)
    console.print(table)
    console.print("The first two columns are identical candidates: every rollback there is false.")


def _constant(rate: float) -> Callable[[int, float], float]:
    return lambda _stage, _part: rate


def _falls(trace: Trace) -> dict[str, np.ndarray]:
    """Per rule, the look at which each rollout is rolled back; the number of looks for never."""
    runs, looks, _ = trace.candidate_errors.shape
    hit = log_regression(trace.events(), 1.0) >= math.log(100)
    falls = {"Serinus, margin 0, 1 %": np.where(hit.any(axis=1), hit.argmax(axis=1), looks)}
    tables = (
        trace.candidate_errors,
        trace.candidate_requests,
        trace.stable_errors,
        trace.stable_requests,
    )
    fresh = [np.diff(each.sum(axis=-1), axis=1, prepend=0.0) for each in tables]
    for name, rule in RULES.items():
        ends = [rule(Looks(*(each[run] for each in fresh))) for run in range(runs)]
        falls[name] = np.array([looks if end is None else end for end in ends])
    return falls


def _show_speed(console: Console, rng: Rng) -> None:
    """The best of several tries: recording one request, and a verdict over 100 stages."""
    seconds = rng.lognormal(-4.0, 0.6, 20_000).tolist()
    summary = StageSummary("r", 0, 500)

    def record() -> None:
        for each in seconds:
            summary.record(Arm.CANDIDATE, None, each, 1234)

    timeline, stages = Timeline(), []
    for number in range(100):
        # 100 different shares: the worst case, since stages of one share are pooled.
        stage = LiveStage(timeline, number, 0.01 + number * 0.005)
        stage.add(*_tick_arms(rng, 1000, stage.total.candidate_bp / 10_000, 0.01, True))
        stages.append(stage.total)
    mine = rng.random(1000) < 0.2
    outcomes = Outcomes(mine, np.full(1000, 0.2), (rng.random(1000) < 0.7).astype(float))
    evidence = Evidence(stages, timeline, outcomes)
    guards: list[Guardrail] = [ErrorRate(), Latency(), Predictions(), Quality()]
    console.print(
        f"recording: {_best(record) / len(seconds) * 1e6:.2f} µs a request; a verdict over 100"
        f" stages (error rate, p50, p95, p99, predictions, quality of 1,000 outcomes):"
        f" {_best(lambda: judge(evidence, guards, Confidence(), 5000)) * 1e3:.1f} ms"
    )


def _best(work: Callable[[], object]) -> float:
    return min(timeit.repeat(work, number=1, repeat=15))


if __name__ == "__main__":
    raise SystemExit(main())
