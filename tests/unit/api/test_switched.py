"""Units that changed sides are told from those that somebody asked for by name."""

from collections.abc import Iterable

import pytest

from serinus.api.switched import changed_sides
from serinus.parity.live import Record
from serinus.store.samples import Sampled
from serinus.traffic import unit_point


def sampled(some: Iterable[tuple[float, str, str]], violation: str = "") -> list[Sampled]:
    """(time, unit, side) of each."""
    return [
        Sampled("e", side, "i", "d", Record(at, f"r{at}", unit, violation=violation))
        for at, unit, side in some
    ]


def unit_of(record: Record) -> str:
    return record.caller


def assigned(salt: str, at: float, units: int = 200) -> Iterable[tuple[float, str, str]]:
    for each in range(units):
        point = unit_point(salt, f"u{each}".encode())
        yield at + each, f"u{each}", "two" if point < 0.3 else "one"


def test_another_salt_sends_units_both_ways() -> None:
    before, after = list(assigned("a", 0.0)), list(assigned("b", 1000.0))
    switched, units = changed_sides(sampled([*after, *before]), unit_of)
    assert units == 200
    moved = sum(one[2] != other[2] for one, other in zip(before, after, strict=True))
    assert switched == moved > 50


@pytest.mark.parametrize(
    "more",
    [
        [],
        # Testers ask for the candidate by its name, once at the end, or now and then.
        [(5000.0 + at, f"u{at}", "two") for at in range(200)],
        [(0.5 * at, f"u{at % 200}", ("one", "two")[at % 2]) for at in range(4001)],
    ],
)
def test_one_salt_keeps_them_where_they_are(more: list[tuple[float, str, str]]) -> None:
    rows = [*assigned("a", 0.0), *assigned("a", 1000.0), *more]
    assert changed_sides(sampled(rows), unit_of) == (0, 200)


def test_what_was_refused_or_names_no_unit_says_nothing() -> None:
    rows = [*assigned("a", 0.0), *assigned("b", 1000.0)]
    assert changed_sides(sampled(rows, "type"), unit_of) == (0, 0)
    assert changed_sides(sampled(rows), lambda record: "") == (0, 0)
