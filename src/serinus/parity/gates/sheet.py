"""Golden requests as rows, and the same rows in every form in which a client may send them.

It writes bodies; what a form means is for the replica to say.
"""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from serinus.parity.folder import GoldenRow
from serinus.parity.wire import Request

__all__ = ["FORMS", "Sheet", "as_sent", "sheet_of"]

#: Texts that a CSV file can't tell from nothing.
_NOTHING = frozenset(
    """
    na n/a #n/a #na nan -nan null none <na> 1.#ind 1.#qnan -1.#ind -1.#qnan
    """.split()  # noqa: SIM905 - forty quotes would hide the words
) | {"", "#n/a n/a"}


@dataclass(frozen=True)
class Sheet:
    """Rows of cells; without names for a model of bare arrays."""

    names: tuple[str, ...]
    rows: tuple[Any, ...]

    def take(self, places: Sequence[int]) -> "Sheet":
        """The rows at these places."""
        return Sheet(self.names, tuple(self.rows[at] for at in places))

    def with_cell(self, row: int, name: str, value: Any) -> "Sheet":
        """One row of it, with another value in one place."""
        cells = list(self.rows[row])
        cells[self.names.index(name)] = value
        return Sheet(self.names, (tuple(cells),))

    def records(self) -> list[dict[str, Any]]:
        """Each row by name."""
        return [dict(zip(self.names, row, strict=True)) for row in self.rows]

    def split(self) -> Request:
        """``dataframe_split``; ``inputs`` without names."""
        if not self.names:
            return _json("inputs", self.rows)
        return _json("dataframe_split", {"columns": self.names, "data": self.rows})

    def plain_in_csv(self) -> list[int]:
        """The rows that mean the same in a CSV file."""
        return [at for at, row in enumerate(self.rows) if not any(map(_lost_in_csv, row))]


def _lost_in_csv(cell: Any) -> bool:
    if isinstance(cell, str):
        return cell.strip().lower() in _NOTHING or cell != cell.strip()
    return isinstance(cell, list | dict)


def _json(form: str, data: Any) -> Request:
    return Request(msgspec.json.encode({form: data}))


def _records(sheet: Sheet) -> Request:
    return _json("dataframe_records", sheet.records())


def _instances(sheet: Sheet) -> Request:
    return _json("instances", sheet.records() if sheet.names else sheet.rows)


def _inputs(sheet: Sheet) -> Request:
    columns = zip(*sheet.rows, strict=True)
    return _json("inputs", dict(zip(sheet.names, map(list, columns), strict=True)))


def _turned(sheet: Sheet) -> Sheet:
    """Another order of the columns: back to front."""
    return Sheet(sheet.names[::-1], tuple(tuple(row)[::-1] for row in sheet.rows))


def _csv(sheet: Sheet) -> Request:
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(sheet.names)
    for row in sheet.rows:
        writer.writerow([_cell(cell) for cell in row])
    return Request(written.getvalue().encode(), "text/csv")


def _cell(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return repr(cell) if isinstance(cell, int | float) else str(cell)


#: What a form is called → the request in it, for rows with names.
FORMS: dict[str, Callable[[Sheet], Request]] = {
    "dataframe_records": _records,
    "instances": _instances,
    "inputs": _inputs,
    "columns in another order": lambda sheet: _turned(sheet).split(),
    "keys in another order": lambda sheet: _records(_turned(sheet)),
    "CSV": _csv,
}


def as_sent(row: GoldenRow) -> Request:
    """The request byte for byte; with pinned values in it, where some were looked up.

    Raises ValueError or KeyError when pinned values find no place.
    """
    if not row.pinned:
        return Request(row.body.encode(), row.content_type)
    document = msgspec.json.decode(row.body)
    split = document["dataframe_split"]
    for values in row.pinned.values():
        for name, value in values.items():
            split["columns"].append(name)
            for cells in split["data"]:
                cells.append(value)
    return Request(msgspec.json.encode(document), row.content_type)


def sheet_of(requests: Sequence[Request]) -> Sheet | None:
    """All rows of these requests; None when they are not alike, or of no form with rows."""
    names: tuple[str, ...] | None = None
    rows: list[Any] = []
    for request in requests:
        try:
            document = msgspec.json.decode(request.body)
            split = document.get("dataframe_split")
            found = tuple(split["columns"]) if split else ()
            some = split["data"] if split else document["inputs"]
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            return None
        if (names is not None and found != names) or not isinstance(some, list):
            return None
        names = found
        rows += some
    return None if names is None else Sheet(names, tuple(rows))
