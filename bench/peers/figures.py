"""Medians of the rounds, and ratios within them. Pure: reads the results file's own form.

A ratio is taken in each round between neighbours in time, and only then is its median.
"""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

__all__ = ["Section", "connections_of", "middle", "noise", "peers_of", "ratio", "ratios", "spoiled"]

#: What the results file has of one model.
Section = dict[str, Any]
_CLOSED = 0.0


def _cells(section: Section, peer: str, connections: int, share: float) -> list[dict[str, Any]]:
    return [
        cell
        for cell in section["cells"]
        if cell["peer"] == peer and cell["connections"] == connections and cell["share"] == share
    ]


def middle(
    section: Section, peer: str, connections: int, name: str = "rps", share: float = _CLOSED
) -> float | None:
    """The median round; None where it was not measured, or where it answered nothing."""
    found = [cell[name] for cell in _cells(section, peer, connections, share) if cell["right"]]
    return median(found) if found else None


def ratios(
    section: Section,
    own: str,
    peers: Sequence[str],
    connections: int,
    name: str = "rps",
) -> list[float]:
    """`own` against the best of `peers` in each round where both were measured.

    The best has the most requests per second, or the least of anything else.
    """
    best = max if name == "rps" else min
    found = []
    for number in sorted({cell["round"] for cell in section["cells"] if not cell["share"]}):
        values = {
            cell["peer"]: cell[name]
            for cell in section["cells"]
            if cell["round"] == number
            and not cell["share"]
            and cell["connections"] == connections
            and cell["right"]
        }
        others = [values[peer] for peer in peers if peer in values]
        if own in values and others:
            found.append(values[own] / best(others))
    return found


def ratio(
    section: Section, own: str, peers: Sequence[str], connections: int, name: str = "rps"
) -> float | None:
    """The median of `ratios`, None where there are none."""
    found = ratios(section, own, peers, connections, name)
    return median(found) if found else None


def peers_of(section: Section) -> list[str]:
    """Who was measured, by throughput at the most connections, best first."""
    loads = connections_of(section)
    names = dict.fromkeys(cell["peer"] for cell in section["cells"])
    return sorted(names, key=lambda name: -(middle(section, name, loads[-1]) or 0.0))


def connections_of(section: Section) -> list[int]:
    """Numbers of connections in the closed loop, ascending."""
    return sorted({cell["connections"] for cell in section["cells"] if not cell["share"]})


def spoiled(section: Section, peer: str) -> int:
    """Wrong answers, errors and resets of all its closed-loop cells."""
    return sum(
        cell["wrong"] + sum(cell["errors"].values())
        for cell in section["cells"]
        if cell["peer"] == peer and not cell["share"]
    )


def noise(cells: Iterable[dict[str, Any]]) -> tuple[float, float, float]:
    """Least, median and most that the fixed loop of Python took, in ms. Zeros for no cells."""
    found = sorted(value for cell in cells for value in cell["noise_ms"])
    return (found[0], median(found), found[-1]) if found else (0.0, 0.0, 0.0)
