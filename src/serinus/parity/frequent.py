"""The most frequent of many values in bounded memory (Space-Saving). Approximate, with its bound.

A value's true count lies between ``count - error`` and ``count``; ``error`` is at most ``n`` /
`CAPACITY`. Nothing is lost while there are at most `CAPACITY` different values.
"""

from collections.abc import Mapping

import msgspec

__all__ = ["CAPACITY", "Frequent"]

#: Values that are kept.
CAPACITY = 64


class Frequent(msgspec.Struct):
    """Counts of the values seen most often."""

    #: How many values were counted, kept or not.
    n: int = 0
    #: Value → (count, error): seen at most ``count`` and at least ``count - error`` times.
    kept: dict[str, tuple[int, int]] = {}

    def count(self, values: Mapping[str, int]) -> None:
        """Count values with how often each came."""
        kept, new = self.kept, False
        for value, times in values.items():
            self.n += times
            known = kept.get(value)
            if known is None:
                new = True
            else:
                kept[value] = (known[0] + times, known[1])
        if new:
            # What a full list doesn't hold may have been seen as often as its last.
            least = self._least()
            for value, times in values.items():
                if value not in kept:
                    kept[value] = (least + times, least)
            self._cut()

    def add(self, other: "Frequent") -> None:
        """Count what the other has counted."""
        mine, theirs = self._least(), other._least()
        merged = {}
        for value in self.kept.keys() | other.kept.keys():
            count, error = self.kept.get(value, (mine, mine))
            more, doubt = other.kept.get(value, (theirs, theirs))
            merged[value] = (count + more, error + doubt)
        self.kept = merged
        self.n += other.n
        self._cut()

    def _cut(self) -> None:
        if len(self.kept) > CAPACITY:
            first = sorted(self.kept.items(), key=lambda each: (-each[1][0], each[0]))
            self.kept = dict(first[:CAPACITY])

    def _least(self) -> int:
        return min(c for c, _ in self.kept.values()) if len(self.kept) >= CAPACITY else 0
