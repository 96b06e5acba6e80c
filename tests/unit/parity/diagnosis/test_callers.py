"""Callers that differ by nature, and what one of them does wrong all the same."""

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from serinus.parity.diagnosis.callers import others_as_trained, senders
from serinus.parity.diagnosis.diagnose import diagnose
from serinus.parity.diagnosis.finding import Diagnosis, Verdict
from serinus.parity.diagnosis.view import View
from tests.unit.parity.diagnosis.known import CALLERS, contract, rows_like_training, snapshot

Cells = dict[str, list[Any]]
_NOON = "2026-11-20T12:00:00+00:00"


@pytest.fixture
def cells() -> Cells:
    return rows_like_training(8000, 21)


def _by(mask: Any) -> Any:
    return np.where(mask, "app", "web").astype(object)


def _small_ones(cells: Cells) -> Any:
    """As if everything were in inches: a caller who asks for the lower part only."""
    return _by(np.array(cells["stock"]) < 50 / 2.54)


def _said(found: Diagnosis) -> set[tuple[str, ...]]:
    return {tuple(each.features) for each in found.findings}


def test_callers_that_always_differed_are_healthy(cells: Cells) -> None:
    found = diagnose(snapshot(cells, senders=_small_ones(cells)))
    assert found.verdict is Verdict.HEALTHY, found.findings
    assert not [each for each in found.notes if "stock" in each]


def test_the_one_that_sends_what_nobody_sent_is_named_among_callers_that_differ(
    cells: Cells,
) -> None:
    who_sends = _small_ones(cells)
    cells["stock"] = [
        -1.0 if who == "app" and at % 3 == 0 else each
        for at, (each, who) in enumerate(zip(cells["stock"], who_sends, strict=True))
    ]
    first = diagnose(snapshot(cells, senders=who_sends)).findings[0]
    assert (first.detail, first.pattern, first.callers) == (
        "schema.semantics",
        "null as -1",
        ["app"],
    )


def test_one_among_callers_that_differ_is_told_by_strange_values_alone(cells: Cells) -> None:
    who_sends = _small_ones(cells)
    view = View(snapshot(cells, senders=who_sends))
    assert not others_as_trained(view, "stock", ["app"])
    assert others_as_trained(view, "height", ["app"])
    assert senders(view, "stock") == []
    cells["stock"] = [
        each * 1000 if who == "web" else each
        for each, who in zip(cells["stock"], who_sends, strict=True)
    ]
    assert senders(View(snapshot(cells, senders=who_sends)), "stock") == ["web"]


def test_a_field_that_one_caller_stops_sending_at_noon_is_no_change_of_the_world(
    cells: Cells,
) -> None:
    cells["stock"] = [
        None if at >= 4000 and at % 8 == 1 else each for at, each in enumerate(cells["stock"])
    ]
    one_in_eight = [CALLERS[at % 8 == 1] for at in range(8000)]
    found = diagnose(snapshot(cells, senders=one_in_eight))
    first = found.findings[0]
    assert (first.pattern, first.callers, first.since) == ("no value at all", ["app"], _NOON)
    assert not any("undone" in each.text for each in first.evidence)
    # That some are missing, now and then, says nothing of why.
    cells["stock"] = [None if at % 5 == 0 else each for at, each in enumerate(cells["stock"])]
    assert diagnose(snapshot(cells)).detail == "drift.coverage"


def test_what_was_captured_on_few_rows_excludes_no_drift(cells: Cells) -> None:
    few = replace(snapshot(cells), profile=msgspec.structs.replace(contract()[1], rows=250))
    found = diagnose(few)
    assert found.detail == "inconclusive.no_profile"
    assert not {"drift", "schema.semantics"} & {each.fault for each in found.excluded}
    assert any("captured on 250 rows" in each for each in found.missing)
    assert not View(few).profiled


@pytest.mark.parametrize("share", [1.0, 0.15])
def test_a_unit_far_below_training_is_named_by_what_brings_values_back(
    cells: Cells, share: float
) -> None:
    touched = np.random.default_rng(3).random(8000) < share
    cells["pressure"] = [
        each * 0.02953 if bad else each
        for each, bad in zip(cells["pressure"], touched, strict=True)
    ]
    first = diagnose(snapshot(cells)).findings[0]
    assert (first.detail, first.features) == ("schema.semantics", ["pressure"])
    assert "hPa → inHg" in first.pattern


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_degrees_go_round(cells: Cells, share: float) -> None:
    touched = np.random.default_rng(3).random(8000) < share
    cells["wind"] = [
        (each + 180) % 360 if bad else each
        for each, bad in zip(cells["wind"], touched, strict=True)
    ]
    found = diagnose(snapshot(cells))
    assert _said(found) == {("wind",)}
    assert "+180 of 360" in found.findings[0].pattern


def test_a_mix_up_of_a_few_rows_is_told_where_one_of_the_two_hardly_moves(cells: Cells) -> None:
    for at in range(0, 8000, 9):
        cells["hour"][at], cells["stock"][at] = int(cells["stock"][at]), float(cells["hour"][at])
    first = diagnose(snapshot(cells)).findings[0]
    assert first.detail == "schema.semantics"
    assert "hour" in first.features


def test_drift_claims_no_comparison_that_did_not_run(cells: Cells) -> None:
    at = np.flatnonzero(np.array(cells["stock"]) > 30)
    some = {name: [values[i] for i in at] for name, values in cells.items()}
    found = diagnose(snapshot(some))
    assert found.verdict is Verdict.DRIFT
    assert not any("by key" in each.text for each in found.findings[0].evidence)
