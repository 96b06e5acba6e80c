"""Rows on either side of where the original's answer changes: there a conversion differs first.

A tree that compares in double precision and its copy in single precision part company just beside
a threshold. The rows lie 1e-5 of the column's range away from it, not closer: the rounding of any
value to single precision would otherwise count against every conversion.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np

from serinus.errors import SerinusError
from serinus.replica.card import Column, ColumnType
from serinus.replica.intake import ColumnIntake
from serinus.replica.unit import Unit

__all__ = ["edges"]

_NUMBERS = (ColumnType.DOUBLE, ColumnType.FLOAT, ColumnType.LONG, ColumnType.INTEGER)
_WHOLE = (ColumnType.LONG, ColumnType.INTEGER)
_EACH, _MOST = 8, 64
_STEPS, _NEAR = 18, 1e-5

Ask = Callable[[Sequence[Unit]], Any]


class _Span:
    """A row whose answer changes somewhere between two values of one column."""

    def __init__(self, row: tuple[Any, ...], at: int, low: float, high: float, near: float) -> None:
        self.row, self.at, self.near = row, at, near
        self.low, self.high = low, high

    def beside(self) -> tuple[float, float]:
        """A value on either side of the change, ``near`` it; whole numbers are neighbours."""
        if self.near >= 1.0 and isinstance(self.low, int):
            return self.low, self.high
        away = self.near if self.high > self.low else -self.near
        return self.low - away, self.high + away

    def with_(self, value: float) -> tuple[Any, ...]:
        return (*self.row[: self.at], value, *self.row[self.at + 1 :])


def edges(
    ask: Ask,
    intake: ColumnIntake,
    columns: Sequence[Column],
    known: Sequence[tuple[Any, ...]],
    random: Random,
) -> list[tuple[str, Unit]]:
    """Pairs of rows beside a change, with their names; none where the original refuses to tell."""
    spans = _spans(columns, known, random)

    def asked(values: list[float]) -> Any:
        rows = [span.with_(value) for span, value in zip(spans, values, strict=True)]
        return ask([_unit(intake, columns, row) for row in rows])

    try:
        whole = [columns[span.at].type in _WHOLE for span in spans]
        first = asked([span.low for span in spans]) if spans else []
        for _ in range(_STEPS if spans else 0):
            middles = [
                round((s.low + s.high) / 2) if w else (s.low + s.high) / 2
                for s, w in zip(spans, whole, strict=True)
            ]
            for span, middle, one, other in zip(spans, middles, first, asked(middles), strict=True):
                _halve(span, middle, same=np.array_equal(one, other))
        return [
            (f"edge {number} of '{columns[span.at].name}'", _unit(intake, columns, span.with_(v)))
            for number, span in enumerate(spans)
            for v in span.beside()
        ]
    except Exception:  # noqa: BLE001 - a model may refuse such rows; the others are compared
        return []


def _halve(span: _Span, middle: float, *, same: bool) -> None:
    if abs(span.high - span.low) <= span.near:
        return
    if same:
        span.low = middle
    else:
        span.high = middle


def _spans(
    columns: Sequence[Column], known: Sequence[tuple[Any, ...]], random: Random
) -> list[_Span]:
    found = []
    for at, column in enumerate(columns):
        pool = sorted({row[at] for row in known if row[at] is not None})
        if column.type not in _NUMBERS or len(pool) < 2:
            continue
        width = pool[-1] - pool[0]
        near = 1.0 if column.type in _WHOLE else width * _NEAR
        for number in range(_EACH):
            low, high = (pool[0], pool[-1]) if number == 0 else random.sample(pool, 2)
            found.append(_Span(random.choice(known), at, low, high, near))
    random.shuffle(found)
    return found[:_MOST]


def _unit(intake: ColumnIntake, columns: Sequence[Column], row: tuple[Any, ...]) -> Unit:
    try:
        cells = {column.name: [cell] for column, cell in zip(columns, row, strict=True)}
        return intake.take(cells, None)
    except SerinusError as error:
        raise ValueError(error.message) from error
