"""From request bodies to model input, for models whose signature names columns of simple types.

Every form of request (four of JSON, CSV, Parquet) ends in the same strict check of each cell, and
many requests become one data frame. It must never turn a value into another one, as
``"false"`` → True or 100.7 → 100.
"""

import logging
from collections.abc import Sequence
from itertools import chain
from random import Random
from typing import Any

import msgspec

from serinus.errors import BadRequest, UnsupportedMediaType
from serinus.replica.card import Column, ColumnType
from serinus.replica.cells import EXPECTED, Refused, check, is_instant, odd_strings
from serinus.replica.envelope import open_envelope
from serinus.replica.layout import Layout
from serinus.replica.protocol import Format
from serinus.replica.quick import QuickDecoder
from serinus.replica.table import Table, csv_table, json_table, parquet_table
from serinus.replica.unit import Unit

__all__ = ["ColumnIntake", "Rows"]

_log = logging.getLogger(__name__)
_FACTORS = (1.0, 0.5, 2.0, -1.0, 1.01, 10.0, 0.0)
_LAYOUTS = 256


class Rows(msgspec.Struct, gc=False):
    """Checked cells, each row in the order of its layout."""

    layout: Layout
    cells: list[tuple[Any, ...]]
    #: A column of strings holds other things too.
    odd: bool = False


class ColumnIntake:
    """The strict reader of one signature."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = tuple(columns)
        self._names = tuple(column.name for column in columns)
        self._layout = Layout(self._columns)
        self._layouts: dict[frozenset[str], Layout] = {}
        self._quick = QuickDecoder(self._columns)
        self._instants = [
            at for at, column in enumerate(columns) if column.type is ColumnType.DATETIME
        ]
        #: True once the model is known to answer alike whether the strings beside a null make
        #: pandas give their column another type or not; until then such requests go apart.
        self.mix_nulls = False
        #: True once the model is known to answer a bare block of doubles as it does a frame.
        self.as_block = False
        #: Columns dropped so far because the signature doesn't name them.
        self.extra_columns = 0

    @property
    def has_strings(self) -> bool:
        """True when a column of strings is among the inputs."""
        return any(column.type is ColumnType.STRING for column in self._columns)

    def parse(self, body: bytes, format_: Format) -> Unit:
        """Read one body; raises BadRequest or UnsupportedMediaType, which say what is wrong."""
        if format_ is Format.JSON:
            found = self._quick.decode(body)
            if found is not None and self._instants_good(found[0]):
                return self._unit(Rows(self._layout, found[0]), found[1], found[2])
            envelope = open_envelope(body)
            return self._checked(json_table(envelope, self._names), envelope.params)
        if format_ is Format.CSV:
            return self._checked(csv_table(body, self._columns), None)
        if format_ is Format.PARQUET:
            return self._checked(parquet_table(body), None)
        raise UnsupportedMediaType("This model reads application/json, text/csv and Parquet.")

    def join(self, units: Sequence[Unit]) -> Any:
        """The model's input for units of one key, in their order."""
        first: Rows = units[0].data
        cells = first.cells
        if len(units) > 1:
            cells = list(chain.from_iterable([unit.data.cells for unit in units]))
        if self.as_block and first.layout is self._layout:
            return first.layout.block(cells)
        return first.layout.frame(cells, odd=first.odd)

    def frame(self, units: Sequence[Unit]) -> Any:
        """As `join`, but always a data frame."""
        first: Rows = units[0].data
        cells = list(chain.from_iterable([unit.data.cells for unit in units]))
        return first.layout.frame(cells, odd=first.odd)

    def widen(self, example: Unit, count: int, random: Random) -> list[Unit]:
        """``count`` one-row units of one key: the example's rows and perturbed ones."""
        rows: Rows = example.data
        cells = list(rows.cells)
        pools = list(zip(*cells, strict=True))
        for at in range(max(count, 0)):
            factor = _FACTORS[at % len(_FACTORS)]
            cells.append(
                tuple(
                    None
                    if self.mix_nulls and column.type is ColumnType.STRING and random.random() < 0.3
                    else _perturbed(random.choice(pool), column.type, factor)
                    for pool, column in zip(pools, rows.layout.columns, strict=True)
                )
            )
        units = [self._unit(Rows(rows.layout, [row], rows.odd), None, 0) for row in cells]
        return [unit for unit in units if unit.key == units[0].key][:count]

    def _instants_good(self, cells: list[tuple[Any, ...]]) -> bool:
        return all(row[at] is None or is_instant(row[at]) for at in self._instants for row in cells)

    def _unit(self, rows: Rows, params: dict[str, Any] | None, extra: int) -> Unit:
        if extra and not self.extra_columns:
            _log.warning("action=extra_columns_dropped count=%d", extra)  # once, then counted
        self.extra_columns += extra
        key = None
        if not rows.odd:
            key = (
                msgspec.json.encode(params, order="sorted") if params else b"",
                id(rows.layout),  # equal sets of present columns share one layout
                () if self.mix_nulls else rows.layout.nulls(rows.cells),
            )
        return Unit(rows, len(rows.cells), key, params or None, extra)

    def _checked(self, table: Table, params: dict[str, Any] | None) -> Unit:
        if not table.rows:
            raise BadRequest("The request has no rows; send at least one.")
        missing = [
            column.name
            for column in self._columns
            if column.required and column.name not in table.columns
        ]
        if missing:
            raise BadRequest(
                f"The request lacks the {_named(missing)}; the model takes {_named(self._names)}."
            )
        layout = self._present(frozenset(self._names).difference(table.columns))
        odd = False
        checked = []
        for column in layout.columns:
            cells = table.columns[column.name]
            checked.append([_check(cell, column, at) for at, cell in enumerate(cells)])
            if column.type is ColumnType.STRING:
                odd = _odd(cells, column) or odd
        rows = Rows(layout, list(zip(*checked, strict=True)), odd)
        return self._unit(rows, params, len(table.columns) - len(layout.columns))

    def _present(self, absent: frozenset[str]) -> Layout:
        if not absent:
            return self._layout
        layout = self._layouts.get(absent)
        if layout is None:
            columns = [column for column in self._columns if column.name not in absent]
            if not columns:
                raise BadRequest(f"The request has none of the {_named(self._names)}.")
            if len(self._layouts) >= _LAYOUTS:
                self._layouts.clear()
            layout = self._layouts[absent] = Layout(columns)
        return layout


def _check(cell: Any, column: Column, row: int) -> Any:
    try:
        return check(cell, column.type)
    except Refused as refused:
        raise _refusal(str(refused), column, row) from None


def _odd(cells: Sequence[Any], column: Column) -> bool:
    try:
        return odd_strings(cells)
    except Refused as refused:
        row = next(at for at, cell in enumerate(cells) if cell is not None)
        raise _refusal(str(refused), column, row) from None


def _refusal(got: str, column: Column, row: int) -> BadRequest:
    expected = EXPECTED[column.type]
    return BadRequest(
        f"Row {row}, column '{column.name}': expected {expected}, got {got}.",
        details=[{"row": row, "field": column.name, "expected": column.type.value, "got": got}],
    )


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:20])
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return f"{'column' if len(names) == 1 else 'columns'} {shown}{more}"


def _perturbed(value: Any, type_: ColumnType, factor: float) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if type_ in (ColumnType.DOUBLE, ColumnType.FLOAT):
        return value * factor
    if type_ in (ColumnType.INTEGER, ColumnType.LONG):
        return value + int(factor) if abs(value) < 2**30 else value
    return value
