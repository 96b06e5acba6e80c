"""What the readers refuse, count and hand through, beyond the cells of simple columns."""

import base64
import json
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serinus.errors import BadRequest
from serinus.replica.card import Column, ColumnType, Tensor
from serinus.replica.counts import Counts
from serinus.replica.intake import ColumnIntake
from serinus.replica.keys import all_differ, count_keys, find_doubled
from serinus.replica.params import Params
from serinus.replica.protocol import Format
from serinus.replica.tensor import TensorIntake

T = ColumnType


def _parse(intake: Any, document: Any) -> Any:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return intake.parse(body, Format.JSON)


def _joined(intake: Any, document: Any) -> Any:
    return intake.join([_parse(intake, document)])


# --- keys that are twice


TWICE = [
    (b'{"dataframe_records": [{"c": 1, "t": "a"}, {"c": 1, "c": 2, "t": "a"}]}', "c", 1),
    (b'{"dataframe_records": [{"c": 1, "\\u0063": 2, "t": "a"}]}', "c", 0),
    (b'{"instances": [{"t": "a", "c": 1, "c" : 1}]}', "c", 0),
    (b'{"inputs": {"c": [1], "t": ["a"], "t": ["b"]}}', "t", None),
    (
        b'{"dataframe_split": {"columns": ["c", "t"], "data": [[1, ":"]], "data":[[2, ""]]}}',
        "data",
        None,
    ),
    (
        b'{"dataframe_split": {"columns": ["c"], "columns": ["c", "t"], "data": [[1, ""]]}}',
        "columns",
        None,
    ),
    (b'{"inputs": {"c": [1], "t": ["a"]}, "params": {"k": 1}, "params": {"k": 2}}', "params", None),
    (b'{"inputs": {"c": [1], "t": ["a"]}, "params": {"k": 1, "k": 2}}', "k", None),
    (b'{"instances": [{"c": 1, "t": "a", "z": {"y": [{"w": 1, "w": 1}]}}]}', "w", None),
    (b'{"instances": [{"c": 1, "t": "\\": :", "c": 3}]}', "c", 0),
]


@pytest.mark.parametrize(("body", "key", "row"), TWICE)
@pytest.mark.parametrize("padding", [0, 5000], ids=["short", "long"])
def test_a_key_that_is_twice_is_refused_wherever_it_is(
    body: bytes, key: str, row: int | None, padding: int
) -> None:
    intake = ColumnIntake([Column("c", T.DOUBLE), Column("t", T.STRING)])
    with pytest.raises(BadRequest, match=f"has the key '{key}' twice") as refused:
        _parse(intake, body + b" " * padding)
    detail = refused.value.details[0]
    assert (detail["field"], detail.get("row")) == (key, row)
    assert detail["got"] == "the same key twice"


@pytest.mark.parametrize("text", ['a": 1, "a', "::", '":', '\\":', ' :"', "\\"])
@pytest.mark.parametrize("padding", [0, 5000])
def test_colons_and_quotes_in_texts_are_no_keys(text: str, padding: int) -> None:
    intake = ColumnIntake([Column("c", T.STRING), Column(text, T.STRING)])
    row = {"c": text, text: text + "x" * padding}
    for document in ({"dataframe_records": [row]}, {"inputs": {n: [v] for n, v in row.items()}}):
        assert _joined(intake, document).to_dict("records") == [row]


def test_counting_keys_never_takes_a_doubled_one_for_good() -> None:
    body = b'{"a": {"b": 1, "c": [{"d": "x:"}]}, "e" : 2}'
    assert count_keys(json.loads(body)) == 5
    assert not all_differ(body, 5)  # a space before a colon is a doubt,
    assert find_doubled(body) is None  # which a second look settles
    assert all_differ(body.replace(b" :", b":"), 5)


# --- bodies that are out of bounds


