"""An offline source that is not whole accuses nobody, and still shows what is wrong."""

from typing import Any

import numpy as np
import pytest

from serinus.parity.contract import Kind
from serinus.parity.diagnosis.diagnose import diagnose
from serinus.parity.diagnosis.offline import TableOffline
from serinus.parity.diagnosis.rows import column_of
from tests.unit.parity.diagnosis.known import START, rows_like_training, snapshot

_HOURS = np.arange(-3, 25)


def _history(kept: float) -> tuple[TableOffline, Any]:
    """A stock of each plan at each hour, of which the table has only some; and all of it."""
    plans = ["Free", "Gold", "Silver"]
    random = np.random.default_rng(5)
    stock = (random.random((len(plans), len(_HOURS))) * 50).round(2)
    there = random.random(stock.shape) < kept
    there[:, 0] = True
    plan, hour = np.nonzero(there)
    columns = {
        "plan": column_of("plan", Kind.TEXT, [plans[each] for each in plan]),
        "at": column_of(
            "at", Kind.NUMBER, (START.timestamp() + 3600.0 * _HOURS[hour] - 1).tolist()
        ),
        "stock": column_of("stock", Kind.NUMBER, stock[there].tolist()),
    }
    return TableOffline("history", columns, ["plan"], "at"), stock


def _said(kept: float, change: Any = lambda value: value) -> Any:
    cells = rows_like_training(4000, 8)
    table, stock = _history(kept)
    hours = np.arange(4000) * 24 // 4000
    place = {"Free": 0, "Gold": 1, "Silver": 2}
    cells["stock"] = [
        change(float(stock[place[plan], hour + 3]))
        for plan, hour in zip(cells["plan"], hours, strict=True)
    ]
    return diagnose(snapshot(cells, looked_up=("stock",), offline=table))


def test_a_whole_source_clears_the_field_and_finds_what_is_wrong_with_it() -> None:
    assert not [each for each in _said(1.0).findings if each.step == 6]
    assert _said(1.0, lambda value: value * 0.447).detail == "preprocessing.unit"


@pytest.mark.parametrize("kept", [0.7, 0.4])
def test_a_source_that_lacks_rows_is_said_to_and_no_code_is_blamed(kept: float) -> None:
    said = _said(kept)
    assert said.verdict.value not in ("preprocessing", "availability", "staleness"), said.findings
    if kept < 0.5:
        assert any("history is incomplete" in each for each in said.missing)
        assert said.verdict.value == "inconclusive"


def test_what_is_wrong_is_found_beside_a_source_that_lacks_rows() -> None:
    assert _said(0.7, lambda value: value * 0.447).verdict.value == "preprocessing"
