"""The short way through the commonest request: ``dataframe_split``, all columns, right types.

msgspec parses and checks the cells in one pass. Whatever it doesn't take is no error yet: the
long way reads the body again and finds the words for what is wrong.
"""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import msgspec

from serinus.replica.card import Column
from serinus.replica.cells import WIRE

__all__ = ["QuickDecoder"]

_ORDERS = 64

_Scalar = str | int | float | bool | None
Row = tuple[Any, ...]


class _Names(msgspec.Struct):
    columns: list[str]


class _Look(msgspec.Struct):
    dataframe_split: _Names


class _Order:
    """One order of columns that a client uses."""

    __slots__ = ("decoder", "extra", "names", "pick")

    def __init__(self, columns: Sequence[Column], names: Sequence[str]) -> None:
        types = {column.name: WIRE[column.type] for column in columns}
        row: Any = tuple.__class_getitem__(tuple(types.get(name, _Scalar) for name in names))
        split = msgspec.defstruct(
            "Split",
            [
                ("columns", list[str]),
                ("data", list.__class_getitem__(row)),
                ("index", list[int | str] | None, None),
            ],
            forbid_unknown_fields=True,
        )
        body = msgspec.defstruct(
            "Body",
            [
                ("dataframe_split", split),
                ("params", dict[str, _Scalar] | None, None),
                ("client_request_id", str | None, None),
            ],
            # Unknown fields go the long way, which bounds how deep they may nest.
            forbid_unknown_fields=True,
        )
        self.decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(body)
        self.names = list(names)
        self.extra = len(names) - len(columns)
        wanted = [column.name for column in columns]
        self.pick = (
            None if self.names == wanted else _picker([self.names.index(name) for name in wanted])
        )


def _picker(places: list[int]) -> Any:
    if len(places) == 1:
        return lambda row: (row[places[0]],)
    return itemgetter(*places)


class QuickDecoder:
    """Reads requests that are as they should be; one signature each."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = tuple(columns)
        self._names = frozenset(column.name for column in columns)
        self._last = _Order(columns, [column.name for column in columns])
        self._orders: dict[tuple[str, ...], _Order] = {}
        self._look = msgspec.json.Decoder(_Look)

    def decode(self, body: bytes) -> tuple[list[Row], dict[str, Any] | None, int] | None:
        """Rows in signature order, params and how many columns were dropped; or None."""
        found = self._try(self._last, body)
        if found is None:
            order = self._order(body)
            if order is None or order is self._last:
                return None
            found = self._try(order, body)
            if found is not None:
                self._last = order
        return found

    def _try(
        self, order: _Order, body: bytes
    ) -> tuple[list[Row], dict[str, Any] | None, int] | None:
        try:
            request = order.decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        split = request.dataframe_split
        rows = split.data
        if split.columns != order.names or not rows:
            return None
        if split.index is not None and len(split.index) != len(rows):
            return None
        if order.pick is not None:
            rows = [order.pick(row) for row in rows]
        return rows, request.params, order.extra

    def _order(self, body: bytes) -> _Order | None:
        try:
            names = tuple(self._look.decode(body).dataframe_split.columns)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        order = self._orders.get(names)
        if order is None:
            if not self._names.issubset(names) or len(set(names)) != len(names):
                return None
            if len(self._orders) >= _ORDERS:
                self._orders.clear()
            order = self._orders[names] = _Order(self._columns, names)
        elif order.names == self._last.names:
            return self._last
        return order