def test_a_million_columns_are_refused_within_seconds() -> None:
    intake = ColumnIntake([Column("c", T.DOUBLE)])
    names = [f"n{at}" for at in range(1_000_000)]
    once = {"dataframe_split": {"columns": names, "data": [[0] * len(names)]}}
    twice = {"dataframe_split": {"columns": ["c", "n", *names[:100_000], "n"], "data": []}}
    rows = [dict.fromkeys(names[at:200_000:100], 0) for at in range(100)]
    encoded = [json.dumps(body).encode() for body in (once, twice, {"dataframe_records": rows})]
    began = time.perf_counter()
    for body, words in zip(encoded, ("lacks", "more than once", "lacks"), strict=True):
        with pytest.raises(BadRequest, match=words):
            _parse(intake, body)
    assert time.perf_counter() - began < 20


def test_a_text_of_megabytes_is_not_repeated_in_the_refusal() -> None:
    intake = ColumnIntake([Column("c", T.DOUBLE)])
    with pytest.raises(BadRequest) as refused:
        _parse(intake, {"inputs": {"c": ["x" * 4_000_000]}})
    assert len(refused.value.message) < 300


def test_a_small_parquet_file_of_many_rows_is_refused_before_it_is_unpacked() -> None:
    import importlib
    import io

    arrow, parquet = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    buffer = io.BytesIO()
    parquet.write_table(arrow.table({"c": arrow.array(np.zeros(9_000_000, np.int8))}), buffer)
    assert len(buffer.getvalue()) < 100_000
    intake = ColumnIntake([Column("c", T.LONG)])
    with pytest.raises(Exception, match="has 9000000 rows") as refused:
        intake.parse(buffer.getvalue(), Format.PARQUET)
    assert getattr(refused.value, "status", 0) == 413


@pytest.mark.parametrize(
    ("text", "right"),
    [("7", 7), ("+7", 7), ("7.0", 7), ("7e0", 7), ("1_000", None), ("\u0667", None), (" 7", None)],
)
def test_numbers_in_csv_are_those_of_csv(text: str, right: int | None) -> None:
    intake = ColumnIntake([Column("c", T.LONG)])
    body = f"c\n{text}\n".encode()
    if right is None:
        with pytest.raises(BadRequest, match="Row 0, column 'c'"):
            intake.parse(body, Format.CSV)
    else:
        assert intake.join([intake.parse(body, Format.CSV)])["c"].tolist() == [right]


def test_an_empty_line_in_csv_would_move_every_later_answer() -> None:
    intake = ColumnIntake([Column("c", T.STRING)])
    with pytest.raises(BadRequest, match="Row 1 is an empty line"):
        intake.parse(b"c\na\n\nb\n", Format.CSV)
    frame = intake.join([intake.parse(b'c\na\n""\nb\n\n\n', Format.CSV)])
    assert frame["c"].isna().tolist() == [False, True, False]


# --- other types


def test_bytes_are_base64_to_the_letter() -> None:
    intake = ColumnIntake([Column("c", T.BINARY)])
    lines = base64.encodebytes(bytes(range(100))).decode()
    frame = _joined(intake, {"inputs": {"c": ["YWI=", lines, ""]}})
    assert frame["c"].tolist() == [b"ab", bytes(range(100)), b""]
    for wrong in ("YWI", "YW=I", "é", 5, None):
        with pytest.raises(BadRequest, match=r"expected base64 text"):
            _parse(intake, {"inputs": {"c": ["YWI=", wrong]}})


