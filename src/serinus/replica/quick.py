"""The short way through the commonest requests: all columns there, of the right types.

msgspec parses and checks the cells in one pass. Whatever it doesn't take is no error yet: the
long way reads the body again and finds the words for what is wrong.
"""

import re
from collections.abc import Callable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import msgspec

from serinus.replica.card import Column, ColumnType
from serinus.replica.cells import WIRE, all_instants
from serinus.replica.heads import Heads
from serinus.replica.keys import all_differ

__all__ = ["Found", "QuickDecoder"]

_ORDERS = 64
#: Columns that a client may send beyond the signature's and still be read the short way.
_EXTRA = 256

_Scalar = str | int | float | bool | None
Row = tuple[Any, ...]
_FIRST_KEY = re.compile(rb'\s*\{\s*"(\w{6,17})"')


class Found(msgspec.Struct, gc=False):
    """The rows of a request, by row and by column, in signature order."""

    rows: list[Row]
    columns: list[Sequence[Any]] | None
    params: dict[str, Any] | None
    #: Columns that the signature doesn't name.
    strangers: tuple[str, ...] = ()


class _Names(msgspec.Struct):
    columns: list[str]


class _Look(msgspec.Struct):
    dataframe_split: _Names


class _Order:
    """One order of columns that a client uses."""

    __slots__ = ("decoder", "names", "pick", "rows", "strangers")

    def __init__(self, columns: Sequence[Column], names: Sequence[str]) -> None:
        types = {column.name: WIRE[column.type] for column in columns}
        row: Any = tuple.__class_getitem__(tuple(types.get(name, _Scalar) for name in names))
        rows: Any = list.__class_getitem__(row)
        split = msgspec.defstruct(
            "Split",
            [
                ("columns", list[str]),
                ("data", rows),
                ("index", list[int | str] | None, None),
            ],
            forbid_unknown_fields=True,
        )
        self.decoder = _body("dataframe_split", split)
        self.rows: msgspec.json.Decoder[Any] = msgspec.json.Decoder(rows)
        self.names = list(names)
        self.strangers = tuple(name for name in names if name not in types)
        wanted = [column.name for column in columns]
        self.pick = (
            None if self.names == wanted else _picker([self.names.index(name) for name in wanted])
        )

    def found(self, rows: list[Row], params: dict[str, Any] | None) -> Found:
        """The rows, as the signature has them."""
        if self.pick is not None:
            rows = [self.pick(row) for row in rows]
        return Found(rows, None, params, self.strangers)


def _body(form: str, type_: Any) -> msgspec.json.Decoder[Any]:
    body = msgspec.defstruct(
        "Body",
        [
            (form, type_),
            ("params", dict[str, _Scalar] | None, None),
            ("client_request_id", str | None, None),
        ],
        # Unknown fields go the long way, which bounds how deep they may nest.
        forbid_unknown_fields=True,
    )
    return msgspec.json.Decoder(body)


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
        self._heads = Heads()
        self._look = msgspec.json.Decoder(_Look)
        try:
            self._forms = self._by_form()
        except ValueError:  # a name that can't be a key without escapes
            self._forms = {}
        self._instants = [
            at for at, column in enumerate(columns) if column.type is ColumnType.DATETIME
        ]

    def usual_rows(self, body: bytes) -> list[Row] | None:
        """The rows of a request that begins as most do; None: `decode` has to look.

        Rows and nothing else, each as the signature has it.
        """
        return self._heads.usual_rows(body)

    def decode(self, body: bytes) -> Found | None:
        """What the request holds, with every cell right; None: the long way decides."""
        try:
            found = self._known(body) or self._unknown(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        if found is None or not found.rows:
            return None
        return found if self._instants_good(found) else None

    def _known(self, body: bytes) -> Found | None:
        known = self._heads.rows(body)
        if known is None:
            return None
        order, rows = known
        found: Found = order.found(rows, None)
        return found

    def _unknown(self, body: bytes) -> Found | None:
        first = _FIRST_KEY.match(body)
        form = self._forms.get(first[1]) if first else None
        return form(body) if form else self._split(body)

    def _instants_good(self, found: Found) -> bool:
        if not self._instants:
            return True
        if len(found.rows) == 1:
            return all_instants([found.rows[0][at] for at in self._instants])
        if found.columns is None:
            found.columns = list(zip(*found.rows, strict=True))
        return all_instants(list(chain.from_iterable(found.columns[at] for at in self._instants)))

    def _split(self, body: bytes) -> Found | None:
        found = self._try(self._last, body)
        if found is None:
            order = self._order(body)
            if order is None or order is self._last:
                return None
            found = self._try(order, body)
            if found is not None:
                self._last = order
        return found

    def _try(self, order: _Order, body: bytes) -> Found | None:
        try:
            request = order.decoder.decode(body)
        except msgspec.DecodeError:
            return None
        split = request.dataframe_split
        rows, inside = split.data, 2
        if split.columns != order.names:
            return None
        if split.index is not None:
            inside = 3
            if len(split.index) != len(rows):
                return None
        if not _no_key_twice(body, request, inside):
            return None
        if request.params is None and request.client_request_id is None:
            # Instants are texts that have to be looked at.
            usual = order.pick is None and not self._instants
            self._heads.learn(body, order, order.rows, split.index, usual=usual)
        return order.found(rows, request.params)

    def _order(self, body: bytes) -> _Order | None:
        names = tuple(self._look.decode(body).dataframe_split.columns)
        if len(names) > len(self._columns) + _EXTRA:
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

    def _by_form(self) -> dict[bytes, Callable[[bytes], Found | None]]:
        # Any text may name a column, only identifiers a field.
        names = {f"f{at}": column.name for at, column in enumerate(self._columns)}
        record = msgspec.defstruct(
            "Record",
            [(f"f{at}", WIRE[column.type]) for at, column in enumerate(self._columns)],
            rename=names,
            forbid_unknown_fields=True,
        )
        table = msgspec.defstruct(
            "Columns",
            [
                (f"f{at}", list.__class_getitem__(WIRE[column.type]))
                for at, column in enumerate(self._columns)
            ],
            rename=names,
            forbid_unknown_fields=True,
        )
        return {
            b"dataframe_records": self._records("dataframe_records", record),
            b"instances": self._records("instances", record),
            b"inputs": self._inputs(_body("inputs", table)),
        }

    def _records(self, form: str, record: Any) -> Callable[[bytes], Found | None]:
        decoder = _body(form, list.__class_getitem__(record))
        width = len(self._columns)
        astuple = msgspec.structs.astuple

        def read(body: bytes) -> Found | None:
            request = decoder.decode(body)
            records = getattr(request, form)
            if not _no_key_twice(body, request, width * len(records)):
                return None
            return Found(list(map(astuple, records)), None, request.params)

        return read

    def _inputs(self, decoder: msgspec.json.Decoder[Any]) -> Callable[[bytes], Found | None]:
        width = len(self._columns)

        def read(body: bytes) -> Found | None:
            request = decoder.decode(body)
            columns = msgspec.structs.astuple(request.inputs)
            rows = len(columns[0])
            if any(len(column) != rows for column in columns):
                return None
            if not _no_key_twice(body, request, width):
                return None
            return Found(list(zip(*columns, strict=True)), list(columns), request.params)

        return read


def _no_key_twice(body: bytes, request: Any, inside: int) -> bool:
    """``inside``: how many keys the form itself has."""
    keys = 1 + inside
    if request.params is not None:
        keys += 1 + len(request.params)
    if request.client_request_id is not None:
        keys += 1
    return all_differ(body, keys)
