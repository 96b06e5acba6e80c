"""Answers have the value that MLflow's own encoder gives them, but for NaN and infinities."""

import datetime
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from serinus.errors import BadRequest
from serinus.replica.answer import (
    MAX_ANSWER,
    BadAnswer,
    Uncuttable,
    body,
    count_rows,
    cut,
    error_body,
)
from serinus.replica.nulled import Nulled
from tests.models import official_json

INSTANT = "2013-01-01T05:00:00"
OUTPUTS = {
    "integers": np.arange(3),
    "floats": np.array([0.1, 1e16, -2.5e-300]),
    "small floats": np.array([[1.1, 2], [3, 4]], dtype=np.float32),
    "booleans": np.array([True, False]),
    "cube": np.arange(8).reshape(2, 2, 2),
    "texts": np.array(["a", "ü\n"]),
    "bytes": np.array([b"ab", b"c"]),
    "objects": np.array([pd.Timestamp("2013-01-01"), 3, None, np.float64(2), "x"], dtype=object),
    "instants": np.array(["2013-01-01"], dtype="datetime64[ns]"),
    "days": np.array(["2013-01-01"], dtype="datetime64[D]"),
    "ragged": np.array([[1, 2], [3]], dtype=object),
    "no dimension": np.array(5),
    "series": pd.Series([1, 2]),
    "named series": pd.Series([1.5, 2], name="p"),
    "frame": pd.DataFrame(
        {"a": [1, 2], "t": pd.to_datetime(["2013-01-01", None]), "s": ["x", "y"]}
    ),
    "frame with numbered columns": pd.DataFrame({0: [1], 1: [2]}),
    "categories": pd.Series(["a", "b"], dtype="category"),
    "dict of arrays": {"a": np.array([1, 2]), 3: np.float32(1.1)},
    "dict with odd keys": {1.5: 2, True: 3, None: 4},
    "list": [np.int64(3), (1, 2), b"abc", np.bool_(True), np.str_("s")],
    "time": [
        datetime.time(5, 30),
        datetime.date(2013, 1, 1),
        datetime.datetime.fromisoformat(INSTANT),
    ],
    "aware": [datetime.datetime(2013, 1, 1, tzinfo=datetime.UTC)],
    "large integer": [2**70],
    "scalar": 7,
    "string": "x",
    "nothing": None,
    "empty": np.array([]),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_value_is_that_of_mlflows_encoder(name: str) -> None:
    assert json.loads(body(OUTPUTS[name])) == json.loads(official_json(OUTPUTS[name]))


@pytest.mark.parametrize(
    "output",
    [
        np.array([1.0, math.nan, math.inf, -math.inf]),
        [1.0, math.nan, np.float64("inf"), np.float32("-inf")],
        np.array([1.0, math.nan, math.inf, -math.inf], dtype=np.float32),
    ],
)
def test_what_json_has_no_number_for_is_null(output: Any) -> None:
    assert json.loads(body(output)) == {"predictions": [1.0, None, None, None]}


@pytest.mark.parametrize(
    "output",
    [[object()], {(1, 2): 3}, {"a": {1, 2}}, [1 + 2j], (each for each in "ab"), pd.Timedelta(5)],
)
def test_what_has_no_json_form_is_an_error_that_names_it(output: Any) -> None:
    with pytest.raises(BadAnswer, match="The model answered with"):
        body(output)


@pytest.mark.parametrize(
    "output",
    [
        np.arange(6.0),
        np.arange(12).reshape(6, 2),
        list("abcdef"),
        pd.Series(range(6), name="p"),
        pd.DataFrame({"a": range(6), "b": list("abcdef")}),
        {"a": np.arange(6), "b": list("abcdef")},
    ],
)
@pytest.mark.parametrize("counts", [[1, 3, 2], [1] * 6])
def test_a_batch_is_cut_into_what_each_part_would_be(output: Any, counts: list[int]) -> None:
    assert count_rows(output) == 6
    at, expected = 0, []
    for count in counts:
        part = (
            {key: each[at : at + count] for key, each in output.items()}
            if isinstance(output, dict)
            else output[at : at + count]
        )
        expected.append(body(part))
        at += count
    assert cut(output, counts) == expected


@pytest.mark.parametrize(
    "output",
    [
        np.array([0.1, math.nan, -math.inf, 1e300]),
        np.array([0.1, 3], dtype=np.float32),
        np.array([True, False]),
        np.array([2**63, 1], dtype=np.uint64),
        [0.5, math.nan, 2, True],
        [None, 0.5],
        ["a,b", "],["],
        [[1, 2], [3, 4]],
    ],
)
def test_rows_that_are_written_at_once_are_those_written_alone(output: Any) -> None:
    alone = [official_json(output[at : at + 1]) for at in range(len(output))]
    wanted = [json.loads(each, parse_constant=lambda _: None) for each in alone]
    assert [json.loads(each) for each in cut(output, [1] * len(output))] == wanted


def test_who_asked_for_no_row_gets_none() -> None:
    found = cut(np.array([1.5, 2.5]), [0, 2])
    assert [json.loads(each)["predictions"] for each in found] == [[], [1.5, 2.5]]


@pytest.mark.parametrize("output", ["text", 5, {"a": 1}, {"a": [1], "b": [1, 2]}, np.array(3)])
def test_what_has_no_rows_is_not_cut(output: Any) -> None:
    with pytest.raises(Uncuttable):
        cut(output, [1, 1])


def test_errors_carry_code_message_and_particulars() -> None:
    error = BadRequest("Row 0 is bad.", details=[{"row": 0}])
    assert json.loads(error_body(error)) == {
        "error_code": "BAD_REQUEST",
        "message": "Row 0 is bad.",
        "details": [{"row": 0}],
    }


@pytest.mark.parametrize(
    "output",
    [
        sparse.csr_matrix((1, 2**30)),
        np.broadcast_to(np.float32(1), (1, 2**30)),
        pd.DataFrame(np.broadcast_to(np.int8(1), (2**20, 64))),
        {"a": np.broadcast_to(0, (1, 2**26))},
        ["x" * (MAX_ANSWER + 1)],
    ],
    ids=["sparse", "array", "frame", "inside a dict", "text"],
)
def test_what_is_too_large_is_refused_while_it_is_small(output: Any) -> None:
    with pytest.raises(BadAnswer, match="too large to send"):
        body(output)


def test_each_nan_and_infinity_is_counted_and_nothing_else() -> None:
    nulled = Nulled()
    for output in (
        np.array([1.0, math.nan, math.inf]),
        pd.DataFrame({"a": [math.nan, 1.0], "b": ["null", None], "c": [1, 2]}),
        pd.Series([-math.inf, 0.0]),
        {"a": [1.0, [np.float32("nan"), None]], "b": "null"},
        sparse.csr_matrix([[0.0, math.nan]]),
        np.array([{"x": math.inf}, None], dtype=object),
    ):
        nulled.look(output, [body(output)])
    assert (nulled.nan, nulled.infinite) == (4, 3)
    nulled.look(np.array([math.nan]), [b'{"predictions":[1.0]}'])
    assert nulled.nan == 4


def test_what_can_not_be_looked_into_costs_no_answer() -> None:
    class Unwilling:
        @property
        def columns(self) -> list[str]:
            raise RuntimeError("no")

    nulled = Nulled()
    output = [pd.Timestamp("2024-01-01"), None, math.nan, Unwilling()]
    nulled.look(output, [b'{"predictions":[null]}'])
    assert nulled.nan == 1