NESTED = {
    "type": "object",
    "properties": {
        "a": {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        "t": {"type": "array", "items": {"type": "datetime"}, "required": False},
    },
}


def test_nested_values_are_checked_leaf_by_leaf_and_named_by_their_path() -> None:
    intake = ColumnIntake([Column("o", T.NESTED, nested=NESTED)])
    good = {"a": [[1, 2.0], []], "t": ["2013-01-01"]}
    value = _joined(intake, {"inputs": [{"o": good}]})["o"][0]
    assert value["a"][0].dtype == np.int32
    assert value["a"][0].tolist() == [1, 2]
    assert value["t"] == [np.datetime64("2013-01-01", "ns")]
    for wrong, words in (
        ({"a": [[1], [2, 2.5]]}, r"Row 1, column 'o.a\[1\]\[1\]': expected a whole number .* 2.5"),
        ({"a": [[1], 2]}, r"column 'o.a\[1\]': expected an array, got 2"),
        ({"a": [[None]]}, r"column 'o.a\[0\]\[0\]': expected a whole number .* got null"),
        ({"a": [], "t": ["01/02/2013"]}, r"column 'o.t\[0\]': expected an ISO 8601"),
        ({}, r"column 'o.a': expected a value, got nothing"),
        ({"a": [], "z": 1}, r"column 'o.z': expected nothing but a, t"),
        (None, r"column 'o': expected an object, got null"),
    ):
        with pytest.raises(BadRequest, match=words):
            _parse(intake, {"dataframe_records": [{"o": good}, {"o": wrong}]})


def test_tensors_have_shape_and_type_and_share_batches() -> None:
    intake = TensorIntake([Tensor("x", "int8", (-1, 2, 2)), Tensor("s", "str", (-1,))])
    flat = {"dataframe_records": [{"x": [1, 2, 3, 4], "s": "a"}]}
    units = [
        _parse(intake, {"inputs": {"x": [[[1, 2], [3, 4]]], "s": ["b"]}}),
        _parse(intake, {"instances": [{"x": [[5, 6], [7, 8]], "s": "c"}]}),
        _parse(intake, flat),
    ]
    assert len({unit.key for unit in units}) == 1
    together = intake.join(units)
    assert together["x"].dtype == np.int8
    assert together["x"].tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]], [[1, 2], [3, 4]]]
    assert together["s"].tolist() == ["b", "c", "a"]
    for x, words in (
        ([[[1, 2], [3, 128]]], r"x\[0\]\[1\]\[1\]: expected a whole number \(int8\), got 128"),
        ([[[1, 2]]], r"x: expected an array of shape \(any, 2, 2\), got one of shape \(1, 1, 2\)"),
        ([[[1, 2], [3]]], "arrays of different lengths"),
        ([[[1, 2], [3, True]]], "got true"),
        (None, "one value where an array belongs"),
    ):
        with pytest.raises(BadRequest, match=words):
            _parse(intake, {"inputs": {"x": x, "s": ["b"]}})
    with pytest.raises(BadRequest, match="lacks the input 's'"):
        _parse(intake, {"inputs": {"x": [[[1, 2], [3, 4]]]}})
    with pytest.raises(BadRequest, match=r"s\[0\]: expected a string .* got null"):
        _parse(intake, {"inputs": {"x": [[[1, 2], [3, 4]]], "s": [None]}})


def test_params_are_of_their_type_and_unknown_ones_are_counted() -> None:
    declared: list[dict[str, Any]] = [
        {"name": "k", "type": "long", "default": 1, "shape": None},
        {"name": "many", "type": "double", "default": [1.0], "shape": [-1]},
        {
            "name": "o",
            "type": "object",
            "properties": {"a": {"type": "long", "required": True}},
            "default": {"a": 1},
            "shape": None,
        },
    ]
    intake = ColumnIntake([Column("c", T.DOUBLE)], Params(declared))
    good = {"k": 2.0, "many": [1, 2.5], "o": {"a": 1}, "other": "x"}
    unit = _parse(intake, {"inputs": {"c": [1]}, "params": good})
    assert unit.params == {"k": 2, "many": [1.0, 2.5], "o": {"a": 1}}
    assert dict(intake.counts) == {("params.other", "unknown param"): 1}
    for params, words in (
        ({"k": True}, "Param 'k': expected a whole number .* got true"),
        ({"many": 1.5}, "Param 'many': expected an array"),
        ({"many": ["1"]}, "Param 'many': expected a number"),
        ({"o": {"a": 1.5}}, r"Param 'o.a': expected a whole number"),
    ):
        with pytest.raises(BadRequest, match=words) as refused:
            _parse(intake, {"inputs": {"c": [1]}, "params": params})
        assert str(refused.value.details[0]["field"]).startswith("params.")


