"""Rows that training never had but serving will: nulls, unknown categories, odd text, odd hours.

Each is a real row with one case put into it. Values that are private are replaced here, before
anything is computed from a row or stored.
"""

import datetime
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from serinus.parity.arrays import plain_cell
from serinus.parity.columns import Column, columns_of
from serinus.parity.contract import Field, Kind, Privacy
from serinus.parity.observe import hashed

__all__ = ["UNKNOWN", "Made", "bodies", "made_rows", "put", "without_secrets"]

#: A text that is no category of any model.
UNKNOWN = "serinus-unknown"
_ODD_TEXT = "Zürich Ōsaka İstanbul 東京 ✈ é é " * 12
_STAND_INS: dict[Kind, Any] = {
    Kind.NUMBER: float("nan"),
    Kind.WHOLE: 0,
    Kind.FLAG: False,
    Kind.TEXT: None,
    Kind.INSTANT: np.datetime64("NaT"),
    Kind.OTHER: None,
}


@dataclass(frozen=True)
class Made:
    """One case to put into a copy of a row."""

    kind: str
    case: str
    values: Mapping[str, Any]


def made_rows(columns: list[Column], fields: Mapping[str, Field]) -> list[Made]:
    """What to put into copies of rows, the most telling first."""
    made = []
    for column in columns:
        if fields[column.name].privacy is Privacy.PLAIN and not column.categorical:
            made += list(_of(column, fields[column.name]))
    texts = [
        each.name
        for each in columns
        if each.kind is Kind.TEXT
        and not each.categorical
        and fields[each.name].privacy is Privacy.PLAIN
    ]
    if texts:
        made.append(Made("text", "long non-ASCII text", dict.fromkeys(texts, _ODD_TEXT)))
    order = ("null", "unknown", "text", "dst")
    return sorted(made, key=lambda each: order.index(each.kind))


def _of(column: Column, field: Field) -> Iterator[Made]:
    name = column.name
    nullable = field.null.allowed and column.kind in (Kind.NUMBER, Kind.TEXT, Kind.INSTANT)
    if nullable and not column.null.any():
        yield Made("null", f"{name} is null", {name: _STAND_INS[column.kind]})
    if column.kind is Kind.TEXT:
        yield Made("unknown", f"{name} is unknown", {name: UNKNOWN})
    if column.kind is Kind.INSTANT and not column.null.all():
        year = int(str(column.present.max())[:4])
        for case, instant in _odd_hours(year):
            yield Made("dst", f"{name} {case}", {name: np.datetime64(instant, "ns")})


def _odd_hours(year: int) -> Iterator[tuple[str, datetime.datetime]]:
    """Hours that clocks skip or repeat, in America and in Europe, and a leap day."""
    rules = (("second", 3, 2, 8), ("first", 11, 1, 1), ("last", 3, 2, 25), ("last", 10, 2, 25))
    for which, month, hour, earliest in rules:
        day = datetime.date(year, month, earliest)
        day += datetime.timedelta(days=(6 - day.weekday()) % 7)
        at = datetime.datetime(day.year, day.month, day.day, hour, 30)  # noqa: DTZ001 - as sent
        yield f"at 0{hour}:30 on the {which} Sunday of {day:%B}", at
    leap = year - year % 4
    yield "on a leap day", datetime.datetime(leap, 2, 29, 12)  # noqa: DTZ001 - as sent


def put(frame: Any, first: int, made: list[Made]) -> None:
    """Write the cases into the rows of a frame from ``first`` on."""
    places = {str(name): at for at, name in enumerate(frame.columns)}
    for row, each in enumerate(made, first):
        for name, value in each.values.items():
            frame.iloc[row, places[name]] = value


def without_secrets(frame: Any, fields: Mapping[str, Field], salt: str) -> None:
    """Replace the values of private fields in a frame: text to hash by its hash, others by none."""
    for column in columns_of(frame):
        field = fields[column.name]
        if field.privacy is Privacy.PLAIN:
            continue
        at = list(map(str, frame.columns)).index(column.name)
        stand_in = _STAND_INS[column.kind]
        if field.privacy is Privacy.HASH and column.kind is Kind.TEXT and not column.categorical:
            words = [*(hashed(word, salt) for word in column.words), None]
            frame.isetitem(at, _like(frame.iloc[:, at], [words[code] for code in column.values]))
        else:
            frame.isetitem(at, _like(frame.iloc[:, at], [stand_in] * len(frame)))


def _like(series: Any, values: list[Any]) -> Any:
    made = type(series)(values, index=series.index, name=series.name, dtype=object)
    return made.astype(series.dtype)


def bodies(
    frame: Any, fields: Mapping[str, Field], *, tensor: bool
) -> list[tuple[str, dict[str, dict[str, Any]]]]:
    """For each row the request's body, and the values that don't come with the request."""
    cells = {column.name: _cells(column, fields[column.name]) for column in columns_of(frame)}
    sent = [name for name in cells if fields[name].source == "request"]
    pinned = [name for name in cells if fields[name].source != "request"]
    head = '{"inputs":[' if tensor else f'{{"dataframe_split":{{"columns":{_json(sent)},"data":['
    tail = "]}" if tensor else "]}}"
    found = []
    for row in range(len(frame)):
        data = _json([cells[name][row] for name in sent])
        elsewhere: dict[str, dict[str, Any]] = {}
        for name in pinned:
            elsewhere.setdefault(fields[name].source, {})[name] = cells[name][row]
        found.append((f"{head}{data}{tail}", elsewhere))
    return found


def _json(values: list[Any]) -> str:
    return msgspec.json.encode(values).decode()


def _cells(column: Column, field: Field) -> list[Any]:
    if column.kind is Kind.TEXT:
        words = [*column.words, None]
        return [words[code] for code in column.values]
    convert: Callable[[Any], Any] = int if field.type.logical is Kind.WHOLE else plain_cell
    if field.type.logical is Kind.NUMBER and column.kind is Kind.WHOLE:
        convert = float
    if column.kind is Kind.NUMBER and field.type.logical is Kind.WHOLE:
        convert = _whole
    return [
        None if null else convert(value)
        for value, null in zip(column.values, column.null, strict=True)
    ]


def _whole(value: Any) -> Any:
    return int(value) if float(value).is_integer() else float(value)
