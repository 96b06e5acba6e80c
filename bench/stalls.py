"""Slow answers that come in clusters, when nothing differs: replicas that queue, and that stall.

Of models that take no batches, where a queue or one answer that hangs makes all behind it late.
Timed by the gateway's own rule, one answer of a replica at a time, and answer by answer, for
contrast. Margins are the default ones.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.queueing import Answers, Machine, serve
from bench.rates import Rate
from bench.traces import LiveStage, Rng, latency_histogram
from serinus.evidence.eprocess import Floats
from serinus.evidence.guardrails import Evidence, Latency
from serinus.evidence.latency import latency_case
from serinus.evidence.summary import ArmSummary
from serinus.evidence.windows import Timeline
from serinus.gateway.timing import Timing

__all__ = ["stalls", "timed"]

Ints = NDArray[np.int64]

#: One request at a time, 9 ms each …
_QUEUES = Machine(max_batch=1)
#: … and one answer in 300 hangs for 0.4 s.
_STALLS = Machine(max_batch=1, stalls=1.0 / 300.0, stall_s=0.4)
_SECONDS, _LOOKS = 240.0, 12
_ALPHA = 0.05
_LIMITS = Latency()


@dataclass(frozen=True)
class _Case:
    """Two equal pools, of one replica each."""

    name: str
    machine: Machine
    #: Of the candidate and of what it is compared with, in parts of what a replica can carry.
    loads: tuple[float, float]
    share: float
    control: float
    gateways: int = 1


_CASES = (
    _Case("queues at 60 %, control arm", _QUEUES, (0.6, 0.6), 0.05, 0.05),
    _Case("stalls at 30 %, control arm", _STALLS, (0.3, 0.3), 0.05, 0.05),
    _Case("stalls at 60 %, control arm", _STALLS, (0.6, 0.6), 0.05, 0.05),
    _Case("stalls at 30 %, control arm, two gateways", _STALLS, (0.3, 0.3), 0.05, 0.05, 2),
    _Case("stalls at 30 %, both have 50 %", _STALLS, (0.3, 0.3), 0.5, 0.0),
    _Case("stalls at 60 %, 5 %, no control", _STALLS, (0.03, 0.57), 0.05, 0.0),
    # The queue remembers for longer than one answer takes: where exactness ends.
    _Case("queues at 90 %, control arm (no promise)", _QUEUES, (0.9, 0.9), 0.05, 0.05),
)


def stalls(rng: Rng, runs: int, only: str = "") -> Iterator[Rate]:
    """As it is counted, and as it must not be; of the cases with ``only`` in their names."""
    for case in (each for each in _CASES if only in each.name):
        candidate, other = (
            serve(rng, case.machine, load * case.machine.capacity(), _SECONDS, 1, runs)
            for load in case.loads
        )
        for every in (False, True):
            what = "every answer counted (wrong)" if every else "one answer at a time"
            hits = sum(
                _alarm(rng, case, *arms, every=every) for arms in zip(other, candidate, strict=True)
            )
            contrast = every or "no promise" in case.name
            yield Rate(f"latency: {case.name}, {what}", hits, runs, 1.0 if contrast else _ALPHA)


def timed(answers: Answers, gateways: Ints) -> NDArray[np.bool_]:
    """By the product's own rule; ``gateways`` says by which one each answer went."""
    rules = [Timing() for _ in range(int(gateways.max(initial=0)) + 1)]
    rows = zip(
        gateways.tolist(),
        (answers.ended_s - answers.longest_s).tolist(),
        answers.ended_s.tolist(),
        strict=True,
    )
    return np.array([rules[each].is_timed("r", *times) for each, *times in rows], dtype=bool)


def _alarm(rng: Rng, case: _Case, other: Answers, candidate: Answers, *, every: bool) -> bool:
    """Convicted at any look."""
    sides = []
    for answers in (other, candidate):
        gateways = rng.integers(case.gateways, size=len(answers.rows))
        kept = slice(None) if every else timed(answers, gateways)
        sides.append((answers.ended_s[kept], answers.longest_s[kept]))
    stage = LiveStage(Timeline(), 1, case.share, case.control)
    for look in range(_LOOKS):
        span = (_SECONDS * look / _LOOKS, _SECONDS * (look + 1) / _LOOKS)
        baseline, mine = (_counted(*side, *span) for side in sides)
        # With a control arm the bulk of stable is not compared, and so not simulated.
        arms = (ArmSummary(), mine, baseline) if case.control else (baseline, mine)
        stage.add(*arms)
        found = latency_case(Evidence([stage.total], stage.timeline), _LIMITS)
        if found.log_regressed >= -math.log(_ALPHA):
            return True
    return False


def _counted(ended: Floats, took: Floats, start: float, end: float) -> ArmSummary:
    inside = took[(ended >= start) & (ended < end)]
    return ArmSummary(units=len(inside), requests=len(inside), latency=latency_histogram(inside))
