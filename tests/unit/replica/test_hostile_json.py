"""Tests 37, 38 and 39 of the reliability list: JSON that parsers disagree on, in every reader."""

import json
from typing import Any

import pytest

from serinus.errors import BadRequest
from serinus.replica.card import Column, ColumnType, Tensor
from serinus.replica.envelope import open_envelope, open_leniently
from serinus.replica.intake import ColumnIntake
from serinus.replica.params import Params
from serinus.replica.protocol import Format
from serinus.replica.tensor import TensorIntake

T = ColumnType
PARAMS = Params([{"name": "k", "type": "long", "default": 1, "shape": None}])
#: Where a value may stand in a request, by reader: the request around ``%s``.
PLACES: dict[str, tuple[Any, str]] = {
    "double": (ColumnIntake([Column("c", T.DOUBLE)]), '{"instances": [{"c": %s}]}'),
    "long": (ColumnIntake([Column("c", T.LONG)]), '{"instances": [{"c": %s}]}'),
    "records": (ColumnIntake([Column("c", T.LONG)]), '{"dataframe_records": [{"c": %s}]}'),
    "split": (
        ColumnIntake([Column("c", T.LONG)]),
        '{"dataframe_split": {"columns": ["c"], "data": [[%s]]}}',
    ),
    "inputs": (ColumnIntake([Column("c", T.LONG)]), '{"inputs": {"c": [%s]}}'),
    "array": (
        ColumnIntake(
            [Column("c", T.NESTED, nested={"type": "array", "items": {"type": "double"}})]
        ),
        '{"instances": [{"c": [%s]}]}',
    ),
    "map": (
        ColumnIntake([Column("c", T.NESTED, nested={"type": "map", "values": {"type": "long"}})]),
        '{"instances": [{"c": {"k": %s}}]}',
    ),
    "tensor": (TensorIntake([Tensor(None, "float64", (-1, 1))]), '{"instances": [[%s]]}'),
    "whole tensor": (TensorIntake([Tensor(None, "int64", (-1, 1))]), '{"inputs": [[%s]]}'),
    "params": (
        ColumnIntake([Column("c", T.LONG)], PARAMS),
        '{"inputs": {"c": [1]}, "params": {"k": %s}}',
    ),
}
DEEP = {
    "arrays": "[" * 100_000 + "]" * 100_000,
    "objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "unclosed": "[" * 100_000,
    "65 levels": "[" * 65 + "]" * 65,
}


def _refused(place: str, value: str) -> str:
    intake, around = PLACES[place]
    with pytest.raises(BadRequest) as refused:
        intake.parse((around % value).encode(), Format.JSON)
    return refused.value.message


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("deep", DEEP)
def test_37_nesting_has_an_end(place: str, deep: str) -> None:
    message = _refused(place, DEEP[deep])
    assert len(message) < 300
    with pytest.raises(BadRequest):
        open_envelope(DEEP[deep].encode())


def test_37_even_where_mlflow_reads_it_is_refused_and_not_a_crash() -> None:
    for deep in ("arrays", "objects", "unclosed"):
        with pytest.raises(BadRequest):
            open_leniently(b'{"inputs": ' + DEEP[deep].encode() + b"}", lambda *_: None)


@pytest.mark.parametrize("place", PLACES)
def test_37_a_key_twice_is_refused(place: str) -> None:
    intake, around = PLACES[place]
    good = around % "1"
    intake.parse(good.encode(), Format.JSON)
    twice = f'{{"{next(iter(json.loads(good)))}": 1, {good[1:]}'
    with pytest.raises(BadRequest, match="twice"):
        intake.parse(twice.encode(), Format.JSON)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "nan"])
def test_38_what_is_no_number_in_json_is_refused(place: str, value: str) -> None:
    assert "JSON" in _refused(place, value) or "number" in _refused(place, value)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "-NaN"])
def test_38_what_json_and_pandas_write_is_named_with_the_way_out(place: str, value: str) -> None:
    name = value.lstrip("-")
    at = (PLACES[place][1] % value).index(name)
    message = _refused(place, value)
    assert f"{name} at byte {at} is no JSON; send null" in message


def test_38_the_same_word_in_a_text_is_not_blamed() -> None:
    with pytest.raises(BadRequest) as refused:
        open_envelope(b'{"inputs": {"c": ["NaN", "Infinity"], }}')
    assert "NaN" not in refused.value.message
    assert "Infinity" not in refused.value.message


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", [2**64 + 1, 2**63 + 2**62 + 1, -(2**63) - 1, 10**30])
def test_39_a_whole_number_that_would_change_is_refused(place: str, value: int) -> None:
    assert _refused(place, str(value))


def test_39_without_a_type_a_large_whole_number_stays_what_it_is() -> None:
    body = b'{"inputs": [18446744073709551617, -9223372036854775809, 18446744073709551615]}'
    assert open_envelope(body).data == [2**64 + 1, -(2**63) - 1, 2**64 - 1]
    assert all(type(each) is int for each in open_envelope(body).data)
    assert open_leniently(body, lambda *_: None).data == open_envelope(body).data
