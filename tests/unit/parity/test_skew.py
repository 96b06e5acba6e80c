"""Skew is said when there is some, on enough rows, and hardly ever when there is none."""

import msgspec
import numpy as np
import pytest

from serinus.parity.contract import Origin
from serinus.parity.folding import Batch, fold
from serinus.parity.shape import shape_of
from serinus.parity.sketch import Sketch
from serinus.parity.skew import ANSWERS, Skew, SkewVerdict, skew_between, skew_of
from tests.unit.parity.live import rows, trained

_CONTRACT, _PROFILE = trained()
_SHAPE = shape_of(_CONTRACT, _PROFILE)


def counted(cells: dict[str, list[object]], seed: int = 0) -> Sketch:
    sketch, n = Sketch(), len(cells["hour"])
    fold(sketch, _SHAPE, Batch(n, cells, output=np.random.default_rng(seed).random(n)))
    return sketch


def skewed(found: Skew) -> list[str]:
    return [each.field for each in found.fields if each.verdict is SkewVerdict.SKEWED]


@pytest.mark.parametrize("n", [1000, 4000])
def test_nothing_is_found_where_nothing_changed(n: int) -> None:
    found = [skew_of(counted(rows(n, seed), seed), _CONTRACT, _PROFILE) for seed in range(30)]
    assert {each.verdict for each in found} == {SkewVerdict.ALIKE}, [skewed(e) for e in found]


def test_nothing_is_said_of_too_few_rows() -> None:
    cells = rows(900)
    cells["distance"] = [each and each * 3 for each in cells["distance"]]
    found = skew_of(counted(cells), _CONTRACT, _PROFILE)
    assert found.verdict is SkewVerdict.NOT_ENOUGH
    assert "1000 rows are needed, and 900" in found.detail
    assert {each.verdict for each in found.fields} == {SkewVerdict.NOT_ENOUGH}
    assert all(each.psi is None for each in found.fields)
    assert skew_of(Sketch(), _CONTRACT, _PROFILE).verdict is SkewVerdict.NOT_ENOUGH


@pytest.mark.parametrize(
    ("field", "change", "words"),
    [
        ("distance", lambda each: each and each * 1.609, "outside of training's range"),
        ("hour", lambda each: (each + 6) % 24, "PSI"),
        ("carrier", lambda each: each and each.lower(), "words that training had not"),
        ("weekend", lambda each: not each, "PSI"),
        ("at", lambda _: "2013-02-03T03:04", "PSI"),
        ("distance", lambda _: None, "PSI"),
    ],
)
def test_a_changed_field_is_the_first_and_only_finding(field, change, words) -> None:
    cells = rows(3000, seed=2)
    cells[field] = [change(each) for each in cells[field]]
    found = skew_of(counted(cells), _CONTRACT, _PROFILE)
    assert found.verdict is SkewVerdict.SKEWED
    assert skewed(found) == [field]
    assert words in found.fields[0].detail


def test_a_few_rows_off_the_grid_are_found_though_the_distribution_hardly_moves() -> None:
    cells = rows(4000, seed=3)
    cells["distance"][:80] = [1000.5] * 80
    found = skew_of(counted(cells), _CONTRACT, _PROFILE)
    first = found.fields[0]
    assert (first.field, first.verdict) == ("distance", SkewVerdict.SKEWED)
    assert first.psi is not None
    assert first.psi < 0.1
    assert "no multiples of 1" in first.detail


def test_answers_that_moved_are_a_finding_too() -> None:
    cells, sketch = rows(2000, seed=4), Sketch()
    fold(sketch, _SHAPE, Batch(2000, cells, output=np.random.default_rng(0).random(2000) ** 4))
    assert skewed(skew_of(sketch, _CONTRACT, _PROFILE)) == [ANSWERS]


def test_what_the_model_hangs_on_comes_first() -> None:
    cells = rows(3000, seed=5)
    cells["distance"] = [each and each * 1.2 for each in cells["distance"]]
    cells["hour"] = [(each + 8) % 24 for each in cells["hour"]]
    found = skew_of(counted(cells), _CONTRACT, _PROFILE)
    psi = {each.field: each.psi for each in found.fields}
    assert skewed(found) == sorted(
        ("distance", "hour"), key=lambda f: -(psi[f] or 0) * (0.3 if f == "distance" else 0.05)
    )


def test_without_a_training_profile_it_says_so() -> None:
    derived = msgspec.structs.replace(_CONTRACT, origin=Origin.DERIVED)
    found = skew_of(counted(rows(2000)), derived, _PROFILE)
    assert found.verdict is SkewVerdict.NO_PROFILE
    assert "capture" in found.detail


def test_two_versions_on_the_same_traffic() -> None:
    one, two = counted(rows(3000, seed=6), 1), counted(rows(3000, seed=7), 2)
    alike = skew_between(one, two, _CONTRACT, _SHAPE, "two")
    assert (alike.against, alike.verdict) == ("two", SkewVerdict.ALIKE), skewed(alike)
    cells = rows(3000, seed=8)
    cells["carrier"] = [each and each.lower() for each in cells["carrier"]]
    cells["distance"] = [each and each * 1.609 for each in cells["distance"]]
    apart = skew_between(counted(cells), two, _CONTRACT, _SHAPE, "two")
    assert set(skewed(apart)) == {"carrier", "distance"}
    few = skew_between(counted(rows(500)), two, _CONTRACT, _SHAPE, "two")
    assert few.verdict is SkewVerdict.NOT_ENOUGH
