"""Simulated rollouts: counts that arms would have seen, many rollouts at once, seeded."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serinus.evidence.eprocess import Events, Floats
from serinus.evidence.histogram import GROWTH, duration_bucket
from serinus.evidence.summary import ArmSummary, StageSummary
from serinus.evidence.windows import Timeline

Rng = np.random.Generator

RAMP = (0.01, 0.05, 0.25, 0.5)
#: Rollouts simulated at once, for memory.
_CHUNK = 500


@dataclass(frozen=True)
class Size:
    """How many rollouts of each kind."""

    cheap: int
    detection: int
    latency: int
    ramps: int
    queues: int
    gates: int


@dataclass(frozen=True)
class Trace:
    """Cumulative counts; axes are (rollout, look, stage)."""

    candidate_errors: Floats
    stable_errors: Floats
    candidate_requests: Floats
    stable_requests: Floats
    share: Floats

    def events(self) -> Events:
        """What the conditional test is given at each look."""
        return Events(self.candidate_errors, self.candidate_errors + self.stable_errors, self.share)

    def exposed(self) -> Floats:
        """Requests on the candidate by each look."""
        result: Floats = self.candidate_requests.sum(axis=-1)
        return result


def error_trace(
    rng: Rng,
    runs: int,
    shares: Sequence[float],
    looks: Sequence[NDArray[np.int64]],
    base: Callable[[int, float], float],
    ratio: float = 1.0,
) -> Trace:
    """Errors of a ramp. ``looks``: per stage, requests between looks; ``base``: the common error
    rate by stage and by the part of the stage that is over; ``ratio``: the candidate's over it."""
    total = sum(len(each) for each in looks)
    tables = [np.zeros((runs, total, len(shares))) for _ in range(4)]
    look = 0
    for stage, (share, sizes) in enumerate(zip(shares, looks, strict=True)):
        for place, size in enumerate(sizes):
            rate = base(stage, place / len(sizes))
            mine = rng.binomial(size, share, runs)
            tables[0][:, look, stage] = rng.binomial(mine, min(rate * ratio, 1.0))
            tables[1][:, look, stage] = rng.binomial(size - mine, rate)
            tables[2][:, look, stage] = mine
            tables[3][:, look, stage] = size - mine
            look += 1
    errors, other_errors, requests, other_requests = (table.cumsum(axis=1) for table in tables)
    return Trace(errors, other_errors, requests, other_requests, np.array(shares))


def growing_looks(most: int, count: int = 120, first: int = 20) -> NDArray[np.int64]:
    """Requests between looks that lie ever further apart: a look is never more than 6 % late."""
    ends = np.unique(np.round(np.geomspace(first, most, count)).astype(np.int64))
    return np.diff(ends, prepend=0)


def first_crossing(logs: Floats, alpha: float, exposed: Floats) -> Floats:
    """Per rollout, what was exposed at the first look with evidence of 1/alpha; infinite: none."""
    hit = logs >= -np.log(alpha)
    first = hit.argmax(axis=1)
    at = exposed[np.arange(len(hit)), first]
    result: Floats = np.where(hit.any(axis=1), at, np.inf)
    return result


def latency_histogram(seconds: Floats) -> dict[int, int]:
    """As a gateway would have counted them."""
    if not len(seconds):
        return {}
    # `duration_bucket` for many at once; where a bucket begins is asked of the product itself.
    zero = duration_bucket(1.0)
    buckets = np.floor(np.log(seconds) / np.log(GROWTH)).astype(int) + zero
    found, counts = np.unique(buckets, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def latency_arms(
    rng: Rng, size: int, share: float, scale: float, slower: float, sigma: float = 0.6
) -> tuple[ArmSummary, ArmSummary]:
    """(stable, candidate) counters of ``size`` requests with log-normal times."""
    mine = int(rng.binomial(size, share))
    arms = []
    for count, factor in ((size - mine, scale), (mine, scale * slower)):
        times = 0.02 * factor * rng.lognormal(0.0, sigma, count)
        arms.append(ArmSummary(units=count, requests=count, latency=latency_histogram(times)))
    return arms[0], arms[1]


class LiveStage:
    """A stage whose counters grow, with the timeline that watches them."""

    def __init__(self, timeline: Timeline, number: int, share: float, control: float = 0.0) -> None:
        self.timeline = timeline
        self.total = StageSummary("r", number, round(share * 10_000), round(control * 10_000))

    def add(
        self, stable: ArmSummary, candidate: ArmSummary, control: ArmSummary | None = None
    ) -> None:
        """Take what one tick brought."""
        self.total = StageSummary(
            "r",
            self.total.stage,
            self.total.candidate_bp,
            self.total.control_bp,
            stable=self.total.stable.add(stable),
            candidate=self.total.candidate.add(candidate),
            control=self.total.control.add(control or ArmSummary()),
        )
        self.timeline.observe([self.total])


def chunks(runs: int) -> Iterator[int]:
    """That many rollouts in parts that fit into memory."""
    while runs > 0:
        yield min(runs, _CHUNK)
        runs -= _CHUNK
