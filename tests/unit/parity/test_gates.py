"""What the gates of a verification make of plain values; real models are in integration."""

import csv
import io
import json
from typing import Any

import numpy as np
import pytest

from serinus.parity.contract import (
    FORMAT,
    Contract,
    Field,
    Inputs,
    Kind,
    ModelIdentity,
    Nulls,
    Origin,
    Outputs,
    Stage,
    Type,
)
from serinus.parity.folder import GoldenRow
from serinus.parity.gates.comparing import as_columns, compare, in_order, predictions
from serinus.parity.gates.environment import environment_gate, lock_differences
from serinus.parity.gates.probes import probes
from serinus.parity.gates.sheet import FORMS, Sheet, as_sent, sheet_of
from serinus.parity.lock import Distribution, Lock
from serinus.parity.stages import tolerance_of
from serinus.parity.verification import GateResult
from serinus.parity.wire import Answer, Request

SHEET = Sheet(("a", "b", "c"), ((1.5, "x, y", True), (None, 'say "hi"\nthere', False)))


def stage(name: str, *columns: str) -> Stage:
    return Stage(name=name, columns=list(columns), tolerance=tolerance_of(name))


# --- sheets -------------------------------------------------------------------------------------


def rows_of(name: str, request: Request) -> list[dict[str, Any]]:
    if name == "CSV":
        return list(csv.DictReader(io.StringIO(request.body.decode())))
    (form, data), *_ = json.loads(request.body).items()
    if form == "dataframe_split":
        return [dict(zip(data["columns"], row, strict=True)) for row in data["data"]]
    if form == "inputs":
        return [dict(zip(data, row, strict=True)) for row in zip(*data.values(), strict=True)]
    return list(data)


@pytest.mark.parametrize("name", FORMS)
def test_every_form_says_the_same(name: str) -> None:
    found = rows_of(name, FORMS[name](SHEET))
    expected = SHEET.records()
    if name == "CSV":
        text = {None: "", True: "true", False: "false", 1.5: "1.5"}
        expected = [{k: text.get(v, v) for k, v in row.items()} for row in expected]
    assert found == expected


def test_golden_requests_come_back_as_a_sheet() -> None:
    one, other = (SHEET.take([at]).split() for at in (0, 1))
    assert sheet_of([one, other]) == Sheet(SHEET.names, tuple(list(r) for r in SHEET.rows))
    assert sheet_of([Request(b'{"inputs":[[1,2]]}')]) == Sheet((), ([1, 2],))
    for odd in (b"[", b"[]", b'{"instances":[1]}', b'{"inputs":{"a":1}}'):
        assert sheet_of([Request(odd)]) is None
    assert sheet_of([one, Request(b'{"dataframe_split":{"columns":["z"],"data":[[1]]}}')]) is None


def test_what_a_csv_file_would_lose_is_left_out() -> None:
    sheet = Sheet(("a",), (("",), ("NaN",), (" x",), (["y"],), ("null",), (None,), ("fine",), (2,)))
    assert sheet.plain_in_csv() == [5, 6, 7]


def test_looked_up_values_are_put_into_the_request() -> None:
    body = '{"dataframe_split":{"columns":["a"],"data":[[1]]}}'
    sent = as_sent(GoldenRow(body=body, pinned={"lookup:wind": {"wind": 7.5}}))
    assert json.loads(sent.body) == {
        "dataframe_split": {"columns": ["a", "wind"], "data": [[1, 7.5]]}
    }
    assert as_sent(GoldenRow(body=body + " ")).body == body.encode() + b" "


# --- comparing ----------------------------------------------------------------------------------


def test_single_precision_passes_where_half_does_not() -> None:
    exact = np.array([0.1, 1234.5678, 1e-7])
    for dtype, differs in (("float32", False), ("float16", True)):
        for name in ("S1", "S3"):
            found = compare(stage(name), [exact], [exact.astype(dtype).astype(float)], [])
            assert bool(found.count) is differs, (dtype, name)
    assert compare(stage("S1"), [exact], [exact.astype("float32")], []).single
    assert not compare(stage("S1"), [exact], [exact], []).single


def test_whole_numbers_must_be_the_same() -> None:
    large = np.array([2**53 + 1])
    assert compare(stage("S1"), [large], [large.astype(float)], []).count == 1
    assert compare(stage("S1"), [np.array([1, 2])], [np.array([1.0, 2.0])], []).count == 0


def test_fields_are_found_by_name_and_vectors_by_place() -> None:
    values = [np.array([1.0]), np.array([2.0])]
    assert compare(stage("S1", "a", "b"), values, values[::-1], ["b", "a"]).count == 0
    assert compare(stage("S3", "a", "b"), values, values[::-1], ["b", "a"]).count == 1
    lost = compare(stage("S1", "a", "b"), values, values[:1], ["a"])
    assert (lost.count, lost.detail) == (1, "the field 'b' did not arrive")
    more = compare(stage("S1", "a"), values[:1], values, ["a", "b"])
    assert more.count == 0


def test_the_detail_names_row_column_and_both_values() -> None:
    expected, got = [np.array([[1.0, 2.0], [3.0, 4.0]])], [np.array([[1.0, 2.0], [3.0, 5.0]])]
    found = compare(stage("S3"), expected, got, [])
    assert found.detail == "row 1, column 1: expected 4.0, got 5.0"
    assert found.rows.tolist() == [False, True]
    shape = compare(stage("S3"), expected, [np.zeros((2, 3))], [])
    assert shape.count == 2
    assert "shape" in shape.detail


