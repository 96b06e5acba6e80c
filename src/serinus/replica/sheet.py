"""Columns of cells as a CSV or Parquet file gives them; what a text can't stand for stays text."""

import csv
import importlib
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from serinus.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType
from serinus.replica.card import ColumnType
from serinus.replica.table import Table, known, only_once

__all__ = ["csv_table", "parquet_table", "parse_text", "plain"]

#: A small Parquet file can unpack to any number of cells; no JSON body of 16 MiB holds more.
MAX_CELLS = 8 * 1024 * 1024

# What pandas, too, takes for a missing value.
_NO_VALUE = frozenset(
    [
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"),
        *("1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    ]
)
_TRUE, _FALSE = frozenset(("true", "True", "TRUE")), frozenset(("false", "False", "FALSE"))
# int() and float() would read "1_000" and digits of other scripts as well.
_WHOLE = re.compile(r"[+-]?\d{1,400}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|Infinity)", re.ASCII)
_TEXTS = frozenset((ColumnType.STRING, ColumnType.DATETIME, ColumnType.BINARY, ColumnType.NESTED))


def parse_text(text: str, type_: ColumnType) -> Any:
    """The value that a cell of a CSV file stands for; what can't be read comes back as text."""
    if text in _NO_VALUE:
        return None
    if type_ is ColumnType.BOOLEAN:
        return True if text in _TRUE else False if text in _FALSE else text
    if type_ in _TEXTS:
        return text
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def csv_table(body: bytes, types: Mapping[str, ColumnType] | ColumnType) -> Table:
    """The table in a CSV file with a header line; raises BadRequest.

    ``types`` of the columns that count, or one type for all.
    """
    lines = _lines(body)
    if not lines:
        raise BadRequest("The request body is empty; CSV needs a header line and rows.")
    names, rows = lines[0], lines[1:]
    while rows and not rows[-1]:
        rows.pop()
    twice = only_once(names)
    if twice is not None:
        raise BadRequest(f"The header line of the CSV body names '{twice[:60]}' more than once.")
    for at, row in enumerate(rows):
        if not row:
            # Readers skip such a line, and every answer after it would be for another row.
            raise BadRequest(f'Row {at} is an empty line; write "" for an empty cell.')
        if len(row) != len(names):
            raise BadRequest(f"Row {at} has {len(row)} cells for {len(names)} columns.")
    wanted = None if isinstance(types, ColumnType) else list(types)
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    table = known(dict(zip(names, columns, strict=True)), wanted, len(rows))
    parsed: dict[str, Sequence[Any]] = {}
    for name, texts in table.columns.items():
        type_ = types if isinstance(types, ColumnType) else types[name]
        parsed[name] = [parse_text(text, type_) for text in texts]
    return Table(parsed, table.rows, table.extra, table.strangers)


def _lines(body: bytes) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except UnicodeDecodeError:
        raise BadRequest("The request body can't be read as CSV: it is not UTF-8.") from None
    except csv.Error as error:
        raise BadRequest(f"The request body can't be read as CSV: {error}.") from None


def parquet_table(body: bytes, names: Sequence[str] | None) -> Table:
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
        file = parquet.ParquetFile(io.BytesIO(body))
        given = [str(name) for name in file.schema_arrow.names]
        twice = only_once(given)
        if twice is not None:
            raise BadRequest(f"The Parquet body names the column '{twice[:60]}' more than once.")
        wanted = given if names is None else [name for name in names if name in set(given)]
        if file.metadata.num_rows * max(len(wanted), 1) > MAX_CELLS:
            raise PayloadTooLarge(
                f"The Parquet body has {file.metadata.num_rows} rows; that is more than "
                f"{MAX_CELLS} cells. Send it in parts."
            )
        frame = file.read(columns=wanted)
        columns: dict[str, Sequence[Any]] = {
            name: [plain(cell) for cell in frame[name].to_pylist()] for name in wanted
        }
    except (pyarrow.ArrowException, OSError, ValueError, TypeError, OverflowError) as error:
        raise BadRequest(f"The request body can't be read as Parquet: {error}.") from None
    strangers = tuple([name for name in given if name not in columns][:20])
    return Table(columns, frame.num_rows, len(given) - len(wanted), strangers)


def plain(cell: Any) -> Any:
    """A cell as JSON would have it."""
    if isinstance(cell, float) and cell != cell:  # NaN, as pandas writes a missing value
        return None
    return cell.isoformat() if hasattr(cell, "isoformat") else cell
