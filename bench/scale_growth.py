"""How a cost grows with a number: slopes on log-log axes, and whether any is steeper than linear.

Pure. A slope of 0 is no growth, 1 is growth in proportion.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["IDLE_PERCENT", "LINEAR", "Growth", "growths", "idle_excess", "slope"]

#: What counts as linear: caches and the machine's noise make a straight line look a little bent.
LINEAR = 1.15
#: Percent of one core that so many idle endpoints or connections may cost beyond one.
IDLE_PERCENT = 0.5

Point = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Growth:
    """One cost by one number."""

    section: str
    cost: str
    #: Of the line through all points, and of the one through the last two.
    overall: float
    at_the_end: float

    @property
    def linear(self) -> bool:
        """Neither is steeper than linear."""
        return max(self.overall, self.at_the_end) <= LINEAR


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The least-squares slope of log(cost) over log(number); 0.0 for a cost that is nothing.

    Raises ValueError for fewer than two numbers.
    """
    if len({number for number, _ in points}) < 2:
        raise ValueError("a slope needs two numbers")
    if any(cost <= 0 for _, cost in points):
        return 0.0 if points[-1][1] <= 0 else math.inf
    logs = [(math.log(number), math.log(cost)) for number, cost in points]
    x, y = (sum(each) / len(logs) for each in zip(*logs, strict=True))
    across: float = sum((a - x) ** 2 for a, _ in logs)
    along: float = sum((a - x) * (b - y) for a, b in logs)
    return along / across


def growths(sections: Mapping[str, Sequence[Point]], costs: Mapping[str, str]) -> list[Growth]:
    """Every cost of every section; ``costs`` are the fields that are costs, with their names."""
    found = []
    for section, points in sections.items():
        for cost in costs:
            some = [(float(each["n"]), float(each[cost])) for each in points if cost in each]
            if len(some) > 1:
                found.append(Growth(section, cost, slope(some), slope(some[-2:])))
    return found


def idle_excess(sections: Mapping[str, Sequence[Point]]) -> list[dict[str, Any]]:
    """What the most idle endpoints, versions or connections cost beyond the fewest."""
    found = []
    for name, points in sections.items():
        if "idle_percent" not in points[0]:
            continue
        more = points[-1]["idle_percent"] - points[0]["idle_percent"]
        more += points[-1].get("replicas_idle_percent", 0.0)
        entry = {"section": name, "n": points[-1]["n"], "percent_more": round(more, 3)}
        found.append(entry | {"allowed": IDLE_PERCENT, "met": more <= IDLE_PERCENT})
    return found