# --- the same process


FRAME = pd.DataFrame(
    {
        "d": [1.5, None],
        "l": [1, 2],
        "s": ["a", None],
        "b": [True, False],
        "t": pd.to_datetime(["2013-01-01", None]).astype("datetime64[ns]"),
    }
)
COLUMNS = [
    Column("d", T.DOUBLE),
    Column("l", T.LONG),
    Column("s", T.STRING),
    Column("b", T.BOOLEAN),
    Column("t", T.DATETIME),
]


def test_a_frame_of_the_right_types_is_handed_through_as_it_is() -> None:
    intake = ColumnIntake(COLUMNS)
    for _ in range(2):
        assert intake.accept(FRAME) is FRAME
    pd.testing.assert_frame_equal(intake.accept(FRAME[["t", "b", "s", "l", "d"]]), FRAME)
    pd.testing.assert_frame_equal(intake.accept(FRAME.assign(z=1)), FRAME)
    assert dict(intake.counts) == {("z", "extra column"): 1}


@pytest.mark.parametrize(
    "change",
    [
        {"d": [1, 2]},
        {"d": np.array([1.5, 2], np.float32)},
        {"l": [1.0, 2.0]},
        {"l": pd.array([1, 2], dtype="Int64")},
        {"s": np.array(["a", None], dtype=object)},
        {"b": np.array([True, False], dtype=object)},
        {"t": pd.to_datetime(["2013-01-01", None]).astype("datetime64[s]")},
        {"t": np.array([pd.Timestamp("2013-01-01 00:00:00.123456789"), pd.NaT], dtype=object)},
    ],
    ids=str,
)
def test_a_frame_that_loses_nothing_becomes_one_of_the_right_types(change: dict[str, Any]) -> None:
    intake = ColumnIntake(COLUMNS)
    given = FRAME.assign(**change)
    got = intake.accept(given)
    assert (got.dtypes == FRAME.dtypes).all()
    for name in change:
        for before, after in zip(given[name], got[name], strict=True):
            assert (pd.isna(before) and pd.isna(after)) or before == after


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"d": ["1.5", "2"]}, "Row 0, column 'd': expected a number .* got the string"),
        ({"d": [2**53 + 1, 2]}, "Row 0, .* got 9007199254740993, .* write 9007199254740992.0 if"),
        ({"l": [1.0, 2.5]}, "Row 1, column 'l': .* got 2.5"),
        ({"l": [1.0, None]}, "Row 1, column 'l': .* got null"),
        ({"l": pd.array([1, None], dtype="Int64")}, "Row 1, column 'l': .* got null"),
        ({"s": [1, 2]}, "Row 0, column 's': .* got 1"),
        ({"b": [1, 0]}, "Row 0, column 'b': .* got 1"),
        ({"b": np.array([True, None], dtype=object)}, "Row 1, column 'b': .* got null"),
        ({"t": [0, 1]}, "Row 0, column 't': .* got 0"),
        ({"t": pd.to_datetime(["2013-01-01T00:00Z"] * 2)}, "Row 0, column 't': .* got the string"),
    ],
    ids=str,
)
def test_a_frame_that_would_be_changed_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        ColumnIntake(COLUMNS).accept(FRAME.assign(**change))


def test_what_is_no_table_is_refused() -> None:
    intake = ColumnIntake(COLUMNS)
    twice = pd.concat([FRAME, FRAME[["d"]]], axis=1)
    for wrong, words in (
        (5, "takes a data frame or a mapping of columns, not int"),
        ({"d": 5}, "sequence of cells"),
        ({"d": [1], "l": [1, 2]}, "have 1 and 2 cells"),
        (FRAME[["d"]], "lacks the columns 'l', 's', 'b', 't'"),
        (FRAME.iloc[:0], "no rows"),
        (twice, "names the column 'd' more than once"),
    ):
        with pytest.raises(BadRequest, match=words):
            intake.accept(wrong)


