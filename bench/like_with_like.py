"""What the latency test says behind queue-batching replicas, with and without a control arm.

A pool with 1 % of the traffic meets other queues and other batches than one with 99 %. Simulated
(`queueing`): identical versions, where every conviction is false, and a candidate that is 1.5 times
slower; at one weight each, and through a whole ramp that moves on when it is SAFE. Each pool has
its own, equally many replicas, as in the product.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.queueing import Answers, Machine, serve
from bench.traces import LiveStage, Rng, latency_histogram
from serinus.evidence.guardrails import Confidence, Evidence, Latency
from serinus.evidence.latency import latency_case
from serinus.evidence.summary import ArmSummary, StageSummary
from serinus.evidence.verdict import Verdict, judge
from serinus.evidence.windows import Timeline

__all__ = ["SHARES", "SIGNALS", "Cell", "Outcome", "Ramp", "ramps", "study"]

LOADS = (0.3, 0.6, 0.9)
SHARES = (0.01, 0.05, 0.25, 0.5)
#: What is compared: the gateway's view of a batch, the model's time for it, and that per row.
SIGNALS = ("gateway", "model", "row")
_REPLICAS = 2
_SLOWER = 1.5
_LOOKS = 6
#: The load at which time per row is looked at too.
_SHOWN = 0.6
#: Requests in a run, by share: some hundreds of the candidate's at least.
_REQUESTS = {0.01: 50_000, 0.05: 30_000, 0.25: 16_000, 0.5: 12_000}
#: One guardrail of the default three, so a third of 1 %.
_CONFIDENCE = Confidence(0.01 / 3)


#: What replicas are like, and at which loads and shares that is looked at.
MACHINES = {
    "plain": (Machine(), LOADS, SHARES),
    # A collection, a page fault: one batch in a hundred takes 200 ms more, whatever its size.
    "stalls": (Machine(stalls=0.01), (0.6,), SHARES),
    # A batch takes as long as a row: all the cost is on the way to the model.
    "flat": (Machine(per_row_s=0.0001), (0.3,), SHARES),
    # Caches go cold where requests are rare: at the small shares of a quiet service.
    "cold": (Machine(cold=0.5), (0.02, 0.1), SHARES[:2]),
}


@dataclass(frozen=True)
class Cell:
    """One setting."""

    machine: str
    load: float
    share: float
    control: bool


@dataclass(frozen=True)
class Outcome:
    """What became of the runs of one setting, by one signal."""

    cell: Cell
    signal: str
    runs: int
    #: Identical versions, called REGRESSED.
    false_alarms: int
    #: The slower one, called REGRESSED; and at how many of its answers, in the median.
    detected: int
    answers_to_detect: float
    #: The slower one, called SAFE for all traffic.
    passed: int


def study(rng: Rng, runs: int) -> Iterator[Outcome]:
    """Every setting by every signal."""
    for name, (machine, loads, shares) in MACHINES.items():
        for load in loads:
            for share in shares:
                yield from _settings(rng, runs, name, machine, load, share)


def _settings(
    rng: Rng, runs: int, name: str, machine: Machine, load: float, share: float
) -> list[Outcome]:
    rate = load * machine.capacity() * _REPLICAS
    seconds = _REQUESTS[share] / rate

    def arm(part: float, version: Machine) -> list[Answers]:
        return serve(rng, version, rate * part, seconds, _REPLICAS, runs)

    result = []
    for control in (False, True):
        rest = 1.0 - share * (1 + control)
        stable = arm(rest, machine) if rest > 0 else [_NONE] * runs
        other = arm(share, machine) if control else [_NONE] * runs
        cell = Cell(name, load, share, control)
        same = _judged(cell, seconds, stable, other, arm(share, machine))
        slow = _judged(cell, seconds, stable, other, arm(share, machine.slower(_SLOWER)))
        for signal in slow:
            found = [each.fell for each in slow[signal] if each.fell is not None]
            result.append(
                Outcome(
                    cell,
                    signal,
                    runs,
                    false_alarms=sum(each.fell is not None for each in same[signal]),
                    detected=len(found),
                    answers_to_detect=float(np.median(found)) if found else float("inf"),
                    passed=sum(each.passed for each in slow[signal]),
                )
            )
    return result


_NONE = Answers(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.bool_))


@dataclass(frozen=True)
class _Verdict:
    #: The candidate's answers at the look at which it was convicted.
    fell: int | None
    passed: bool


def _judged(
    cell: Cell,
    seconds: float,
    stable: list[Answers],
    control: list[Answers],
    candidate: list[Answers],
) -> dict[str, list[_Verdict]]:
    arms = list(zip(stable, control, candidate, strict=True))
    # Time per row is of no use, as the plain replicas show: the others need not show it again.
    signals = SIGNALS if cell.machine == "plain" and cell.load == _SHOWN else SIGNALS[:2]
    return {signal: [_verdict(cell, signal, seconds, *run) for run in arms] for signal in signals}


def _verdict(
    cell: Cell, signal: str, seconds: float, stable: Answers, control: Answers, candidate: Answers
) -> _Verdict:
    """Looked at again and again, by the product's own judge."""
    timeline = Timeline()
    stage = LiveStage(timeline, 1, cell.share, cell.share if cell.control else 0.0)
    passed = False
    for look in range(_LOOKS):
        span = (seconds * look / _LOOKS, seconds * (look + 1) / _LOOKS)
        stage.add(*(_counted(each, signal, *span) for each in (stable, candidate, control)))
        case = latency_case(Evidence([stage.total], timeline), Latency())
        if case.log_regressed >= -math.log(_CONFIDENCE.false_rollback):
            return _Verdict(stage.total.candidate.requests, passed)
        passed |= case.has_data and case.log_safe(1.0) >= -math.log(_CONFIDENCE.false_promote)
    return _Verdict(None, passed)


