"""Log buckets for durations and bins for scores: plain dicts of counts. Pure; reads no clock.

A bucket is 2 % wide, so a quantile read from it is at most 2 % too high. Buckets are the same
everywhere and for ever: counts from any gateway, any incarnation, any stage may be added.
"""

import math
from typing import TypeVar

__all__ = [
    "GROWTH",
    "Histogram",
    "add_counts",
    "buckets_within",
    "count_above",
    "duration_bucket",
    "quantile_bucket",
    "score_bin",
    "subtract_counts",
    "upper_edge",
]

K = TypeVar("K")

#: Bucket → how many. Sparse: a bucket that is not there is empty.
Histogram = dict[int, int]

#: Ratio of the upper to the lower edge of a bucket.
GROWTH = 1.02
_SCALE = 1.0 / math.log(GROWTH)
#: Puts one microsecond, the shortest duration told apart, just above bucket 0.
_OFFSET = 698.0
_SHORTEST = 1e-6

#: Scores are told apart by 10 % of their size, and not at all below this size.
_SCORE_STEP = math.log(1.1)
_SMALLEST_SCORE = 1e-3


def duration_bucket(seconds: float) -> int:
    """The bucket of a duration; below one microsecond all are the same."""
    return int(math.log(seconds if seconds > _SHORTEST else _SHORTEST) * _SCALE + _OFFSET)


def upper_edge(bucket: int) -> float:
    """Seconds below which every duration of this bucket lies."""
    return math.exp((bucket + 1 - _OFFSET) / _SCALE)


def buckets_within(ratio: float, *, up: bool) -> int:
    """How many buckets make up ``ratio`` (at least 1), rounded up or down."""
    steps = math.log(ratio) * _SCALE
    return math.ceil(steps - 1e-9) if up else math.floor(steps + 1e-9)


def score_bin(score: float) -> str:
    """The fine bin of a numeric prediction, as a label; ``int()`` of it gives the order."""
    if math.isnan(score):
        return "nan"
    size = abs(score)
    if size < _SMALLEST_SCORE:
        return "0"
    step = 1 + int(math.log(min(size, 1e300) / _SMALLEST_SCORE) / _SCORE_STEP)
    return str(step if score > 0 else -step)


def add_counts(left: dict[K, int], right: dict[K, int]) -> dict[K, int]:
    """Sum of two sparse counters, as a new dict."""
    result = dict(left)
    for key, count in right.items():
        result[key] = result.get(key, 0) + count
    return result


def subtract_counts(whole: dict[K, int], part: dict[K, int]) -> dict[K, int]:
    """What ``whole`` has beyond ``part``; a cell that would be negative is empty."""
    return {
        key: count - part.get(key, 0) for key, count in whole.items() if count > part.get(key, 0)
    }


def quantile_bucket(histogram: Histogram, share: float) -> int | None:
    """The first bucket with at least ``share`` of all counts at or below it; None when empty."""
    total = sum(histogram.values())
    below = 0
    for bucket in sorted(histogram):
        below += histogram[bucket]
        if below >= share * total:
            return bucket
    return None


def count_above(histogram: Histogram, bucket: int) -> int:
    """Counts in buckets strictly above ``bucket``."""
    return sum(count for each, count in histogram.items() if each > bucket)
