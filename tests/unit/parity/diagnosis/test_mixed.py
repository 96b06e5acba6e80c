"""A unit in some rows whose values look like any others: the rest of the row tells it."""

import numpy as np
import pytest

from serinus.parity.diagnosis.diagnose import diagnose
from tests.unit.parity.diagnosis.known import rows_like_training, snapshot


def _pounds(share: float, seed: int = 1) -> dict[str, list[float]]:
    """Rows of which a share has its weight in another unit, rounded as all weights are."""
    cells = rows_like_training(6000, 7)
    wrong = np.random.default_rng(seed).random(6000) < share
    cells["weight"] = [
        round(each * 2.20462, 3) if bad else each
        for each, bad in zip(cells["weight"], wrong, strict=True)
    ]
    return cells


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_rows_that_do_not_go_together_are_a_unit(share: float) -> None:
    found = diagnose(snapshot(_pounds(share)))
    assert (found.detail, found.features) == ("schema.semantics", ["weight"])
    assert "2.20462" in found.findings[0].pattern
    assert found.share == pytest.approx(share, abs=0.05)
    assert found.findings[0].evidence[0].rows


def test_rows_that_go_together_are_the_world() -> None:
    cells = rows_like_training(6000, 7)
    taller = np.random.default_rng(2).random(6000) < 0.3
    for name in ("height", "weight"):
        cells[name] = [
            round(each * 2.20462, 3) if more else each
            for each, more in zip(cells[name], taller, strict=True)
        ]
    found = diagnose(snapshot(cells))
    assert found.verdict.value == "drift", found.findings


def test_a_relation_that_is_gone_is_no_unit() -> None:
    cells = rows_like_training(6000, 7)
    random = np.random.default_rng(3)
    cells["weight"] = [round(float(each), 3) for each in random.gamma(4.0, 25.0, 6000)]
    found = diagnose(snapshot(cells))
    assert found.verdict.value != "schema", found.findings