def test_answers_become_columns() -> None:
    def said(predictions_: Any) -> Answer:
        return Answer(200, json.dumps({"predictions": predictions_}).encode())

    assert predictions(said([1, 2]), 2) == [1, 2]
    assert predictions(said({"a": [1, 2]}), 2) == [{"a": 1}, {"a": 2}]
    assert predictions(said([1]), 2) is None
    assert predictions(Answer(400, b"{}"), 1) is None
    assert predictions(Answer(200, b"<html>"), 1) is None
    assert np.array_equal(as_columns([1, None])[0], [1.0, np.nan], equal_nan=True)
    assert as_columns(["1", "2"]) == [["1", "2"]]
    assert as_columns([True, False])[0].dtype == bool
    assert as_columns([{"a": 1.0, "b": "x"}], ["b", "a"])[0] == ["x"]


def test_stages_come_in_the_order_of_a_request() -> None:
    names = ["answer", "S5", "S3", "S1", "S3:scale", "S4", "S2", "S3:words"]
    found = [each.name for each in in_order([stage(name) for name in names])]
    assert found == ["S1", "S2", "S3:scale", "S3:words", "S3", "S4", "S5", "answer"]


# --- environments -------------------------------------------------------------------------------


def contract(*fields: Field, flavor: str = "sklearn") -> Contract:
    return Contract(
        format=FORMAT,
        origin=Origin.CAPTURED,
        model=ModelIdentity(flavor=flavor),
        fields=list(fields),
        inputs=Inputs(names=[each.name for each in fields]),
        outputs=Outputs(),
    )


def lock(python: str = "3.11.7", **versions: str) -> Lock:
    return Lock(
        python=python,
        distributions={
            name.replace("_", "-"): Distribution(version, version)
            for name, version in versions.items()
        },
    )


def test_differences_are_told_and_those_that_matter_are_known() -> None:
    was = lock(scikit_learn="1.5.0", rich="13.0", gone="1", numpy="2.0")
    now = lock(scikit_learn="1.6.0", rich="14.0", new="1", numpy="2.0")
    found = lock_differences(contract(), was, now)
    assert [(each.name, each.matters) for each in found] == [
        ("scikit-learn", True),
        ("rich", False),
    ]
    assert lock_differences(contract(), was, was) == []

    minor = lock_differences(contract(), lock("3.11.7"), lock("3.12.1"))
    patch = lock_differences(contract(), lock("3.11.7"), lock("3.11.9"))
    assert [each.matters for each in (*minor, *patch)] == [True, False]

    rebuilt = Lock(python="3.11.7", distributions={"numpy": Distribution("2.0", "other")})
    assert str(lock_differences(contract(), was, rebuilt)[0]) == (
        "numpy 2.0 at training, 2.0 of another build here"
    )


@pytest.mark.parametrize(
    ("matters", "golden", "result"),
    [
        (True, True, GateResult.FAIL),
        (True, False, GateResult.PASS),
        (True, None, GateResult.PASS),
        (False, True, GateResult.PASS),
    ],
)
def test_a_difference_fails_only_with_golden_rows(
    matters: bool, golden: bool | None, result: GateResult
) -> None:
    library = "scikit_learn" if matters else "rich"
    found = lock_differences(contract(), lock(**{library: "1"}), lock(**{library: "2"}))
    gate = environment_gate(found, golden_differs=golden)
    assert gate.result is result
    assert "1 at training, 2 here" in gate.detail
    assert gate.fault == ("environment" if result is GateResult.FAIL else "")
    assert environment_gate(None, golden_differs=golden).result is GateResult.SKIPPED


# --- probes -------------------------------------------------------------------------------------


def field(name: str, kind: Kind, physical: str, **more: Any) -> Field:
    return Field(name=name, type=Type(logical=kind, physical=physical), **more)


def test_what_is_probed_follows_from_the_contract() -> None:
    nullable = Nulls(allowed=True)
    some = contract(
        field("n", Kind.NUMBER, "double", null=nullable),
        field("i", Kind.WHOLE, "integer"),
        field("t", Kind.TEXT, "string", unknown_category="reject", null=nullable),
        field("o", Kind.TEXT, "string", required=False),
    )
    base = Sheet(("n", "i", "t", "o"), ((1.5, 2, "x", "y"),))
    found = {each.what: each.request.body.decode() for each in probes(some, base)}
    for what in (
        "\"502,0\" for the number 'n'",
        "100.7 for the int 'i'",
        "9223372036854775808 for the int 'i'",
        "null for the int 'i'",
        "2^31 for the integer 'i'",
        "3 for the text 't'",
        "an unknown 't'",
        "a request without 'n'",
        "a row that names 'n' twice",
        "the literal NaN",
    ):
        assert what in found, what
    assert "null for the number 'n'" not in found
    assert "a request without 'o'" not in found
    assert found["a row that names 'n' twice"].count('"n":1.5') == 2
    assert '"data":[[NaN,2,"x","y"]]' in found["the literal NaN"]
    assert len(set(found.values())) >= len(found) - 1  # the wrong content type has a right body
