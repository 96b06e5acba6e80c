"""The arithmetic of the generator: percentiles, intended send times, what one run measured.

Pure: no clock, no sockets. Times are seconds unless a name ends in _ms.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["LoadResult", "histogram", "intended_time", "percentile", "summarise"]

#: Buckets of the histogram grow by this factor: about 9 % apart, from one microsecond on.
_GROWTH = 2 ** (1 / 8)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Nearest rank of an ascending sequence: always a value that was really measured.

    Raises ValueError for an empty sequence or a percent outside 0 to 100.
    """
    if not ordered:
        raise ValueError("no percentile of nothing")
    if not 0 <= percent <= 100:
        raise ValueError(f"percent must lie in 0 to 100, not {percent}")
    # The product is rounded first: 99.9 % of 1000 is 999.0000000000001 in floats.
    rank = math.ceil(round(percent / 100 * len(ordered), 9))
    return ordered[max(rank, 1) - 1]


def intended_time(start: float, number: int, rate: float) -> float:
    """When request `number` (from 0) of an open loop at `rate` per second is due.

    Counted from the start, never from the request before: lateness can't add up and can't vanish.
    """
    return start + number / rate


def histogram(latencies: Sequence[float]) -> dict[str, int]:
    """Upper bound in ms of each non-empty logarithmic bucket → how many; keys are text for JSON."""
    counts: dict[int, int] = {}
    for latency in latencies:
        bucket = max(math.ceil(math.log(max(latency, 1e-6) * 1e6, _GROWTH)), 0)
        counts[bucket] = counts.get(bucket, 0) + 1
    return {f"{_GROWTH**bucket / 1000:.4g}": counts[bucket] for bucket in sorted(counts)}


@dataclass(slots=True)
class LoadResult:
    """What one run of the generator measured. Counts are of answers within the window."""

    connections: int
    #: Requests per second asked for; 0 in a closed loop.
    rate: float
    #: Length of the window, after the warm-up.
    seconds: float
    #: Whole, right answers with status 200.
    right: int = 0
    #: The same, with warm-up and drain.
    answers: int = 0
    #: Status 200 and another value than the request's own.
    wrong: int = 0
    #: "status 429", "reset", "refused", "malformed", "unanswered" → how many, whole run.
    errors: dict[str, int] = field(default_factory=dict)
    bytes_in: int = 0
    bytes_out: int = 0
    #: Right answers per second.
    rps: float = 0.0
    mean_ms: float = 0.0
    p50_ms: float = 0.0
    p90_ms: float = 0.0
    p99_ms: float = 0.0
    p999_ms: float = 0.0
    max_ms: float = 0.0
    #: Open loop: how late the generator itself woke up to send (median, p99).
    late_p50_ms: float = 0.0
    late_p99_ms: float = 0.0
    #: Share of one core that the generator used in the window: near 1 it was the bottleneck.
    generator_cpu: float = 0.0
    #: Answers of 429 and 503: how long callers waited for them (median, p99).
    refused_p50_ms: float = 0.0
    refused_p99_ms: float = 0.0
    #: One wrong body, to look at.
    wrong_example: str = ""
    histogram_ms: dict[str, int] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Everything that was not the right answer."""
        return self.wrong + sum(self.errors.values())


def summarise(
    result: LoadResult,
    latencies: Sequence[float],
    late: Sequence[float],
    refused: Sequence[float] = (),
) -> None:
    """Fill the figures of `result` from every latency and lateness of its window."""
    result.rps = result.right / result.seconds
    if latencies:
        ordered = sorted(latencies)
        result.mean_ms = sum(ordered) / len(ordered) * 1000
        result.p50_ms = percentile(ordered, 50) * 1000
        result.p90_ms = percentile(ordered, 90) * 1000
        result.p99_ms = percentile(ordered, 99) * 1000
        result.p999_ms = percentile(ordered, 99.9) * 1000
        result.max_ms = ordered[-1] * 1000
        result.histogram_ms = histogram(ordered)
    if late:
        ordered = sorted(late)
        result.late_p50_ms = percentile(ordered, 50) * 1000
        result.late_p99_ms = percentile(ordered, 99) * 1000
    if refused:
        ordered = sorted(refused)
        result.refused_p50_ms = percentile(ordered, 50) * 1000
        result.refused_p99_ms = percentile(ordered, 99) * 1000
