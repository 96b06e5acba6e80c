"""How far two histograms lie apart, and how far they would by chance.

The limits grow with small samples: below a thousand live rows nothing is said at all, nor beside a
training sample of fewer than three hundred.
"""

import math
from typing import Any

import numpy as np

__all__ = [
    "ENOUGH",
    "TRAINED",
    "Gap",
    "alike",
    "benjamini_hochberg",
    "gap",
    "merged",
    "share_gap",
    "tail",
]

#: Rows below which a difference of distributions is no finding.
ENOUGH = 1000
#: And of the training sample: from there on (bins - 1) (1/n + 1/m) is what noise comes to, below
#: that the bins that happen to be empty outweigh it.
TRAINED = 300
_FLOOR = 0.10
_TIMES = 2.5
_MOST_BINS = 32


class Gap:
    """The population stability index of two histograms, beside its noise."""

    __slots__ = ("bins", "live", "noise", "psi", "train")

    def __init__(self, psi: float, bins: int, live: float, train: float) -> None:
        self.psi, self.bins, self.live, self.train = psi, bins, live, train
        #: What no change at all comes to, on average.
        self.noise = (bins - 1) * (1 / max(live, 1) + 1 / max(train, 1))

    @property
    def comparable(self) -> bool:
        """True on enough rows of both sides."""
        return self.live >= ENOUGH and self.train >= TRAINED

    @property
    def limit(self) -> float:
        """Above it the two differ."""
        return max(_FLOOR, _TIMES * self.noise)

    @property
    def apart(self) -> bool:
        """True when they differ by more than chance, on enough rows."""
        return self.comparable and self.psi >= self.limit

    @property
    def chance(self) -> float:
        """How probable so large an index is when nothing changed."""
        if self.bins < 2:
            return 1.0
        scale = 1 / max(self.live, 1) + 1 / max(self.train, 1)
        return tail(self.psi / scale, self.bins - 1)


def gap(live: Any, train: Any) -> Gap:
    """Between counts over the same bins."""
    one, other = np.asarray(live, dtype=np.float64), np.asarray(train, dtype=np.float64)
    n, m, bins = float(one.sum()), float(other.sum()), len(one)
    if bins < 2 or not n or not m:
        return Gap(0.0, max(bins, 1), n, m)
    p, q = (one + 0.5) / (n + 0.5 * bins), (other + 0.5) / (m + 0.5 * bins)
    return Gap(float(((p - q) * np.log(p / q)).sum()), bins, n, m)


def merged(train: Any, rows: float) -> Any:
    """For each bin the place of its group: groups are about as heavy as ``rows`` can carry."""
    counts = np.asarray(train, dtype=np.float64)
    total = counts.sum()
    groups = int(min(max(rows / 40, 8), _MOST_BINS))
    if not total or len(counts) <= 2:
        return np.arange(len(counts))
    middle = (np.cumsum(counts) - counts / 2) / total
    place = np.minimum((middle * groups).astype(np.int64), groups - 1)
    # What lies outside of training's range stays for itself.
    place[0], place[-1] = -1, groups
    return np.unique(place, return_inverse=True)[1].reshape(-1)


def alike(found: Gap, before: Gap) -> bool:
    """True when a difference is gone: down to its noise, or to a twentieth of what it was."""
    enough = max(2.0 * found.noise, min(0.05 * before.psi, _FLOOR))
    return found.psi <= enough and found.psi < before.psi / 4


def share_gap(part: float, whole: float, usual: float, of: float) -> float:
    """How many standard errors a share lies above its usual one (counted on ``of`` rows)."""
    if not whole:
        return 0.0
    share = part / whole
    both = (part + usual * of) / (whole + of)
    spread = math.sqrt(max(both * (1 - both), 1e-9) * (1 / whole + 1 / max(of, 1)))
    return (share - usual) / spread


def tail(value: float, degrees: int) -> float:
    """The upper tail of χ², by Wilson and Hilferty."""
    if value <= 0 or degrees < 1:
        return 1.0
    part = 2 / (9 * degrees)
    z = ((value / degrees) ** (1 / 3) - (1 - part)) / math.sqrt(part)
    return 0.5 * math.erfc(z / math.sqrt(2))


def benjamini_hochberg(chances: dict[str, float], level: float = 0.01) -> set[str]:
    """The names that stay significant at a false discovery rate of ``level``."""
    ordered = sorted(chances, key=lambda each: chances[each])
    last = 0
    for place, name in enumerate(ordered, start=1):
        if chances[name] <= level * place / len(ordered):
            last = place
    return set(ordered[:last])
