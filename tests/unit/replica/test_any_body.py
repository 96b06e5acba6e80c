"""Whatever bytes come, a reader answers or refuses; and a row is the same alone as among others."""

import contextlib
import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serinus.errors import BadRequest, SerinusError
from serinus.replica.card import Column, ColumnType, Tensor
from serinus.replica.cells import all_instants, is_instant
from serinus.replica.envelope import FORMS, open_leniently
from serinus.replica.intake import ColumnIntake
from serinus.replica.params import Params
from serinus.replica.protocol import Format
from serinus.replica.tensor import TensorIntake

T = ColumnType
_NESTED = {
    "type": "object",
    "properties": {
        "a": {"type": "array", "items": {"type": "double"}, "required": True},
        "m": {"type": "map", "values": {"type": "string"}, "required": False},
    },
}
_PARAMS = Params(
    [
        {"name": "k", "type": "long", "default": 1, "shape": None},
        {"name": "many", "type": "double", "default": [1.0], "shape": [-1]},
    ]
)
SIMPLE = [Column(each.value, each) for each in T if each not in (T.NESTED, T.BINARY)]
INTAKES: dict[str, ColumnIntake | TensorIntake] = {
    "simple": ColumnIntake(SIMPLE, _PARAMS),
    "one": ColumnIntake([Column("x", T.DOUBLE)], _PARAMS),
    "nested": ColumnIntake(
        [
            Column("o", T.NESTED, nested=_NESTED),
            Column("b", T.BINARY),
            Column("n", T.NESTED, required=False, nested={"type": "any"}),
        ],
        _PARAMS,
    ),
    "tensor": TensorIntake([Tensor(None, "float32", (-1, 2))], _PARAMS),
    "tensors": TensorIntake(
        [Tensor("x", "int8", (-1,)), Tensor("y", "str", (-1, 2)), Tensor("z", "uint64", (1,))],
        _PARAMS,
    ),
}

_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["2013-01-31", "2012-02-29", "2013-02-29", "YWI=", "1\n2013-01-01", "x", "a"]),
)
_NAMES = st.sampled_from([column.name for column in SIMPLE] + ["x", "y", "o", "a", "m", "", '"'])
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)
_DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(FORMS, _VALUES),
        "params": _VALUES,
        "other": _VALUES,
    },
)


def _answers_or_refuses(name: str, body: bytes, format_: Format) -> None:
    intake = INTAKES[name]
    try:
        unit = intake.parse(body, format_)
    except SerinusError as error:
        refused = error
    else:
        assert intake.join([unit]) is not None
        return
    assert 400 <= refused.status < 500
    assert refused.message


@pytest.mark.parametrize("name", INTAKES)
@settings(deadline=None, max_examples=60)
@given(body=st.binary(max_size=200))
@example(body=b"\xef\xbb\xbf{}")
@example(body=b"[" * 5000)
@example(body=b'{"inputs": ' + b'{"x":' * 5000)
@example(body=b'{"inputs": {"x": ' + b"1" * 5000 + b"}}")
@example(body=b'{"dataframe_records": [{"x": "\\ud800"}]}')
@example(body=b"PAR1" + b"\x00" * 60 + b"PAR1")
def test_any_bytes(name: str, body: bytes) -> None:
    for format_ in Format:
        _answers_or_refuses(name, body, format_)


@pytest.mark.parametrize("name", INTAKES)
@settings(deadline=None, max_examples=60)
@given(document=_DOCUMENTS)
@example(document={"instances": [[3.4028235677973366e38, 1]]})
def test_any_json(name: str, document: Any) -> None:
    _answers_or_refuses(name, json.dumps(document).encode(), Format.JSON)


@pytest.mark.parametrize("name", INTAKES)
@settings(deadline=None, max_examples=40)
@given(lines=st.lists(st.lists(st.text(max_size=6), max_size=4), max_size=4))
def test_any_csv(name: str, lines: list[list[str]]) -> None:
    body = "\n".join(",".join(line) for line in lines).encode("utf-8", "surrogatepass")
    _answers_or_refuses(name, body, Format.CSV)


@settings(deadline=None, max_examples=100)
@given(body=st.binary(max_size=100) | _DOCUMENTS.map(lambda each: json.dumps(each).encode()))
@example(body=b"[" * 5000)
@example(body=b'{"inputs": {"x": ' + b"1" * 5000 + b"}}")
def test_mlflows_way_to_open_a_body_answers_or_refuses_too(body: bytes) -> None:
    with contextlib.suppress(BadRequest):
        assert open_leniently(body, lambda _field, _kind: None).form in FORMS


_RIGHT: dict[ColumnType, st.SearchStrategy[Any]] = {
    T.BOOLEAN: st.booleans(),
    T.INTEGER: st.integers(-(2**31), 2**31 - 1),
    T.LONG: st.integers(-(2**63), 2**63 - 1),
    T.FLOAT: st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False),
    T.DOUBLE: st.none() | st.floats(allow_nan=False, allow_infinity=False),
    T.STRING: st.none() | st.text(max_size=5),
    T.DATETIME: st.none()
    | st.datetimes(
        min_value=pd.Timestamp("1700-01-01").to_pydatetime(),
        max_value=pd.Timestamp("2259-12-31").to_pydatetime(),
    ).map(lambda each: each.isoformat()),
}
_ROWS = st.lists(st.tuples(*(_RIGHT[column.type] for column in SIMPLE)), min_size=1, max_size=20)


