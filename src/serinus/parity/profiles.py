"""Counts of training's values, in the additive form in which live values are counted.

Sums of two profiles with the same edges are the profile of both. Nothing here holds a row.
"""

import math
from typing import Any

import msgspec
import numpy as np

from serinus.parity.canonical import decode

__all__ = [
    "BINS",
    "GAMMA",
    "FieldProfile",
    "Joint",
    "Profile",
    "ScoreProfile",
    "bin_counts",
    "log_buckets",
    "quantile_edges",
    "read_profile_bytes",
]

#: Bins between training's quantiles; one more at each end for what lies outside.
BINS = 64
#: Ratio of two neighbouring edges of the logarithmic histogram: quantiles to 1 %.
GAMMA = 1.02
_LOG_GAMMA = math.log(GAMMA)
_SMALLEST = 1e-12


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a profile."""


class FieldProfile(_Part, frozen=True):
    """Counts of one field."""

    n: int
    null: int = 0
    nan: int = 0
    infinite: int = 0
    negative: int = 0
    integral: int = 0
    #: Inner edges and, one more than they are, the counts between and outside of them.
    edges: list[float] = []
    counts: list[int] = []
    #: Bucket b → count of |x| in (GAMMA^(b-1), GAMMA^b]; ``n`` before it: of negative numbers.
    log: dict[str, int] = {}
    zero: int = 0
    #: Text → count, for at most a thousand; of more than that, the 64 most frequent.
    words: dict[str, int] = {}
    #: Rows whose text is in none of ``words``.
    other: int = 0
    empty: int = 0
    padded: int = 0
    non_ascii: int = 0
    #: Length of text in characters: bucket b counts lengths in [2^(b-1), 2^b).
    lengths: dict[str, int] = {}
    hours: list[int] = []
    weekdays: list[int] = []
    months: list[int] = []
    true: int = 0


class ScoreProfile(_Part, frozen=True):
    """Counts of what the model answered."""

    n: int
    nan: int = 0
    edges: list[float] = []
    counts: list[int] = []
    decisions: dict[str, int] = {}


class Joint(_Part, frozen=True):
    """How one number follows from the others: a ridge regression on standardised values."""

    on: list[str]
    weights: list[float]
    mean: float
    scale: float
    #: Standard deviation of the residuals, in units of ``scale``.
    residual: float


class Profile(_Part, frozen=True):
    """All counts of a sample."""

    rows: int
    fields: dict[str, FieldProfile] = {}
    score: ScoreProfile | None = None
    joint: dict[str, Joint] = {}
    #: Means and scales that ``joint`` standardises with.
    means: dict[str, float] = {}
    scales: dict[str, float] = {}


def read_profile_bytes(content: bytes) -> Profile:
    """The profile in the bytes of ``profile.json``; raises ContractBroken."""
    return decode(content, Profile, "profile.json")


def quantile_edges(ordered: Any, bins: int = BINS) -> Any:
    """Inner edges for finite numbers in ascending order: at most ``bins`` + 1, without repeats."""
    if not len(ordered):
        return np.empty(0)
    at = np.round(np.linspace(0, len(ordered) - 1, bins + 1)).astype(np.int64)
    return np.unique(ordered[at])


def bin_counts(ordered: Any, edges: Any) -> list[int]:
    """Counts below the first edge, in [edge, next edge) …, and from the last edge up."""
    cuts = np.searchsorted(ordered, edges, side="left")
    return [int(each) for each in np.diff(np.concatenate(([0], cuts, [len(ordered)])))]


def log_buckets(finite: Any) -> dict[str, int]:
    """The sparse logarithmic histogram of numbers other than zero."""
    found: dict[str, int] = {}
    for sign, part in (("", finite[finite > _SMALLEST]), ("n", -finite[finite < -_SMALLEST])):
        if len(part):
            buckets = np.ceil(np.log(part) / _LOG_GAMMA).astype(np.int64)
            first = int(buckets.min())
            counts = np.bincount(buckets - first)
            found |= {f"{sign}{first + int(at)}": int(counts[at]) for at in np.nonzero(counts)[0]}
    return found