def _counted(answers: Answers, signal: str, start: float, end: float) -> ArmSummary:
    inside = (answers.ended_s >= start) & (answers.ended_s < end)
    requests = int(answers.rows[inside].sum())
    if signal == "gateway":
        inside &= answers.timed
    times = {
        "gateway": answers.longest_s,
        "model": answers.model_s,
        "row": answers.model_s / np.maximum(answers.rows, 1),
    }[signal][inside]
    return ArmSummary(units=requests, requests=requests, latency=latency_histogram(times))


@dataclass(frozen=True)
class Ramp:
    """What became of whole rollouts that were held to latency alone."""

    load: float
    control: bool
    slower: float
    runs: int
    rolled_back: int
    promoted: int
    #: The candidate's answers until then, in the median.
    answers: float


def ramps(rng: Rng, runs: int) -> Iterator[Ramp]:
    """1-5-25-50 % and on to all traffic as soon as it is SAFE, for an equal and a slower one."""
    for load in LOADS:
        for control in (False, True):
            for slower in (1.0, _SLOWER):
                yield _ramp(rng, runs, load, slower, control=control)


def _ramp(rng: Rng, runs: int, load: float, slower: float, *, control: bool) -> Ramp:
    machine = Machine()
    rate = load * machine.capacity() * _REPLICAS
    stages = []
    for share in SHARES:
        seconds = _REQUESTS[share] / rate
        rest = 1.0 - share * (1 + control)

        def arm(part: float, version: Machine, seconds: float = seconds) -> list[Answers]:
            return serve(rng, version, rate * part, seconds, _REPLICAS, runs)

        stable = arm(rest, machine) if rest > 0 else [_NONE] * runs
        other = arm(share, machine) if control else [_NONE] * runs
        arms = zip(stable, other, arm(share, machine.slower(slower)), strict=True)
        stages.append((share, seconds, list(arms)))
    ends = [
        _rollout([(share, seconds, arms[run]) for share, seconds, arms in stages], control=control)
        for run in range(runs)
    ]
    return Ramp(
        load,
        control,
        slower,
        runs,
        rolled_back=sum(verdict is Verdict.REGRESSED for verdict, _ in ends),
        promoted=sum(verdict is Verdict.SAFE for verdict, _ in ends),
        answers=float(np.median([answers for _, answers in ends])),
    )


def _rollout(
    stages: list[tuple[float, float, tuple[Answers, Answers, Answers]]], *, control: bool
) -> tuple[Verdict, int]:
    """The last verdict of one rollout, and how many answers the candidate gave until then."""
    timeline, done = Timeline(), list[StageSummary]()
    verdict, answers = Verdict.UNDECIDED, 0
    for number, (share, seconds, arms) in enumerate(stages):
        stage = LiveStage(timeline, number, share, share if control else 0.0)
        after = round(SHARES[number + 1] * 10_000) if number + 1 < len(SHARES) else 10_000
        for look in range(_LOOKS):
            span = (seconds * look / _LOOKS, seconds * (look + 1) / _LOOKS)
            stable, other, candidate = (_counted(each, "gateway", *span) for each in arms)
            stage.add(stable, candidate, other)
            answers += candidate.requests
            evidence = Evidence([*done, stage.total], timeline)
            verdict = judge(evidence, [Latency()], _CONFIDENCE, after)[0].verdict
            if verdict in (Verdict.SAFE, Verdict.REGRESSED):
                break
        if verdict is not Verdict.SAFE:
            break
        done.append(stage.total)
    return verdict, answers
