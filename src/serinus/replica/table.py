"""Columns of cells as a request gave them, from any form of request; nothing is converted here."""

import csv
import importlib
import io
from collections.abc import Sequence
from typing import Any

import msgspec

from serinus.errors import BadRequest, UnsupportedMediaType
from serinus.replica.card import Column
from serinus.replica.cells import parse_text
from serinus.replica.envelope import Envelope

__all__ = ["Table", "csv_table", "json_table", "parquet_table"]


class Table(msgspec.Struct, frozen=True):
    """Named columns of equal length."""

    columns: dict[str, Sequence[Any]]
    rows: int


def json_table(envelope: Envelope, names: Sequence[str]) -> Table:
    """The table in a JSON request to a model with these input names; raises BadRequest."""
    form, data = envelope.form, envelope.data
    if form == "dataframe_split":
        return _split(data)
    if isinstance(data, list) and all(isinstance(each, dict) for each in data):
        return _records(data, form)
    if form == "dataframe_records":
        raise BadRequest("'dataframe_records' must be an array of objects, one for each row.")
    if form == "inputs" and isinstance(data, dict):
        return _by_column(data)
    if len(names) == 1:
        return Table({names[0]: _only_column(data)}, len(data) if isinstance(data, list) else 1)
    raise BadRequest(
        f"'{form}' must name its columns for this model: send an array of objects"
        + (", or an object of columns." if form == "inputs" else ".")
    )


def _split(data: Any) -> Table:
    if not isinstance(data, dict):
        raise BadRequest("'dataframe_split' must be an object with 'columns' and 'data'.")
    unknown = data.keys() - {"columns", "index", "data"}
    names, rows = data.get("columns"), data.get("data")
    if unknown or not isinstance(rows, list) or not isinstance(names, list):
        raise BadRequest(
            "'dataframe_split' must have the arrays 'columns' and 'data', and may have 'index'"
            + (f"; it has '{min(unknown)}' too." if unknown else ".")
        )
    if not all(isinstance(name, str) for name in names):
        raise BadRequest("'columns' of 'dataframe_split' must be an array of strings.")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadRequest(f"'columns' of 'dataframe_split' names '{twice}' more than once.")
    for at, row in enumerate(rows):
        if not isinstance(row, list):
            raise BadRequest(f"Row {at} of 'dataframe_split' must be an array of cells.")
        if len(row) != len(names):
            raise BadRequest(f"Row {at} has {len(row)} cells for {len(names)} columns.")
    index = data.get("index")
    if index is not None and (not isinstance(index, list) or len(index) != len(rows)):
        raise BadRequest(f"'index' of 'dataframe_split' must be an array of {len(rows)} labels.")
    cells: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return Table(dict(zip(names, cells, strict=True)), len(rows))


def _records(records: list[dict[str, Any]], form: str) -> Table:
    # A dict keeps the order in which columns first appear.
    names = dict.fromkeys(name for record in records for name in record)
    if form == "instances":
        for at, record in enumerate(records):
            for name in names.keys() - record.keys():
                raise BadRequest(f"Row {at} of 'instances' lacks the field '{name}'.")
    return Table({name: [row.get(name) for row in records] for name in names}, len(records))


def _by_column(data: dict[str, Any]) -> Table:
    if not any(isinstance(cells, list) for cells in data.values()):
        return Table({name: [cell] for name, cell in data.items()}, 1)
    rows = -1
    for name, cells in data.items():
        if not isinstance(cells, list):
            raise BadRequest(f"'inputs' has arrays of cells, but column '{name}' is a single one.")
        if rows not in (-1, len(cells)):
            raise BadRequest(
                f"Column '{name}' of 'inputs' has {len(cells)} cells where others have {rows}."
            )
        rows = len(cells)
    return Table(data, rows)


def _only_column(data: Any) -> list[Any]:
    cells = data if isinstance(data, list) else [data]
    return [cell[0] if isinstance(cell, list) and len(cell) == 1 else cell for cell in cells]


def csv_table(body: bytes, columns: Sequence[Column]) -> Table:
    """The table in a CSV file with a header line; raises BadRequest."""
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except UnicodeDecodeError:
        raise BadRequest("The request body can't be read as CSV: it is not UTF-8.") from None
    except csv.Error as error:
        raise BadRequest(f"The request body can't be read as CSV: {error}.") from None
    if not lines:
        raise BadRequest("The request body is empty; CSV needs a header line and rows.")
    names, rows = lines[0], [line for line in lines[1:] if line]
    if len(set(names)) != len(names):
        raise BadRequest("The header line of the CSV body names a column more than once.")
    for at, row in enumerate(rows):
        if len(row) != len(names):
            raise BadRequest(f"Row {at} has {len(row)} cells for {len(names)} columns.")
    types = {column.name: column.type for column in columns}
    table: dict[str, Sequence[Any]] = {}
    for at, name in enumerate(names):
        texts = [row[at] for row in rows]
        type_ = types.get(name)
        table[name] = [parse_text(text, type_) for text in texts] if type_ else texts
    return Table(table, len(rows))


def parquet_table(body: bytes) -> Table:
    """The table in a Parquet file.

    Raises BadRequest when it can't be read, UnsupportedMediaType where pyarrow is missing.
    """
    try:
        # Only some models' environments have it, and few requests need it.
        pyarrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise UnsupportedMediaType(
            "The model's environment has no pyarrow to read Parquet with; send JSON or CSV."
        ) from None
    try:
        frame = parquet.read_table(io.BytesIO(body))
    except (pyarrow.ArrowException, OSError) as error:
        raise BadRequest(f"The request body can't be read as Parquet: {error}.") from None
    columns: dict[str, Sequence[Any]] = {
        str(name): [_plain(cell) for cell in frame[name].to_pylist()] for name in frame.schema.names
    }
    return Table(columns, frame.num_rows)


def _plain(cell: Any) -> Any:
    if isinstance(cell, float) and cell != cell:  # NaN, as pandas writes a missing value
        return None
    return cell.isoformat() if hasattr(cell, "isoformat") else cell
