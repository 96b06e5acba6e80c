"""Hours that decay: new ones count more, and the sum claims no more rows than it is worth."""

import math

import msgspec
import numpy as np
import pytest

from serinus.parity.decayed import decayed
from serinus.parity.folding import Batch, fold
from serinus.parity.shape import shape_of
from serinus.parity.sketch import Sketch, pack
from serinus.parity.skew import SkewVerdict, skew_of
from tests.unit.parity.live import rows, trained

_CONTRACT, _PROFILE = trained()
_SHAPE = shape_of(_CONTRACT, _PROFILE)


def hour(n: int, seed: int, factor: float = 1.0) -> Sketch:
    sketch, cells = Sketch(), rows(n, seed)
    cells["distance"] = [each and each * factor for each in cells["distance"]]
    output = np.random.default_rng(seed).random(n)
    fold(sketch, _SHAPE, Batch(n, cells, output=output, took={"model": [0.001] * n}))
    return sketch


def test_one_new_hour_is_itself() -> None:
    new = hour(700, 1)
    same, was = (msgspec.msgpack.decode(pack(each)) for each in (decayed([(0.0, new)], 24.0), new))
    assert same == was
    assert decayed([], 24.0).rows == 0


def test_rows_are_as_many_as_their_weights_are_worth() -> None:
    found = decayed([(0.0, hour(2000, 1)), (24.0, hour(2000, 2))], 24.0)
    old = math.exp(-1.0)
    assert found.rows == pytest.approx(2000 * (1 + old) ** 2 / (1 + old**2), rel=0.01)
    assert found.score.bins.counts.sum() == pytest.approx(found.rows, abs=len(_SHAPE.score.edges))
    # Numbers of buckets are no counts.
    assert found.took["model"].first == hour(1, 1).took["model"].first


def test_parts_never_come_to_more_than_the_whole() -> None:
    for seed in range(20):
        some = [(float(age), hour(150 + 7 * age, seed + age)) for age in range(9)]
        for name, field in decayed(some, 2.5).fields.items():
            assert field.present >= 0, name
            assert field.true <= field.present, name
            assert sum(field.words.values()) + field.other <= field.n, name
            assert field.bins.counts.sum() <= field.n, name


def test_a_fault_of_the_last_hours_shows_and_one_that_is_over_fades() -> None:
    good, bad = [hour(600, seed) for seed in range(20)], [hour(600, 99 + s, 1.2) for s in range(4)]

    def verdict(some: list[Sketch], span_h: float) -> SkewVerdict:
        found = decayed(zip(range(len(some)), some, strict=True), span_h)
        return skew_of(found, _CONTRACT, _PROFILE).verdict

    assert verdict([*bad, *good], 4.0) is SkewVerdict.SKEWED
    assert verdict(good, 4.0) is SkewVerdict.ALIKE
    assert verdict([good[0], good[1], bad[0]], 0.2) is SkewVerdict.NOT_ENOUGH
    assert verdict([hour(3000, 7), *good[:3], *bad], 0.5) is SkewVerdict.ALIKE
