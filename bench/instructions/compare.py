"""Counts of instructions beside those that were recorded. Pure: what has grown, and by how much."""

import re
from dataclasses import dataclass

__all__ = ["TOLERANCE", "Verdict", "compared", "per_operation", "total"]

#: Share by which a count may grow or fall before it is worth a word. Two runs of one program
#: differ by less than one percent.
TOLERANCE = 0.05
_TOTAL = re.compile(r"^totals: (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One path. Without a record there is nothing to compare, without a count it was not run."""

    name: str
    recorded: int | None
    counted: int | None
    tolerance: float = TOLERANCE

    @property
    def change(self) -> float:
        """As a share of what was recorded; 0.0 where one of the two is missing."""
        if not self.recorded or self.counted is None:
            return 0.0
        return self.counted / self.recorded - 1

    @property
    def said(self) -> str:
        """One word; `worse`, `new` and `missing` fail."""
        if self.counted is None:
            return "missing"
        if self.recorded is None:
            return "new"
        if self.counted > self.recorded * (1 + self.tolerance):
            return "worse"
        return "better" if self.counted < self.recorded * (1 - self.tolerance) else "same"

    @property
    def fails(self) -> bool:
        """Whether somebody must look: at the code, or at what is recorded."""
        return self.said in ("worse", "new", "missing")


def compared(
    recorded: dict[str, int], counted: dict[str, int], tolerance: float = TOLERANCE
) -> list[Verdict]:
    """Every path that either has, in the order of what was counted."""
    names = [*counted, *(name for name in recorded if name not in counted)]
    return [Verdict(name, recorded.get(name), counted.get(name), tolerance) for name in names]


def per_operation(names: list[tuple[str, int]], parts: list[int]) -> dict[str, int]:
    """Instructions per operation.

    ``names`` are paths with their N; ``parts`` what was counted up to each mark, and after the
    last: a path has four, of which the second holds N operations and the fourth 2N. Raises
    ValueError when the parts are not as many as that.
    """
    if len(parts) != 4 * len(names) + 1:
        raise ValueError(f"{len(parts)} parts were counted for {len(names)} paths")
    return {
        name: round((parts[4 * at + 3] - parts[4 * at + 1]) / n)
        for at, (name, n) in enumerate(names)
    }


def total(part: str) -> int:
    """The total of one part that callgrind wrote; raises ValueError when it has none."""
    found = _TOTAL.search(part)
    if found is None:
        raise ValueError("a part without a total: did the counter end early?")
    return int(found[1])
