"""Every port call of a scenario, once with a crash before it and once with a crash after it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.simulation.scenarios import Scenario
from tests.simulation.world import World

__all__ = ["CrashPoint", "Different", "crash_points", "crashed", "untroubled"]


class Different(AssertionError):
    """A crash changed how it ends."""


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """Where the controller dies, and how many turns its successor takes before gateways find it."""

    number: int
    side: str
    apart: int = 0


def untroubled(scenario: Scenario, start: World) -> tuple[dict[str, Any], int]:
    """How it ends without a crash, and how many port calls that takes."""
    world = start.copy()
    world.replace_controller()
    scenario(world)
    repeated = len(world.posted) - len(set(world.posted))
    if repeated:
        raise Different(f"{repeated} messages came twice though nothing crashed")
    return world.picture(), world.port_calls


def crash_points(calls: int) -> Iterator[CrashPoint]:
    """All of them."""
    for number in range(1, calls + 1):
        yield CrashPoint(number, "before")
        yield CrashPoint(number, "after")
        yield CrashPoint(number, "after", apart=2)


def crashed(scenario: Scenario, start: World, point: CrashPoint, expected: dict[str, Any]) -> None:
    """Run it with that crash; raises Different or Violation."""
    world = start.copy()
    world.crash_at = (point.number, point.side)
    world.replace_controller()
    world.apart = point.apart
    scenario(world)
    found = world.picture()
    wrong = {key: (found[key], expected[key]) for key in expected if found[key] != expected[key]}
    if wrong:
        raise Different(f"crash {point}: {wrong}")
