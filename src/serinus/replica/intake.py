"""From request bodies to model input, for models whose signature names columns.

Every form of request (four of JSON, CSV, Parquet) and a data frame from the same process end in
the same strict check of each cell, and many requests become one frame. It must never turn a value
into another one, as ``"false"`` → True or 100.7 → 100.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from random import Random
from typing import Any

import msgspec

from serinus.errors import BadRequest, UnsupportedMediaType
from serinus.replica.card import Card, Column, ColumnType
from serinus.replica.cells import EXPECTED, Refused, check, refusal
from serinus.replica.counts import Counts
from serinus.replica.envelope import open_envelope
from serinus.replica.frames import frame_table, is_as_wanted
from serinus.replica.layout import Layout
from serinus.replica.nested import describe, nested
from serinus.replica.params import Params
from serinus.replica.protocol import Format
from serinus.replica.quick import QuickDecoder
from serinus.replica.sheet import csv_table, parquet_table
from serinus.replica.table import Table, json_table, known
from serinus.replica.tensor import TensorIntake, readable
from serinus.replica.unit import Unit

__all__ = ["ColumnIntake", "Rows", "strict_intake"]

_log = logging.getLogger(__name__)
_FACTORS = (1.0, 0.5, 2.0, -1.0, 1.01, 10.0, 0.0)
_LAYOUTS = 256
#: To ask an enumeration for its member costs more than to compare with it.
_JSON = Format.JSON
_NOT_QUICK = frozenset((ColumnType.BINARY, ColumnType.NESTED))


def strict_intake(card: Card) -> "ColumnIntake | TensorIntake | None":
    """The strict reader of a model's signature; None when it has none that says enough.

    The one function for all ways to a model: its `parse` reads the body of a request, its `accept`
    takes what somebody in the same process has.
    """
    if card.hinted:
        return None
    try:
        params = Params(card.params)
        if card.columns:
            return ColumnIntake(card.columns, params)
        return TensorIntake(card.tensors, params) if readable(card.tensors) else None
    except (ValueError, KeyError) as error:
        _log.warning("action=signature_not_read error=%r", error)
        return None


class Rows(msgspec.Struct, gc=False):
    """Checked cells, each row in the order of its layout."""

    layout: Layout
    cells: list[tuple[Any, ...]]
    #: The same by column, where that is known already.
    columns: list[Sequence[Any]] | None = None


class ColumnIntake:
    """The strict reader of one signature."""

    def __init__(self, columns: Sequence[Column], params: Params | None = None) -> None:
        """Raises ValueError for a type that is not known."""
        self._columns = tuple(columns)
        self._params = params
        #: The columns' names and types, in signature order.
        self.types = {column.name: column.type for column in columns}
        self._names = tuple(self.types)
        self._layout = Layout(self._columns)
        self._layouts: dict[frozenset[str], Layout] = {}
        simple = all(column.type not in _NOT_QUICK for column in columns)
        self._quick = QuickDecoder(self._columns) if simple else None
        #: One for all requests with every column and no params.
        self._key = (b"", id(self._layout))
        self._nested = {each.name: nested(each.nested) for each in columns if each.nested}
        #: True once the model is known to answer a bare block of numbers as it does a frame.
        self.as_block = False
        #: What makes the input of a converted model out of rows and the columns that they have;
        #: None for a model as it is.
        self.feed: Callable[[list[tuple[Any, ...]], Sequence[Column]], Any] | None = None
        #: What was let pass that is not quite right, by field and kind: columns and params that
        #: the signature doesn't name.
        self.counts = Counts()

    def parse(self, body: bytes, format_: Format) -> Unit:
        """Read one body; raises BadRequest or UnsupportedMediaType, which say what is wrong."""
        if format_ is _JSON:
            usual = self._quick.usual_rows(body) if self._quick else None
            if usual:
                return Unit(Rows(self._layout, usual), len(usual), self._key)
            found = self._quick.decode(body) if self._quick else None
            if found is not None:
                if found.strangers:
                    self._note_extra(found.strangers)
                rows = Rows(self._layout, found.rows, found.columns)
                return self._unit(rows, found.params, len(found.strangers))
            envelope = open_envelope(body)
            table = json_table(envelope, self._names, nested=bool(self._nested))
            return self._checked(table, envelope.params)
        if format_ is Format.CSV:
            return self._checked(csv_table(body, self.types), None)
        if format_ is Format.PARQUET:
            return self._checked(parquet_table(body, self._names), None)
        raise UnsupportedMediaType("This model reads application/json, text/csv and Parquet.")

    def take(self, tensors: dict[str, Any], params: dict[str, Any] | None) -> Unit:
        """The same for cells by column, which are checked by the very rules."""
        rows = {len(cells) for cells in tensors.values() if isinstance(cells, list)}
        if len(rows) != 1:
            raise BadRequest("All columns must have the same number of rows.")
        return self._checked(known(tensors, self._names, rows.pop()), params)

    @property
    def has_nested(self) -> bool:
        """True when cells may be arrays and objects."""
        return bool(self._nested)

    def accept(self, data: Any) -> Any:
        """The model's input for a data frame or a mapping of columns from the same process.

        Raises BadRequest by the very rules that hold for requests.
        """
        if is_as_wanted(data, self._layout):
            return data
        unit = self._checked(frame_table(data, self._names), None)
        return unit.data.layout.frame(unit.data.columns, unit.rows)

    def misfits(self, table: Table) -> Iterator[tuple[str, str]]:
        """Field and kind of every cell that `parse` would refuse."""
        for column in self._columns:
            for cell in table.columns.get(column.name, ()):
                try:
                    self._cell(cell, column)
                except Refused as refused:
                    yield column.name, refused.kind

    def join(self, units: Sequence[Unit]) -> Any:
        """The model's input for units of one key, in their order."""
        first: Rows = units[0].data
        if self.as_block and first.layout is self._layout:
            return first.layout.block(_cells(units))
        if self.feed is not None:
            return self.feed(_cells(units), first.layout.columns)
        return self.frame(units)

    def frame(self, units: Sequence[Unit]) -> Any:
        """As `join`, but always a data frame."""
        first: Rows = units[0].data
        columns = first.columns if len(units) == 1 else None
        cells = _cells(units)
        return first.layout.frame(columns or list(zip(*cells, strict=True)), len(cells))

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
                    if column.type is ColumnType.STRING and random.random() < 0.1
                    else _perturbed(random.choice(pool), column.type, factor)
                    for pool, column in zip(pools, rows.layout.columns, strict=True)
                )
            )
        return [self._unit(Rows(rows.layout, [row]), example.params, 0) for row in cells][:count]

    def _unit(self, rows: Rows, params: dict[str, Any] | None, extra: int) -> Unit:
        if params and self._params is not None:
            params, dropped = self._params.take(params)
            for name in dropped:
                self.counts.add(f"params.{name}", "unknown param")
        key = self._key
        if params or rows.layout is not self._layout:
            # Equal sets of present columns share one layout.
            said = msgspec.json.encode(params, order="sorted") if params else b""
            key = (said, id(rows.layout))
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
                f"The request lacks the {_named(missing)}; the model takes {_named(self._names)}.",
                details=[
                    {"field": name, "expected": self.types[name].value, "got": "nothing"}
                    for name in missing[:20]
                ],
            )
        layout = self._present(frozenset(self._names).difference(table.columns))
        checked = [self._column(table.columns[each.name], each) for each in layout.columns]
        rows = Rows(layout, list(zip(*checked, strict=True)), checked)
        if table.strangers:
            self._note_extra(table.strangers)
        return self._unit(rows, params, table.extra)

    def _note_extra(self, names: Sequence[str]) -> None:
        if not self.counts.total("extra column"):  # once, then counted
            _log.warning("action=extra_columns_dropped names=%s", _named(names))
        for name in names:
            self.counts.add(name, "extra column")

    def _column(self, cells: Sequence[Any], column: Column) -> Sequence[Any]:
        checked: list[Any] = []
        try:
            for cell in cells:
                checked.append(self._cell(cell, column))
        except Refused as refused:
            raise _refusal(refused, column, len(checked)) from None
        return checked

    def _cell(self, cell: Any, column: Column) -> Any:
        if column.nested is None:
            return check(cell, column.type)
        return self._nested[column.name](cell, not column.required)

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


def _cells(units: Sequence[Unit]) -> list[tuple[Any, ...]]:
    if len(units) == 1:
        cells: list[tuple[Any, ...]] = units[0].data.cells
        return cells
    return list(chain.from_iterable([unit.data.cells for unit in units]))


def _refusal(refused: Refused, column: Column, row: int) -> BadRequest:
    if column.nested is None:
        expected, type_ = EXPECTED[column.type], column.type.value
        return refusal(refused, row, column.name, expected=expected, type_=type_)
    field = column.name + getattr(refused, "path", "")
    expected = getattr(refused, "expected", "") or describe(column.nested)
    return refusal(refused, row, field, expected=expected, type_=describe(column.nested))


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