# --- counting


def test_counts_tell_so_many_fields_apart_and_no_more() -> None:
    counts = Counts()
    for at in range(3000):
        counts.add(f"f{at}", "null")
    counts.add("x" * 5000, "string")
    assert counts[("f7", "null")] == 1
    assert counts[("*", "null")] == 2000
    assert len(counts) < 1010
    assert counts.total() == 3001
    assert counts.total("string") == 1
    assert counts[("nobody", "null")] == 0


COERCED: list[tuple[dict[str, Any], str, str]] = [
    ({"b": "false"}, "b", "string"),
    ({"b": None}, "b", "null"),
    ({"l": 100.7}, "l", "fraction"),
    ({"l": 2**63}, "l", "overflow"),
    ({"t": 1357000000000}, "t", "number"),
    ({"t": "01/02/2013"}, "t", "format"),
    ({"d": "10.5"}, "d", "string"),
    ({"d": 2**53 + 1}, "d", "inexact"),
    ({"s": 5}, "s", "number"),
    ({"z": 1}, "z", "extra column"),
]


def test_mlflows_way_lets_pass_what_it_does_and_counts_it() -> None:
    from mlflow.types.schema import ColSpec, Schema

    from serinus.replica.audit import Audit
    from serinus.replica.foreign import ForeignIntake

    good = {"d": 1.5, "l": 7, "s": "a", "b": True, "t": "2013-01-01T05:00:00"}
    schema = Schema([ColSpec(column.type.value, column.name) for column in COLUMNS])
    intake = ForeignIntake(schema, hinted=False, audit=Audit(ColumnIntake(COLUMNS)))
    assert intake.parse(json.dumps({"dataframe_records": [good] * 3}).encode(), Format.JSON).rows
    assert not intake.counts
    for change, field, kind in COERCED:
        before = intake.counts[(field, kind)]
        _parse(intake, {"dataframe_records": [{**good, **change}]})
        assert intake.counts[(field, kind)] == before + 1, (field, kind)
    assert intake.counts.total() == len(COERCED)
    frame = _joined(intake, {"dataframe_records": [{**good, "b": "false", "l": 100.7}]})
    assert (frame["b"].tolist(), frame["l"].tolist()) == ([True], [100])
    body = json.dumps({"dataframe_records": [good]})
    _parse(intake, body.replace("1.5", 'NaN, "d": -Infinity').encode())
    assert intake.counts[("*", "nan")] == intake.counts[("*", "infinity")] == 1
    assert intake.counts[("d", "twice")] == 1
    for broken in (b"{", b"[1]", b"[" * 100_000, b'{"dataframe_records": 5}', b"\xff"):
        with pytest.raises(BadRequest):
            _parse(intake, broken)
    intake.parse(
        b"d,l,s,b,t\n1.5,7,a,1,x\n".replace(b",t\n", b"\n").replace(b",x\n", b"\n"), Format.CSV
    )
    assert intake.counts[("b", "string")] == 3


def test_mlflows_way_counts_tensors_by_the_first_element_that_does_not_fit() -> None:
    from mlflow.types.schema import Schema, TensorSpec

    from serinus.replica.audit import Audit
    from serinus.replica.foreign import ForeignIntake

    schema = Schema([TensorSpec(np.dtype("int64"), (-1,), "x")])
    strict = TensorIntake([Tensor("x", "int64", (-1,))])
    intake = ForeignIntake(schema, hinted=False, audit=Audit(strict))
    assert _joined(intake, {"inputs": {"x": [1.5, 2]}})["x"].tolist() == [1, 2]
    assert dict(intake.counts) == {("x", "element"): 1}
