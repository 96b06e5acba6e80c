"""What each type of column takes and refuses, alike in every form of request."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serinus.errors import BadRequest, UnsupportedMediaType
from serinus.replica.card import Column, ColumnType
from serinus.replica.cells import WIRE
from serinus.replica.intake import ColumnIntake
from serinus.replica.params import Params
from serinus.replica.protocol import Format
from serinus.replica.unit import Unit

T = ColumnType


def _intake(*types: ColumnType, optional: int = 0) -> ColumnIntake:
    last = len(types) - optional
    return ColumnIntake([Column(f"c{at}", type_, at < last) for at, type_ in enumerate(types)])


def _parse(intake: ColumnIntake, body: Any) -> Unit:
    return intake.parse(body if isinstance(body, bytes) else json.dumps(body).encode(), Format.JSON)


def _frame(intake: ColumnIntake, body: Any) -> pd.DataFrame:
    return intake.join([_parse(intake, body)])


def _forms(cell: Any) -> dict[str, Any]:
    """One row of one cell in every form of request."""
    return {
        "split": {"dataframe_split": {"columns": ["c0"], "data": [[cell]]}},
        "split, the long way": {
            "dataframe_split": {"columns": ["c0"], "data": [[cell]]},
            "usage_context": {"who": "test"},
        },
        "records": {"dataframe_records": [{"c0": cell}]},
        "instances": {"instances": [{"c0": cell}]},
        "inputs by column": {"inputs": {"c0": [cell]}},
        "inputs by row": {"inputs": [{"c0": cell}]},
    }


INSTANT = "2013-01-31T17:05:00"
GOOD = [
    (T.BOOLEAN, True, True),
    (T.BOOLEAN, False, False),
    (T.INTEGER, -(2**31), -(2**31)),
    (T.INTEGER, 5.0, 5),
    (T.LONG, 2**63 - 1, 2**63 - 1),
    (T.LONG, -(2**63), -(2**63)),
    (T.FLOAT, 1.5, 1.5),
    (T.FLOAT, None, None),
    (T.DOUBLE, 10, 10.0),
    (T.DOUBLE, -0.5, -0.5),
    (T.DOUBLE, None, None),
    (T.STRING, "AA", "AA"),
    (T.STRING, "", ""),
    (T.STRING, "2013", "2013"),
    (T.STRING, None, None),
    (T.DATETIME, INSTANT, pd.Timestamp(INSTANT)),
    (T.DATETIME, "2013-01-31 17:05", pd.Timestamp("2013-01-31 17:05")),
    (T.DATETIME, "2013-01-31", pd.Timestamp("2013-01-31")),
    (T.DATETIME, INSTANT + ".123456789", pd.Timestamp(INSTANT + ".123456789")),
    (T.DATETIME, None, None),
]
DTYPES = {
    T.BOOLEAN: "bool",
    T.INTEGER: "int32",
    T.LONG: "int64",
    T.FLOAT: "float32",
    T.DOUBLE: "float64",
    T.DATETIME: "datetime64[ns]",
}


@pytest.mark.parametrize("form", _forms(0))
@pytest.mark.parametrize(("type_", "cell", "value"), GOOD)
def test_right_cells_arrive_with_their_value_and_type(
    form: str, type_: ColumnType, cell: Any, value: Any
) -> None:
    frame = _frame(_intake(type_), _forms(cell)[form])
    assert list(frame.columns) == ["c0"]
    if type_ is not T.STRING:
        assert str(frame.dtypes["c0"]) == DTYPES[type_]
    got = frame["c0"].iloc[0]
    assert pd.isna(got) if value is None else got == value


BAD = [
    (T.BOOLEAN, "false", 'got the string "false"'),
    (T.BOOLEAN, None, "got null"),
    (T.BOOLEAN, 1, "got 1"),
    (T.INTEGER, 2**31, "got 2147483648"),
    (T.INTEGER, True, "got true"),
    (T.INTEGER, None, "got null"),
    (T.LONG, 100.7, "got 100.7"),
    (T.LONG, 2**63, "got 9223372036854775808"),
    (T.LONG, None, "got null"),
    (T.LONG, "7", 'got the string "7"'),
    (T.LONG, 1e300, "got 1e+300"),
    (T.FLOAT, 1e39, "got 1e+39"),
    (T.FLOAT, "1", 'got the string "1"'),
    (T.DOUBLE, "10.5", 'got the string "10.5"'),
    (T.DOUBLE, True, "got true"),
    (T.DOUBLE, [1.0], "got an array"),
    (T.DOUBLE, {"a": 1}, "got an object"),
    (T.STRING, 5, "got 5"),
    (T.STRING, 5.5, "got 5.5"),
    (T.STRING, True, "got true"),
    (T.DATETIME, 1357000000000, "got 1357000000000"),
    (T.DATETIME, "01/02/2013", 'got the string "01/02/2013"'),
    (T.DATETIME, "2013-02-31", 'got the string "2013-02-31"'),
    (T.DATETIME, "2013-01-31T17:05:00Z", "got the string"),
    (T.DATETIME, "2013-01-31T17:05:00+02:00", "got the string"),
    (T.DATETIME, "9999-12-31", "got the string"),
    (T.DATETIME, "now", 'got the string "now"'),
    (T.DATETIME, "", 'got the string ""'),
]


@pytest.mark.parametrize("form", _forms(0))
@pytest.mark.parametrize(("type_", "cell", "got"), BAD)
def test_wrong_cells_are_refused_with_row_field_and_value(
    form: str, type_: ColumnType, cell: Any, got: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        _parse(_intake(type_), _forms(cell)[form])
    message = refused.value.message
    assert message.startswith("Row 0, column 'c0': expected ")
    assert got in message
    assert refused.value.details[0]["field"] == "c0"


def test_the_row_that_is_wrong_is_the_row_that_is_named() -> None:
    body = {"dataframe_split": {"columns": ["c0", "c1"], "data": [[1, 2], [3, 4], [5, None]]}}
    with pytest.raises(BadRequest, match=r"Row 2, column 'c1': .* got null"):
        _parse(_intake(T.LONG, T.LONG), body)


def _split(columns: list[Any], data: list[Any], **more: Any) -> dict[str, Any]:
    return {"dataframe_split": {"columns": columns, "data": data, **more}}


BROKEN = [
    (b"", "can't be read as JSON"),
    (b"not json", "can't be read as JSON"),
    (b'{"instances": [NaN]}', "can't be read as JSON"),
    (b'{"dataframe_split": {"columns": ["c0", "c1"], "data": [[1, Infinity]]}}', "as JSON"),
    (b'{"inputs": "\xff"}', "as JSON"),
    (b'{"inputs": {"c0": [1e400], "c1": [1]}}', "as JSON"),
    (b"[1]", "but it is an array"),
    (b'"text"', "but it is a string"),
    (b"3", "but it is a number"),
    (b"null", "but it is null"),
    ({}, "it has none of them"),
    ({"data": [1]}, "it has none of them, only 'data'."),
    ({"a": 1, "b": 1, "x" * 99: 1, "d": 1}, f"only 'a', 'b', '{'x' * 57}...' and others."),
    ({"instances": [], "inputs": []}, "has 'instances' and 'inputs'"),
    ({**_split(["c0", "c1"], [[1, 2]]), "inputs": {}}, "has 'dataframe_split' and 'inputs'"),
    ({**_split(["c0", "c1"], [[1, 2]]), "params": [1]}, "'params' must be an object"),
    (_split(["c0"], [[1]]), "lacks the column 'c1'"),
    (_split([], [[]]), "lacks the columns 'c0', 'c1'"),
    (_split(["c0", "c1"], [[1, 2], [3]]), "Row 1 has 1 cells for 2 columns"),
    (_split(["c0", "c1"], [[1, 2, 3]]), "Row 0 has 3 cells for 2 columns"),
    (_split(["c0", "c1"], []), "no rows"),
    (_split(["c0", "c1", "c1"], [[1, 2, 3]]), "names 'c1' more than once"),
    (_split(["c0", 1], [[1, 2]]), "array of strings"),
    (_split(["c0", "c1"], [{"c0": 1}]), "Row 0 of 'dataframe_split' must be an array"),
    (_split(["c0", "c1"], [[1, 2]], index=[1, 2]), "'index' of 'dataframe_split'"),
    (_split(["c0", "c1"], [[1, 2]], rows=1), "it has 'rows' too"),
    ({"dataframe_split": {"data": [[1, 2]]}}, "must have the arrays 'columns' and 'data'"),
    ({"dataframe_split": [[1, 2]]}, "must be an object"),
    ({"dataframe_records": {"c0": 1}}, "must be an array of objects"),
    ({"dataframe_records": []}, "no rows"),
    ({"dataframe_records": [{"c0": 1}]}, "lacks the column 'c1'"),
    ({"instances": [[1, 2]]}, "must name its columns"),
    ({"instances": [{"c0": 1, "c1": 2}, {"c0": 1}]}, "Row 1 of 'instances' lacks the field 'c1'"),
    ({"inputs": {"c0": [1, 2], "c1": [1]}}, "has 1 cells where others have 2"),
    ({"inputs": {"c0": [1, 2], "c1": 1}}, "column 'c1' is a single one"),
    ({"inputs": 3}, "must name its columns"),
]


@pytest.mark.parametrize(("body", "words"), BROKEN)
def test_broken_requests_are_refused_with_a_sentence(body: Any, words: str) -> None:
    with pytest.raises(BadRequest) as refused:
        _parse(_intake(T.DOUBLE, T.DOUBLE), body)
    assert words in refused.value.message
    assert refused.value.message.endswith(".")


@pytest.mark.parametrize("depth", [65, 1000, 200_000])
@pytest.mark.parametrize("field", ["inputs", "params", "client_request_id", "else"])
def test_deep_nesting_is_refused_wherever_it_is(depth: int, field: str) -> None:
    good = b'"dataframe_split": {"columns": ["c0"], "data": [[1]]}'
    nested = b"[" * depth + b"]" * depth
    body = b"{" + good + b', "' + field.encode() + b'": ' + nested + b"}"
    with pytest.raises(BadRequest, match="deeper than 64"):
        _parse(_intake(T.DOUBLE), body)


def test_columns_come_in_any_order_and_extra_ones_are_dropped_and_counted() -> None:
    intake = _intake(T.DOUBLE, T.STRING)
    body = _split(["extra", "c1", "c0"], [[{"deep": 1}, "b", 1.0], [None, "d", 2.0]])
    for form in (body, _split(["extra", "c1", "c0"], [["x", "b", 1.0], ["y", "d", 2.0]])):
        frame = _frame(intake, form)
        assert frame.to_dict("list") == {"c0": [1.0, 2.0], "c1": ["b", "d"]}
    assert dict(intake.counts) == {("extra", "extra column"): 2}
    assert _parse(intake, {"dataframe_records": [{"c0": 1, "c1": "x", "y": 1, "z": 2}]}).extra == 2


def test_an_absent_optional_column_stays_absent() -> None:
    intake = _intake(T.DOUBLE, T.STRING, optional=1)
    short, whole = (
        _parse(intake, _split(["c0"], [[1]])),
        _parse(intake, _split(["c0", "c1"], [[1, "a"]])),
    )
    assert list(intake.join([short]).columns) == ["c0"]
    assert list(intake.join([whole]).columns) == ["c0", "c1"]
    assert short.key != whole.key


def test_many_requests_become_one_frame_in_their_order() -> None:
    intake = _intake(T.DOUBLE, T.LONG, T.STRING, T.BOOLEAN, T.DATETIME)
    names = [f"c{at}" for at in range(5)]
    bodies = [
        _split(names, [[0.5, 1, "a", True, "2013-01-01"]]),
        _split(names, [[None, 2, "b", False, None], [2.5, 3, None, True, "2014-01-01"]]),
        _split(names[::-1], [["2015-01-01", False, "c", 4, 3.5]]),
    ]
    units = [_parse(intake, body) for body in bodies]
    assert len({unit.key for unit in units}) == 1
    together = intake.join(units)
    alone = pd.concat([intake.join([unit]) for unit in units], ignore_index=True)
    pd.testing.assert_frame_equal(together, alone)
    assert together["c1"].tolist() == [1, 2, 3, 4]


def test_a_missing_text_is_the_same_thing_alone_as_beside_others() -> None:
    intake = _intake(T.STRING)
    units = [_parse(intake, _split(["c0"], [[cell]])) for cell in (None, "a")]
    assert units[0].key == units[1].key
    alone, together = intake.join(units[:1]), intake.join(units)
    assert alone["c0"].dtype == together["c0"].dtype == pd.Series(["a", None]).dtype
    missing = pd.Series(["a", None])[1]
    assert type(alone["c0"][0]) is type(together["c0"][0]) is type(missing)


def test_params_are_part_of_what_may_share_a_batch() -> None:
    declared = [{"name": name, "type": "long", "default": 0} for name in ("a", "b")]
    intake = ColumnIntake([Column("c0", T.DOUBLE)], Params(declared))
    keys = [
        _parse(intake, {**_split(["c0"], [[1]]), "params": params}).key
        for params in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2}, None, {})
    ]
    assert keys[0] == keys[1]
    assert keys[3] == keys[4]
    assert len(set(keys)) == 3


def test_csv_ends_in_the_same_strict_check() -> None:
    intake = _intake(T.DOUBLE, T.STRING, T.BOOLEAN, T.LONG, T.DATETIME)
    body = b'c1,c0,c2,c3,c4,x\r\n"a,b",1.5,true,7,2013-01-01 05:00,1\r\n,,False,8,,2\r\n'
    frame = intake.join([intake.parse(body, Format.CSV)])
    assert frame["c0"].tolist()[0] == 1.5
    assert np.isnan(frame["c0"].tolist()[1])
    assert frame["c1"].tolist()[0] == "a,b"
    assert frame["c2"].tolist() == [True, False]
    assert frame["c3"].tolist() == [7, 8]
    assert dict(intake.counts) == {("x", "extra column"): 1}
    for bad, words in (
        (b"", "header"),
        (b"c0\n1\n", "lacks the columns"),
        (body.replace(b"true", b"maybe"), "Row 0, column 'c2'"),
        (body.replace(b",7,", b",7.5,"), "Row 0, column 'c3'"),
        (body + b"1,2\r\n", "Row 2 has 2 cells for 6 columns"),
        (b"\xff\xfe", "not UTF-8"),
        (b"c0,c0\n1,2\n", "more than once"),
    ):
        with pytest.raises(BadRequest, match=words):
            intake.parse(bad, Format.CSV)


def test_a_format_that_is_not_read_is_named() -> None:
    with pytest.raises(UnsupportedMediaType):
        _intake(T.DOUBLE).parse(b"x", Format.TEXT)


CELLS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["a", "", "true", "1.5", INSTANT, "2013-02-30", "2013-01-01 00:00"]),
    st.just([1]),
)


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(WIRE, key=str)), min_size=1, max_size=3), st.data())
@example([T.FLOAT], None)
def test_the_quick_way_and_the_long_way_agree(types: list[ColumnType], data: Any) -> None:
    rows = (
        [[3.5e38]]
        if data is None
        else data.draw(st.lists(st.tuples(*[CELLS] * len(types)), min_size=1, max_size=3))
    )
    body = _split([f"c{at}" for at in range(len(types))], [list(row) for row in rows])
    outcomes: list[Any] = []
    for request in (body, {**body, "else": 1}):
        intake = _intake(*types)
        try:
            outcomes.append(_frame(intake, request))
        except BadRequest as refused:
            outcomes.append(refused.message)
    if isinstance(outcomes[0], str):
        assert outcomes[0] == outcomes[1]
    else:
        pd.testing.assert_frame_equal(*outcomes)
