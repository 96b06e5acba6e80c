"""Which check catches a planted bug: the scenarios, the walk, or the wait for convergence."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from tests.simulation.crash_points import crash_points, crashed, untroubled
from tests.simulation.history import replay, seeded, starts
from tests.simulation.liveness import converges
from tests.simulation.scenarios import SCENARIOS, serving

__all__ = ["caught_by"]

#: Enough for every planted bug that only random histories can find, with room.
_WALKED = 4_000
_CONVERGED = 200
#: Where bugs were found that take long to find: looked at first. All the rest follows anyway.
_TELLING_SEEDS = (333, 513, 925, 2497, 3628)
_TELLING_SCENARIO = "blue_green"


def caught_by(*, thorough: bool = False) -> dict[str, str]:
    """What the checks say of the controller as it is now, by check; empty when it is sound.

    The first one that objects ends it, unless ``thorough``.
    """
    found: dict[str, str] = {}
    for name, complaints in (
        ("a scenario without a crash", _plain()),
        ("the walk", _walk((*_TELLING_SEEDS, *range(_TELLING_SEEDS[0])))),
        ("a crash point", _crashes([_TELLING_SCENARIO])),
        ("the walk", _walk(range(_WALKED))),
        ("the wait for convergence", _convergence()),
        ("a crash point", _crashes(SCENARIOS)),
    ):
        complaint = next(complaints, None)
        if complaint is not None:
            found.setdefault(name, complaint)
            if not thorough:
                break
    return found


@cache
def _expected() -> dict[str, tuple[dict[str, Any], int]]:
    start = serving()
    return {name: untroubled(scenario, start) for name, scenario in SCENARIOS.items()}


@cache
def prepare() -> None:
    """Everything that must come from a sound controller."""
    starts()
    _expected()


def _plain() -> Iterator[str]:
    start = starts()["serving"]
    for name, scenario in SCENARIOS.items():
        try:
            picture, _ = untroubled(scenario, start)
        except Exception as error:  # noqa: BLE001 - a planted bug may fail in any way
            yield f"{name}: {_told(error)}"
        else:
            if picture != _expected()[name][0]:
                yield f"{name}: it ends in another way"


def _crashes(names: Iterable[str]) -> Iterator[str]:
    start = starts()["serving"]
    for name in names:
        scenario = SCENARIOS[name]
        expected, calls = _expected()[name]
        for point in crash_points(calls):
            try:
                crashed(scenario, start, point, expected)
            except Exception as error:  # noqa: BLE001 - see above
                yield f"{name}, {point}: {_told(error)}"


def _walk(seeds: Iterable[int]) -> Iterator[str]:
    for seed in seeds:
        try:
            replay(seeded(seed))
        except Exception as error:  # noqa: BLE001 - see above
            yield f"seed {seed}: {_told(error)}"


def _convergence() -> Iterator[str]:
    for seed in range(_CONVERGED):
        try:
            converges(seeded(seed))
        except Exception as error:  # noqa: BLE001 - see above
            yield f"seed {seed}: {_told(error)}"


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:100]}"
