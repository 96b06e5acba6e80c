"""Some rows changed and the others not: told by the counts of all rows, and never of the world."""

from typing import Any

import numpy as np
import pytest

from serinus.parity.diagnosis.diagnose import diagnose
from serinus.parity.diagnosis.finding import Verdict
from serinus.parity.diagnosis.rows import no_rows
from tests.unit.parity.diagnosis.known import rows_like_training, snapshot

Cells = dict[str, list[Any]]


def _some(values: list[Any], share: float, change: Any, seed: int = 3) -> list[Any]:
    touched = np.random.default_rng(seed).random(len(values)) < share
    return [change(each) if bad else each for each, bad in zip(values, touched, strict=True)]


@pytest.fixture
def cells() -> Cells:
    return rows_like_training(8000, 21)


@pytest.mark.parametrize(
    ("field", "share", "change", "pattern"),
    [
        ("stock", 0.2, lambda value: value * 2.54, "unit: x 2.54"),
        ("stock", 0.05, lambda value: value * 1000, "unit: x 1000"),
        ("size", 0.2, lambda value: round(value * 0.45359237), "unit: x 0.453592"),
        ("hour", 0.3, lambda value: (value + 8) % 24, "shifted by +8 of 24"),
        ("stock", 0.05, lambda value: -999.0, "null as -999"),
        ("size", 0.2, lambda value: (value + 128) % 256 - 128, "8-bit overflow"),
    ],
)
def test_a_change_of_some_rows_is_named_without_any_recorded_row(
    cells: Cells, field: str, share: float, change: Any, pattern: str
) -> None:
    cells[field] = _some(cells[field], share, change)
    said = diagnose(snapshot(cells, rows=no_rows()))
    assert said.detail == "schema.semantics", (said.detail, said.notes)
    assert said.findings[0].pattern.startswith(pattern)
    assert said.share == pytest.approx(share, rel=0.25)


def test_two_fields_mixed_up_in_a_fifth_of_the_rows_are_told_together(cells: Cells) -> None:
    touched = np.random.default_rng(4).random(8000) < 0.2
    for at in np.flatnonzero(touched):
        one, other = cells["height"][at], cells["stock"][at]
        cells["height"][at], cells["stock"][at] = other, one
    said = diagnose(snapshot(cells))
    assert said.findings[0].pattern == "swapped: height and stock"
    assert said.share == pytest.approx(0.2, abs=0.05)


def test_two_changes_at_once_do_not_speak_against_each_other(cells: Cells) -> None:
    cells["stock"] = [each * 100 for each in cells["stock"]]
    cells["hour"] = [(each + 5) % 24 for each in cells["hour"]]
    said = diagnose(snapshot(cells))
    assert {tuple(each.features) for each in said.findings} == {("stock",), ("hour",)}
    assert {each.verdict for each in said.findings} == {Verdict.SCHEMA}


def test_digits_that_training_never_had_are_told_where_nothing_else_changed(cells: Cells) -> None:
    cells["stock"] = [each * 1.003 for each in cells["stock"]]
    said = diagnose(snapshot(cells))
    assert said.findings[0].pattern == "no multiples of 0.01"
    # Numbers that came through single precision are the same numbers.
    cells = rows_like_training(8000, 21)
    cells["stock"] = [float(np.float32(each)) for each in cells["stock"]]
    assert diagnose(snapshot(cells)).verdict is Verdict.HEALTHY


def test_a_field_that_is_no_longer_sent_is_no_change_of_the_world(cells: Cells) -> None:
    cells["stock"] = [None] * 8000
    assert diagnose(snapshot(cells)).findings[0].pattern == "no value at all"
    cells["stock"] = _some(rows_like_training(8000, 22)["stock"], 0.4, lambda value: None)
    assert diagnose(snapshot(cells)).detail == "drift.coverage"


@pytest.mark.parametrize("seed", range(6))
def test_a_world_that_leans_is_no_blend(seed: int) -> None:
    """Large ones more often, cheap ones more often, another time of day: more or less of each."""
    many = rows_like_training(60_000, 90 + seed)
    stock, height, hour = (np.array(many[name]) for name in ("stock", "height", "hour"))
    lean = (
        stock / 50,
        np.exp(-stock / 20),
        height / height.max(),
        np.exp(-height / 15),
        0.2 + 0.8 * (hour > 12),
        1 / (1 + np.exp((stock - 25) / 4)),
    )[seed]
    at = np.flatnonzero(np.random.default_rng(seed).random(60_000) < lean)[:8000]
    said = diagnose(snapshot({name: [cells[i] for i in at] for name, cells in many.items()}))
    assert said.verdict is Verdict.DRIFT, said.findings[:1]