def _bodies(rows: list[Any]) -> dict[str, bytes]:
    names = [column.name for column in SIMPLE]
    records = [dict(zip(names, row, strict=True)) for row in rows]
    columns = {name: [row[at] for row in rows] for at, name in enumerate(names)}
    shuffled = [dict(reversed(record.items())) for record in records]
    documents: list[Any] = [
        {"dataframe_split": {"columns": names, "data": rows}},
        {"dataframe_split": {"columns": names[::-1], "data": [list(row)[::-1] for row in rows]}},
        {"dataframe_records": records},
        {"dataframe_records": shuffled},
        {"instances": records},
        {"inputs": columns},
        {"inputs": records},
        {"dataframe_records": records, "other": {"x": 1}},
    ]
    return {str(at): json.dumps(each).encode() for at, each in enumerate(documents)} | {
        "spaced": json.dumps(documents[0], separators=(" , ", " : "), indent=1).encode(),
        "not ascii": json.dumps(documents[2], ensure_ascii=False).encode("utf-8", "replace"),
    }


@settings(deadline=None, max_examples=60)
@given(rows=_ROWS)
def test_every_form_gives_the_same_frame_and_a_row_alone_what_it_has_among_others(
    rows: list[Any],
) -> None:
    intake = INTAKES["simple"]
    frames = {
        name: intake.join([intake.parse(body, Format.JSON)]) for name, body in _bodies(rows).items()
    }
    whole = frames["0"]
    for frame in frames.values():
        pd.testing.assert_frame_equal(frame, whole)
    alone = [intake.parse(_bodies([row])["2"], Format.JSON) for row in rows]
    assert len({unit.key for unit in alone}) == 1
    pd.testing.assert_frame_equal(intake.join(alone), whole)
    for at, unit in enumerate(alone):
        one = intake.join([unit])
        pd.testing.assert_frame_equal(one, whole.iloc[at : at + 1].reset_index(drop=True))
        assert (one.dtypes == whole.dtypes).all()
    # What is right is handed through in the same process, and is right as columns, too.
    assert intake.accept(whole) is whole
    columns = {name: whole[name].tolist() for name in whole.columns}
    pd.testing.assert_frame_equal(intake.accept(columns), whole)


@settings(deadline=None, max_examples=60)
@given(rows=_ROWS)
def test_values_come_out_as_they_went_in(rows: list[Any]) -> None:
    intake = INTAKES["simple"]
    frame = intake.join([intake.parse(_bodies(rows)["0"], Format.JSON)])
    for at, column in enumerate(SIMPLE):
        for sent, got in zip((row[at] for row in rows), frame[column.name], strict=True):
            if sent is None:
                assert pd.isna(got)
            elif column.type is T.DATETIME:
                assert got == pd.Timestamp(sent)
            else:
                assert got == sent


@settings(deadline=None, max_examples=30)
@given(rows=_ROWS)
def test_files_are_read_as_json_is(rows: list[Any]) -> None:
    import importlib

    intake = INTAKES["simple"]
    frame = intake.join([intake.parse(_bodies(rows)["0"], Format.JSON)])
    buffer = io.BytesIO()
    table = importlib.import_module("pyarrow").Table.from_pandas(frame, preserve_index=False)
    importlib.import_module("pyarrow.parquet").write_table(table, buffer)
    parquet = intake.join([intake.parse(buffer.getvalue(), Format.PARQUET)])
    pd.testing.assert_frame_equal(parquet, frame)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.lists(
            st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=2, max_size=2
        ),
        min_size=1,
        max_size=8,
    )
)
def test_tensors_come_out_as_they_went_in(rows: list[list[float]]) -> None:
    intake = INTAKES["tensor"]
    assert isinstance(intake, TensorIntake)
    want = np.array(rows, dtype=np.float32)
    for form in ("inputs", "instances"):
        unit = intake.parse(json.dumps({form: rows}).encode(), Format.JSON)
        np.testing.assert_array_equal(intake.join([unit]), want)
    alone = [intake.parse(json.dumps({"inputs": [row]}).encode(), Format.JSON) for row in rows]
    np.testing.assert_array_equal(intake.join(alone), want)
    np.testing.assert_array_equal(intake.accept(want), want)


@settings(deadline=None, max_examples=200)
@given(
    texts=st.lists(
        st.sampled_from(["2013-01-31T17:05:00", "2013-12-01 23:59:59", "1700-01-01T00:00:00"]),
        min_size=16,
        max_size=20,
    ),
    at=st.integers(0, 18),
    sign=st.sampled_from("0123456789-:T \n\0x\u0663"),
)
def test_many_times_are_judged_as_one_is(texts: list[str], at: int, sign: str) -> None:
    changed = texts[3][:at] + sign + texts[3][at + 1 :]
    assert all_instants(texts)
    # A leap day is left to the other way, which may say no for now.
    assert all_instants([*texts, changed]) == (is_instant(changed) and "-02-29" not in changed)
    assert not all_instants([*texts, texts[0] + "\n" + texts[0]])
    assert not all_instants([*texts, texts[0][:-1]])
    assert all_instants([*texts, texts[0] + ".5", texts[0][:10], None])
