"""Histograms whose sums are exact: between known edges, and over whole bucket numbers."""

from typing import Any

import msgspec
import numpy as np

from serinus.parity.profiles import GAMMA

__all__ = ["Bins", "Buckets", "between", "log_histograms", "over"]

_LOG_GAMMA = float(np.log(GAMMA))
#: Sizes outside of these count as zero and as the largest: a histogram's length is bounded.
_SMALLEST, _LARGEST = 1e-12, 1e18


class Buckets(msgspec.Struct):
    """A histogram over whole bucket numbers, dense between the first and last that has a count."""

    first: int = 0
    counts: Any = ()

    def __post_init__(self) -> None:
        self.counts = _whole(self.counts)

    def add(self, other: "Buckets") -> None:
        """Add the other's counts."""
        if not len(other.counts):
            return
        if not len(self.counts):
            self.first, self.counts = other.first, other.counts.copy()
            return
        first = min(self.first, other.first)
        end = max(self.first + len(self.counts), other.first + len(other.counts))
        if end - first == len(self.counts):
            merged = self.counts
        else:
            merged = np.zeros(end - first, dtype=np.int64)
            merged[self.first - first : self.first - first + len(self.counts)] = self.counts
        merged[other.first - first : other.first - first + len(other.counts)] += other.counts
        self.first, self.counts = first, merged

    def named(self, sign: str = "") -> dict[str, int]:
        """Bucket → count, as profiles write them."""
        return {
            f"{sign}{self.first + int(at)}": int(self.counts[at])
            for at in np.nonzero(self.counts)[0]
        }


class Bins(msgspec.Struct):
    """Counts between edges that the shape knows; one more than there are edges."""

    counts: Any = ()

    def __post_init__(self) -> None:
        self.counts = _whole(self.counts)

    def add(self, other: "Bins") -> None:
        """Add the other's counts; raises ValueError when they are of other edges."""
        if not len(self.counts):
            self.counts = other.counts.copy()
        elif len(other.counts):
            if len(self.counts) != len(other.counts):
                raise ValueError("counts between different edges can't be added")
            self.counts += other.counts


def _whole(counts: Any) -> Any:
    return counts if isinstance(counts, np.ndarray) else np.array(counts, dtype=np.int64)


def between(edges: Any, values: Any) -> Bins:
    """How many values lie below the first edge, in [edge, next edge) …, and from the last one up.

    An edge belongs to the bin above it.
    """
    return Bins(np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1))


def over(numbers: Any) -> Buckets:
    """How many of these bucket numbers there are of each."""
    if not len(numbers):
        return Buckets()
    first = int(numbers.min())
    return Buckets(first, np.bincount(numbers - first))


def log_histograms(finite: Any) -> tuple[Buckets, Buckets, int]:
    """Logarithmic histograms of positive and of negative numbers, and how many are zero.

    Bucket b counts sizes in (GAMMA^(b-1), GAMMA^b].
    """
    if not len(finite) or finite.min() > _SMALLEST:
        return _logs(finite), Buckets(), 0
    positive, negative = finite[finite > _SMALLEST], -finite[finite < -_SMALLEST]
    return _logs(positive), _logs(negative), len(finite) - len(positive) - len(negative)


def _logs(sizes: Any) -> Buckets:
    return over(np.ceil(np.log(np.minimum(sizes, _LARGEST)) / _LOG_GAMMA).astype(np.int64))
