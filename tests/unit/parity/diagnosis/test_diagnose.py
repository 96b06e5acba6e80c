"""The order of proof, on a made-up shop: what is said, with which proof, and what is not said."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from serinus.parity.contract import Kind
from serinus.parity.diagnosis.diagnose import diagnose
from serinus.parity.diagnosis.finding import Confidence, Diagnosis, Verdict
from serinus.parity.diagnosis.offline import TableOffline
from serinus.parity.diagnosis.rows import column_of
from serinus.parity.diagnosis.values import (
    Event,
    LibraryDifference,
    Measured,
    RefusedExample,
    RouteShare,
)
from serinus.parity.sketch import Sketch, SliceKey
from serinus.parity.verification import Gate, GateResult
from tests.unit.parity.diagnosis.known import CALLERS, START, rows_like_training, snapshot

Cells = dict[str, list[Any]]


@pytest.fixture
def cells() -> Cells:
    return rows_like_training(4000, 9)


def _classes(found: Diagnosis) -> set[str]:
    return {each.fault for each in found.excluded}


def test_healthy_traffic_is_healthy_and_says_what_was_excluded(cells: Cells) -> None:
    found = diagnose(snapshot(cells))
    assert found.verdict is Verdict.HEALTHY, found.findings
    assert {"routing", "preprocessing", "model", "environment", "drift"} <= _classes(found)
    assert found == diagnose(snapshot(cells))


def test_few_rows_are_not_enough() -> None:
    found = diagnose(snapshot(rows_like_training(300, 3)))
    assert (found.verdict, found.detail) == (
        Verdict.INCONCLUSIVE,
        "inconclusive.not_enough_data",
    )


@pytest.mark.parametrize("seed", range(12))
def test_a_thousand_healthy_rows_accuse_nobody(seed: int) -> None:
    assert diagnose(snapshot(rows_like_training(1000, 50 + seed))).verdict is Verdict.HEALTHY


def test_without_a_replay_in_the_window_nothing_is_called_healthy_or_drift(cells: Cells) -> None:
    old = START - timedelta(hours=1)
    assert diagnose(snapshot(cells, golden_at=old)).verdict is Verdict.INCONCLUSIVE
    cells["stock"] = [each * each / 50 for each in cells["stock"]]
    found = diagnose(snapshot(cells, golden_at=old))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert any("diagnose --live" in each for each in found.next)
    drifted = diagnose(snapshot(cells))
    assert (drifted.verdict, drifted.detail) == (Verdict.DRIFT, "drift.covariate")
    assert drifted.features == ["stock"]


@pytest.mark.parametrize(
    ("field", "change", "pattern"),
    [
        ("height", lambda value: value * 2.54, "unit: x 2.54"),
        ("height", lambda value: value * 1.7391, "unit: x 1.7"),
        ("weight", lambda value: value * 9 / 5 + 32, "unit: °C → °F"),
        ("hour", lambda value: (value + 5) % 24, "shifted by +5 of 24"),
        ("size", lambda value: round(value * 1.609344), "unit: x 1.60934 (mi → km)"),
        ("weight", lambda value: min(value, 90.0), "clipped at 90"),
        ("plan", str.lower, "letter case"),
        ("plan", lambda word: f" {word}", "blanks around"),
        ("plan", lambda word: word[:2], "cut off after 2 characters"),
    ],
)
def test_a_clients_change_is_named_by_what_undoes_it(
    cells: Cells, field: str, change: Any, pattern: str
) -> None:
    cells[field] = [change(each) for each in cells[field]]
    found = diagnose(snapshot(cells))
    assert found.detail == "schema.semantics", (found.detail, found.notes)
    assert found.findings[0].pattern.startswith(pattern)
    assert found.features == [field]
    assert any("retrain" in each for each in found.do_not)


def test_clipping_is_judged_by_all_rows_where_few_were_recorded(cells: Cells) -> None:
    cells["weight"] = [min(each, 90.0) for each in cells["weight"]]
    whole = snapshot(cells)
    few = replace(whole, rows=whole.rows.some(np.arange(len(whole.rows)) % 12 == 0))
    assert diagnose(few).findings[0].pattern == "clipped at 90"


@pytest.mark.parametrize(
    ("field", "value"), [("stock", -1.0), ("height", -999.0), ("size", 99999), ("plan", "")]
)
def test_values_that_stand_for_null_are_seen_in_a_tenth_of_the_rows(
    cells: Cells, field: str, value: Any
) -> None:
    cells[field] = [value if at % 10 == 0 else each for at, each in enumerate(cells[field])]
    found = diagnose(snapshot(cells))
    assert found.detail == "schema.semantics", found.findings
    assert found.share == pytest.approx(0.1, abs=0.02)
    assert found.findings[0].evidence[0].rows


def test_swapped_fields_are_told_from_two_that_changed(cells: Cells) -> None:
    cells["height"], cells["stock"] = cells["stock"], cells["height"]
    found = diagnose(snapshot(cells))
    assert found.findings[0].pattern == "swapped: height and stock"


def test_one_caller_from_one_hour_is_named_with_the_event_beside_it() -> None:
    cells = rows_like_training(12_000, 4)
    cells["hour"] = [
        (each + 5) % 24 if at % 2 and at >= 6000 else each for at, each in enumerate(cells["hour"])
    ]
    noon = START + timedelta(hours=12)
    events = [Event(at=noon, kind="client", text="app 4.2")]
    found = diagnose(snapshot(cells, events=events))
    assert found.detail == "schema.semantics", found.findings
    assert found.findings[0].callers == [CALLERS[1]]
    assert found.since == noon.isoformat()
    assert found.event is not None
    assert "app 4.2" in found.event
    assert found.share == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("seed", range(4))
def test_changes_of_the_world_accuse_nobody(seed: int) -> None:
    """Only some hours, only small things, only what sells well: nothing that has an inverse."""
    many = rows_like_training(40_000, 70 + seed)
    size, hour, height = (np.array(many[name]) for name in ("size", "hour", "height"))
    chosen = (hour > 15, size > 2500, height < 20, (hour < 9) & (size < 2000))[seed]
    at = np.flatnonzero(chosen)[:4000]
    found = diagnose(snapshot({name: [values[i] for i in at] for name, values in many.items()}))
    assert found.verdict is Verdict.DRIFT, found.findings[:1]


def test_a_new_word_without_inverse_is_the_world(cells: Cells) -> None:
    cells["plan"] = ["Team" if at % 6 == 0 else each for at, each in enumerate(cells["plan"])]
    found = diagnose(snapshot(cells))
    assert (found.verdict, found.detail) == (Verdict.DRIFT, "drift.new_category")


def _gate(stage: str, fault: str) -> Gate:
    return Gate(name="golden_replay", result=GateResult.FAIL, stage=stage, fault=fault, detail="x")


@pytest.mark.parametrize(
    ("stage", "libraries", "expected"),
    [
        ("S1", False, "preprocessing.parse"),
        ("S3", False, "preprocessing.transform"),
        ("S3", True, "environment.transform"),
        ("S4", False, "model.bug"),
        ("S4", True, "environment.score"),
        ("S5", True, "preprocessing.decision"),
    ],
)
def test_the_first_stage_that_differs_names_the_class(
    cells: Cells, stage: str, libraries: bool, expected: str
) -> None:
    found = snapshot(cells, gates=(_gate(stage, "preprocessing"),))
    if libraries:
        found.environment.append(  # type: ignore[union-attr]
            LibraryDifference(name="scikit-learn", trained="1.5", serving="1.9")
        )
    said = diagnose(found)
    assert (said.detail, said.confidence) == (expected, Confidence.EXACT)


def test_what_can_not_change_an_answer_is_not_blamed_for_one(cells: Cells) -> None:
    found = snapshot(cells, gates=(_gate("S3", "preprocessing"),))
    found.environment.append(  # type: ignore[union-attr]
        LibraryDifference(name="BLAS", trained="openblas, mkl", serving="openblas", matters=False)
    )
    said = diagnose(found)
    assert said.detail == "preprocessing.transform"
    assert any("BLAS openblas, mkl" in each for each in said.notes)


def test_other_libraries_with_equal_answers_are_a_note(cells: Cells) -> None:
    found = snapshot(cells)
    found.environment.append(  # type: ignore[union-attr]
        LibraryDifference(name="scikit-learn", trained="1.5", serving="1.9")
    )
    said = diagnose(found)
    assert said.verdict is Verdict.HEALTHY
    assert any("scikit-learn 1.5" in each for each in said.notes)


def test_routing_comes_first(cells: Cells) -> None:
    said = diagnose(snapshot(cells, serves="d1", gates=(_gate("S4", "model.bug"),)))
    assert said.detail == "routing.version"
    assert [each.verdict for each in said.findings] == [Verdict.ROUTING, Verdict.MODEL]
    shares = [
        RouteShare(served="m", wanted=0.9, requests=1000),
        RouteShare(served="n", wanted=0.1, requests=1000),
    ]
    assert diagnose(snapshot(cells, shares=shares)).detail == "routing.weights"


def test_refusals_are_exact_and_a_scanner_is_none_of_it(cells: Cells) -> None:
    found = snapshot(cells)
    key = next(iter(found.live))
    assert isinstance(found.live, dict)
    found.live[SliceKey("m", key.caller, key.hour)].refused = {"type": {"size": 3}}
    assert diagnose(found).verdict is Verdict.HEALTHY
    example = RefusedExample(field="size", kind="type", got='the string "12,5"')
    found.live[SliceKey("m", "partner", key.hour)] = Sketch(refused={"type": {"size": 400}})
    found.refused.append(example)
    said = diagnose(found)
    assert (said.detail, said.confidence) == ("schema.structure", Confidence.EXACT)
    assert said.findings[0].callers == ["partner"]
    assert "decimal comma" in str(said.findings[0].evidence)


def _shelves(cells: Cells, values: list[Any]) -> TableOffline:
    """An offline table that has the truth of each row under its size and height."""
    columns = {
        "height": column_of("height", Kind.NUMBER, cells["height"]),
        "weight": column_of("weight", Kind.NUMBER, cells["weight"]),
        "stock": column_of("stock", Kind.NUMBER, values),
    }
    return TableOffline("shelves", columns, ["height", "weight"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda at, value: None if at % 3 == 0 else value, "availability.miss"),
        (lambda at, value: 25.0 if at % 3 == 0 else value, "availability.default"),
        (lambda at, value: value * 0.447, "preprocessing.unit"),
        (lambda at, value: value * 1.8 + 32 if at % 2 else value, "preprocessing.unit"),
        (lambda at, value: (value * 7919) % 50, "preprocessing.compute"),
    ],
    ids=["miss", "default", "factor", "formula", "other"],
)
def test_what_differs_from_the_truth_names_its_cause(
    cells: Cells, change: Any, expected: str
) -> None:
    truth = list(cells["stock"])
    cells["stock"] = [change(at, each) for at, each in enumerate(truth)]
    found = diagnose(snapshot(cells, looked_up=("stock",), offline=_shelves(cells, truth)))
    assert (found.detail, found.confidence) == (expected, Confidence.EXACT)
    assert found.findings[0].evidence[0].rows


def test_keys_that_the_source_never_heard_of_accuse_nobody(cells: Cells) -> None:
    some = {name: values[:3000] for name, values in cells.items()}
    found = diagnose(snapshot(cells, looked_up=("stock",), offline=_shelves(some, some["stock"])))
    assert found.verdict is Verdict.HEALTHY, found.findings
    # What is compared is compared as before.
    cells["stock"] = [each * 0.447 for each in cells["stock"]]
    found = diagnose(snapshot(cells, looked_up=("stock",), offline=_shelves(some, some["stock"])))
    assert found.detail == "preprocessing.unit"


def test_a_looked_up_field_that_changed_with_the_truth_is_drift_and_else_unproved(
    cells: Cells,
) -> None:
    cells["stock"] = [each * each / 50 for each in cells["stock"]]
    proved = snapshot(cells, looked_up=("stock",), offline=_shelves(cells, cells["stock"]))
    assert diagnose(proved).verdict is Verdict.DRIFT
    said = diagnose(snapshot(cells, looked_up=("stock",)))
    assert said.verdict is Verdict.INCONCLUSIVE
    assert any("No offline source for stock" in each for each in said.missing)


def test_an_endpoints_fault_and_a_change_of_the_world_are_both_told(cells: Cells) -> None:
    cells["stock"] = [each * each / 50 for each in cells["stock"]]
    said = diagnose(snapshot(cells, gates=(_gate("S3", "preprocessing.transform"),)))
    assert [each.verdict for each in said.findings] == [Verdict.PREPROCESSING, Verdict.DRIFT]


def test_labels_that_are_late_prove_nothing_and_the_selected_are_told(cells: Cells) -> None:
    selected = Measured(
        metric="accuracy", value=0.9, labels=3000, due=4000, labelled_yes=0.9, labelled_no=0.1
    )
    assert diagnose(snapshot(cells, measured=[selected])).detail == "drift.scoring"
    few = Measured(metric="accuracy", value=0.4, labels=60, due=4000)
    said = diagnose(snapshot(cells, measured=[few]))
    assert any("too early" in each for each in said.missing)
    slice_ = Measured(
        metric="accuracy", value=0.7, labels=900, due=900, part="plan=Gold", before=0.9
    )
    assert diagnose(snapshot(cells, measured=[slice_])).detail == "model.quality"
