"""Faults of what clients send: functions from a right row to a wrong one.

A row is changed in a copy; which rows are changed is the seed's choice alone.
"""

import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

__all__ = ["CHANGES", "Change", "ClientFault", "Row"]

Row = dict[str, Any]
#: Changes a copied row in place, by the fault's arguments.
Change = Callable[[Row, Sequence[str], Random], None]


@dataclass(frozen=True)
class ClientFault:
    """A change of some of the rows."""

    spec: str
    change: Change
    arguments: tuple[str, ...]
    #: How many rows are touched, 0 to 1.
    share: float = 1.0
    seed: int = 0
    #: True when the body is no longer what a JSON library would write.
    raw: bool = False

    def applied(self, rows: Sequence[Row]) -> list[Row]:
        """The rows as a faulty client sends them."""
        return [self.row(each, at) for at, each in enumerate(rows)]

    def row(self, row: Row, at: int) -> Row:
        """One row; ``at`` is its number in the traffic."""
        random = Random(f"{self.seed}-{self.spec}-{at}")  # noqa: S311 - a choice of rows
        if random.random() >= self.share:
            return row
        changed = dict(row)
        self.change(changed, self.arguments, random)
        return changed

    def body(self, row: Row, at: int) -> bytes:
        """The request for one row."""
        sent = self.row(row, at)
        text = json.dumps({"dataframe_records": [sent]}, default=str)
        if self.raw and sent is not row:
            name = self.arguments[0]
            value = json.dumps(row[name], default=str)
            text = text.replace("[{", f'[{{"{name}": {value}, ', 1)
        return text.encode()


def _number(row: Row, name: str) -> float | None:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return float(value)


def _unit(row: Row, arguments: Sequence[str], _: Random) -> None:
    name, factor, *more = arguments
    value = _number(row, name)
    if value is not None:
        row[name] = value * float(factor) + (float(more[0]) if more else 0.0)


def _rounded(row: Row, arguments: Sequence[str], _: Random) -> None:
    name, factor = arguments
    value = _number(row, name)
    if value is not None:
        row[name] = round(value * float(factor))


def _celsius(row: Row, arguments: Sequence[str], _: Random) -> None:
    value = _number(row, arguments[0])
    if value is not None:
        row[arguments[0]] = (value - 32) * 5 / 9


def _text(change: Callable[[str], Any]) -> Change:
    def apply(row: Row, arguments: Sequence[str], _: Random) -> None:
        value = row.get(arguments[0])
        if isinstance(value, str):
            row[arguments[0]] = change(value)

    return apply


def _shift(row: Row, arguments: Sequence[str], _: Random) -> None:
    name, by, period, *base = arguments
    first = int(base[0]) if base else 0
    value = _number(row, name)
    if value is not None:
        row[name] = (int(value) - first + int(by)) % int(period) + first


def _add(row: Row, arguments: Sequence[str], _: Random) -> None:
    name, by = arguments
    value = _number(row, name)
    if value is not None:
        row[name] = int(value) + int(by)


def _null_as(row: Row, arguments: Sequence[str], _: Random) -> None:
    text, name = arguments
    row[name] = _literal(text)


def _literal(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return None if text == "null" else text
    return int(number) if number.is_integer() and "." not in text else number


def _drop(row: Row, arguments: Sequence[str], _: Random) -> None:
    row.pop(arguments[0], None)


def _as_text(row: Row, arguments: Sequence[str], _: Random) -> None:
    if row.get(arguments[0]) is not None:
        value = row[arguments[0]]
        row[arguments[0]] = str(value).lower() if isinstance(value, bool) else str(value)


def _comma(row: Row, arguments: Sequence[str], _: Random) -> None:
    value = _number(row, arguments[0])
    if value is not None:
        row[arguments[0]] = f"{value:.1f}".replace(".", ",")


def _swap(row: Row, arguments: Sequence[str], _: Random) -> None:
    one, other = arguments
    row[one], row[other] = row.get(other), row.get(one)


def _cut(row: Row, arguments: Sequence[str], _: Random) -> None:
    name, length = arguments
    if isinstance(row.get(name), str):
        row[name] = row[name][: int(length)]


def _code(row: Row, arguments: Sequence[str], _: Random) -> None:
    if isinstance(row.get(arguments[0]), str):
        row[arguments[0]] = sum(map(ord, row[arguments[0]])) % 97


def _overflow(row: Row, arguments: Sequence[str], _: Random) -> None:
    name, bits, *scale = arguments
    value = _number(row, name)
    if value is not None:
        size = 2 ** int(bits)
        whole = int(value * float(scale[0]) if scale else value)
        row[name] = (whole + size // 2) % size - size // 2


def _clip(row: Row, arguments: Sequence[str], _: Random) -> None:
    name, limit = arguments
    value = _number(row, name)
    if value is not None:
        row[name] = type(row[name])(min(value, float(limit)))


def _day_month(row: Row, arguments: Sequence[str], _: Random) -> None:
    value = row.get(arguments[0])
    if isinstance(value, str):
        row[arguments[0]] = f"{value[:5]}{value[8:10]}-{value[5:7]}{value[10:]}"


def _big(row: Row, arguments: Sequence[str], random: Random) -> None:
    row[arguments[0]] = 2**53 + 1 + random.randrange(10**6)


#: Name → change; `serinus.testing.faults.catalogue` describes them.
CHANGES: dict[str, Change] = {
    "unit": _unit,
    "rounded-unit": _rounded,
    "fahrenheit-as-celsius": _celsius,
    "casing": _text(lambda word: word.lower() if word != word.lower() else word.upper()),
    "padding": _text(lambda word: f"{word} "),
    "unicode": _text(lambda word: unicodedata.normalize("NFD", word)),
    "empty": _text(lambda word: ""),
    "shift": _shift,
    "base": _add,
    "null-as": _null_as,
    "missing": _drop,
    "as-text": _as_text,
    "comma": _comma,
    "swap": _swap,
    "cut": _cut,
    "code": _code,
    "overflow": _overflow,
    "clip": _clip,
    "day-month": _day_month,
    "big-integer": _big,
    "duplicate-key": lambda row, arguments, _: None,
}
