"""Columns of cells as a JSON request gave them, in any of its forms; nothing is converted here."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import msgspec

from serinus.errors import BadRequest
from serinus.replica.envelope import Envelope

__all__ = ["Table", "json_table", "known", "only_once"]

#: How many names of columns that nobody asked for are kept, for people.
_KEPT = 20


class Table(msgspec.Struct, frozen=True):
    """Named columns of equal length."""

    columns: dict[str, Sequence[Any]]
    rows: int
    #: How many columns there were that the model doesn't know.
    extra: int = 0
    #: Some of their names.
    strangers: tuple[str, ...] = ()


def json_table(envelope: Envelope, names: Sequence[str] | None, *, nested: bool = False) -> Table:
    """The table in a JSON request; raises BadRequest.

    ``names`` are the columns that count, None for all that there are. ``nested``: cells may be
    arrays and objects, so an object of columns can only be a single row.
    """
    form, data = envelope.form, envelope.data
    if form == "dataframe_split":
        return _split(data, names)
    if isinstance(data, list) and all(isinstance(each, dict) for each in data):
        return _records(data, names, form)
    if form == "dataframe_records":
        raise BadRequest("'dataframe_records' must be an array of objects, one for each row.")
    if form == "inputs" and isinstance(data, dict):
        return _records([data], names, form) if nested else _by_column(data, names)
    if names is not None and len(names) == 1 and not nested:
        return Table({names[0]: _only_column(data)}, len(data) if isinstance(data, list) else 1)
    raise BadRequest(
        f"'{form}' must name its columns for this model: send an array of objects"
        + (", or an object of columns." if form == "inputs" else ".")
    )


def only_once(names: Sequence[str]) -> str | None:
    """The first name that is there twice; None when all differ."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def known(columns: dict[str, Sequence[Any]], names: Sequence[str] | None, rows: int) -> Table:
    """A table of those columns alone that count."""
    if names is None:
        return Table(columns, rows)
    kept = {name: columns[name] for name in names if name in columns}
    strangers = islice((name for name in columns if name not in kept), _KEPT)
    return Table(kept, rows, len(columns) - len(kept), tuple(strangers))


def _split(data: Any, names: Sequence[str] | None) -> Table:
    if not isinstance(data, dict):
        raise BadRequest("'dataframe_split' must be an object with 'columns' and 'data'.")
    unknown = data.keys() - {"columns", "index", "data"}
    given, rows = data.get("columns"), data.get("data")
    if names is None and given is None and isinstance(rows, list) and rows:
        given = [str(at) for at in range(len(rows[0]) if isinstance(rows[0], list) else 1)]
    if unknown or not isinstance(rows, list) or not isinstance(given, list):
        raise BadRequest(
            "'dataframe_split' must have the arrays 'columns' and 'data', and may have 'index'"
            + (f"; it has '{min(unknown)[:60]}' too." if unknown else ".")
        )
    if not all(isinstance(name, str) for name in given):
        raise BadRequest("'columns' of 'dataframe_split' must be an array of strings.")
    twice = only_once(given)
    if twice is not None:
        raise BadRequest(f"'columns' of 'dataframe_split' names '{twice[:60]}' more than once.")
    for at, row in enumerate(rows):
        if not isinstance(row, list):
            raise BadRequest(f"Row {at} of 'dataframe_split' must be an array of cells.")
        if len(row) != len(given):
            raise BadRequest(f"Row {at} has {len(row)} cells for {len(given)} columns.")
    index = data.get("index")
    if index is not None and (not isinstance(index, list) or len(index) != len(rows)):
        raise BadRequest(f"'index' of 'dataframe_split' must be an array of {len(rows)} labels.")
    cells: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(given)
    return known(dict(zip(given, cells, strict=True)), names, len(rows))


def _records(records: list[dict[str, Any]], names: Sequence[str] | None, form: str) -> Table:
    # A dict keeps the order in which columns first appear.
    given: dict[str, None] = {}
    for record in records:
        given.update(dict.fromkeys(record))
    if form == "instances" or names is None:
        for at, record in enumerate(records):
            if len(record) != len(given):
                lacking = next(name for name in given if name not in record)
                raise BadRequest(f"Row {at} of '{form}' lacks the field '{lacking[:60]}'.")
    kept = list(given) if names is None else [name for name in names if name in given]
    # Each row may bring names of its own: columns are made only of those that count.
    columns: dict[str, Sequence[Any]] = {name: [row.get(name) for row in records] for name in kept}
    inside = set(kept)
    strangers = islice((name for name in given if name not in inside), _KEPT)
    return Table(columns, len(records), len(given) - len(kept), tuple(strangers))


def _by_column(data: dict[str, Any], names: Sequence[str] | None) -> Table:
    if not any(isinstance(cells, list) for cells in data.values()):
        return known({name: [cell] for name, cell in data.items()}, names, 1)
    rows = -1
    for name, cells in data.items():
        if not isinstance(cells, list):
            raise BadRequest(
                f"'inputs' has arrays of cells, but column '{name[:60]}' is a single one."
            )
        if rows not in (-1, len(cells)):
            raise BadRequest(
                f"Column '{name[:60]}' of 'inputs' has {len(cells)} cells where others have {rows}."
            )
        rows = len(cells)
    return known(data, names, rows)


def _only_column(data: Any) -> list[Any]:
    cells = data if isinstance(data, list) else [data]
    return [cell[0] if isinstance(cell, list) and len(cell) == 1 else cell for cell in cells]
