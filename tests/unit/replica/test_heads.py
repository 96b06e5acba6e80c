"""Requests that begin as one before them are read by their rows alone, and mean the very same."""

import json
from typing import Any

import pytest

from serinus.errors import SerinusError
from serinus.replica.card import Column, ColumnType
from serinus.replica.heads import Heads
from serinus.replica.intake import ColumnIntake
from serinus.replica.protocol import Format
from serinus.replica.quick import QuickDecoder

COLUMNS = [Column("a", ColumnType.DOUBLE), Column("b", ColumnType.STRING)]


def split(rows: list[list[Any]], **more: Any) -> dict[str, Any]:
    return {"dataframe_split": {"columns": ["a", "b"], "data": rows}, **more}


def warm(*bodies: Any) -> QuickDecoder:
    decoder = QuickDecoder(COLUMNS)
    for body in bodies:
        assert decoder.decode(json.dumps(body).encode()) is not None
    return decoder


def read(intake: ColumnIntake, body: bytes) -> Any:
    """The rows and parameters of a request, or what is wrong with it."""
    try:
        unit = intake.parse(body, Format.JSON)
    except SerinusError as error:
        return error.message
    return unit.data.cells, unit.params, unit.extra


#: What comes after a beginning that is known, good and bad.
RESTS = [
    b'[[1.5,"x"]]}}',
    b'[[1.5,"x"],[2,null]]}}',
    b' [[1e3,"\\u00e9\\"data\\":"]] }}',
    b'[[1.5,"x"]]} }',
    b"[]}}",
    b'[[1.5,"x"]],"index":[7]}}',
    b'[[1.5,"x"]],"index":[7,8]}}',
    b'[[1.5,"x"]],"data":[[2.5,"y"]]}}',
    b'[[1.5,"x"]]},"params":{"data":[[2.5,"y"]]}}',
    b'[[1.5,"x"]]},"params":{}}',
    b'[[1.5,"x"]]},"client_request_id":"}}',
    b'[["x",1.5]]}}',
    b"[[1.5]]}}",
    b'[[1.5,"x"]]}}}',
    b'[[1.5,"x"]]]}',
    b'[[1.5,"x"]] }',
    b'[[1.5,"x"]]}}\n',
    b'[[1.5,"\xff"]]}}',
    b'[[1.5,"x"}}',
]


@pytest.mark.parametrize("rest", RESTS)
@pytest.mark.parametrize("extra", [{}, {"index": [0]}])
def test_a_known_beginning_changes_no_meaning(rest: bytes, extra: dict[str, Any]) -> None:
    frame = {**extra, "columns": ["a", "b"], "data": [[1.0, "w"]]}
    first = json.dumps({"dataframe_split": frame}, separators=(",", ":")).encode()
    known = ColumnIntake(COLUMNS)
    assert read(known, first) == ([(1.0, "w")], None, 0)
    body = first[: first.index(b"[[")] + rest
    assert read(known, body) == read(ColumnIntake(COLUMNS), body)


def test_it_is_used_for_the_second_request() -> None:
    heads, bodies = Heads(), [json.dumps(split([[at, "x"]])).encode() for at in range(2)]
    decoder = QuickDecoder(COLUMNS)._last.rows
    assert heads.rows(bodies[0]) is None
    heads.learn(bodies[0], "it", decoder, None)
    assert heads.rows(bodies[1]) == ("it", [(1.0, "x")])


def test_another_order_of_columns_stays_in_its_order() -> None:
    turned = {"dataframe_split": {"columns": ["b", "more", "a"], "data": [["x", 0, 1.5]]}}
    decoder = warm(split([[2.5, "y"]]), turned, split([[2.5, "y"]]), turned)
    found = decoder.decode(json.dumps(turned).encode())
    assert found is not None
    assert found.rows == [(1.5, "x")]
    assert found.strangers == ("more",)


def test_the_same_beginning_again_and_again_is_read_as_at_first() -> None:
    turned = {"dataframe_split": {"columns": ["b", "more", "a"], "data": [["x", 0, 1.5]]}}
    intake = ColumnIntake(COLUMNS)
    for asked in (split([[2.5, "y"]]), turned, turned, turned, split([[2.5, "y"]])):
        wanted = [(1.5, "x")] if asked is turned else [(2.5, "y")]
        found = read(intake, json.dumps(asked).encode())
        assert found == (wanted, None, 1 if asked is turned else 0)


def test_texts_that_are_to_be_instants_are_looked_at_each_time() -> None:
    intake = ColumnIntake([Column("at", ColumnType.DATETIME)])
    texts = ["2013-01-31T17:05:00", "2013-01-31T17:05:00", "2013-02-31T17:05:00"]
    bodies = [{"dataframe_split": {"columns": ["at"], "data": [[text]]}} for text in texts]
    *good, bad = [read(intake, json.dumps(body).encode()) for body in bodies]
    assert good == [([(texts[0],)], None, 0)] * 2
    assert "Row 0, column 'at'" in bad


def test_columns_named_as_the_parts_of_a_request() -> None:
    names = ["data", "columns", "index", '"data":']
    columns = [Column(name, ColumnType.DOUBLE) for name in names]
    intake = ColumnIntake(columns)
    for at in range(3):
        frame = {"columns": names, "data": [[at, 1, 2, 3]]}
        body = json.dumps({"dataframe_split": frame}).encode()
        assert read(intake, body) == ([(at, 1.0, 2.0, 3.0)], None, 0)


def test_a_parameter_named_as_the_rows_are_is_not_taken_for_them() -> None:
    asked = {"params": {"data": 1}, **split([[1.5, "x"]])}
    decoder = warm(asked, asked)
    found = decoder.decode(json.dumps(asked).encode())
    assert found is not None
    assert (found.rows, found.params) == ([(1.5, "x")], {"data": 1})


def test_names_after_the_rows_are_not_remembered() -> None:
    heads = Heads()
    body = b'{"dataframe_split":{"data":[[1.5,"x"]],"columns":["a","b"]}}'
    heads.learn(body, "it", QuickDecoder(COLUMNS)._last.rows, None)
    assert not heads._known


def test_no_more_are_kept_than_a_bound() -> None:
    heads, decoder = Heads(), QuickDecoder(COLUMNS)._last.rows
    for at in range(1000):
        heads.learn(b" " * at + json.dumps(split([[1, "x"]])).encode(), "it", decoder, None)
    assert len(heads._known) <= 64
