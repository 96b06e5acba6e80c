"""Data frames and mappings from the same process, as columns of cells for the strict check.

A frame whose types are right already is recognised by its types alone, whatever its length.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serinus.errors import BadRequest
from serinus.replica.card import ColumnType
from serinus.replica.cells import DTYPES
from serinus.replica.layout import Layout
from serinus.replica.sheet import plain
from serinus.replica.table import Table, known, only_once

__all__ = ["frame_table", "is_as_wanted"]

_OBJECT = np.dtype(object)


def is_as_wanted(data: Any, layout: Layout) -> bool:
    """True for a frame that has the layout's columns in their order and type, and rows."""
    manager = getattr(data, "_mgr", None)
    if manager is None or not len(data):
        return False
    if data.columns is not layout.index and not data.columns.equals(layout.index):
        return False
    types = _types(data, manager)
    if types == layout.seen:
        return True
    if not all(map(_fits, types, layout.columns, [layout.text] * len(types))):
        return False
    layout.seen = types
    return True


def _types(data: Any, manager: Any) -> list[Any]:
    # `frame.dtypes` makes a Series, which costs more than all the rest here.
    try:
        blocks = [block.dtype for block in manager.blocks]
        return [blocks[at] for at in manager.blknos.tolist()]
    except AttributeError:
        return list(data.dtypes)


def _fits(dtype: Any, column: Any, text: Any) -> bool:
    if column.type is ColumnType.STRING:
        # A column of objects may hold anything.
        return bool(dtype == text) and text != _OBJECT
    wanted = DTYPES[column.type]
    return bool(dtype == wanted) and wanted != _OBJECT


def frame_table(data: Any, names: Sequence[str]) -> Table:
    """The table in a data frame or a mapping; raises BadRequest."""
    if hasattr(data, "columns") and hasattr(data, "__len__"):
        given = [str(name) for name in data.columns]
        twice = only_once(given)
        if twice is not None:
            raise BadRequest(f"The data frame names the column '{twice[:60]}' more than once.")
        columns: dict[str, Sequence[Any]] = {
            name: _cells(data[each]) for name, each in zip(given, data.columns, strict=True)
        }
        return known(columns, names, len(data))
    if isinstance(data, Mapping):
        columns = {str(name): _cells(each) for name, each in data.items()}
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            raise BadRequest(f"The columns have {' and '.join(map(str, sorted(lengths)))} cells.")
        return known(columns, names, lengths.pop() if lengths else 0)
    raise BadRequest(
        f"The model takes a data frame or a mapping of columns, not {type(data).__name__}."
    )


def _cells(column: Any) -> list[Any]:
    if isinstance(column, str | bytes) or not hasattr(column, "__len__"):
        raise BadRequest("Each column must be a sequence of cells.")
    cells = column.tolist() if hasattr(column, "tolist") else list(column)
    return [_cell(cell) for cell in cells]


def _cell(cell: Any) -> Any:
    if cell is None or type(cell) in (str, int, bool, list, dict):
        return cell
    if isinstance(cell, np.generic):
        # Python has no date with nanoseconds.
        cell = str(cell) if cell.dtype.kind == "M" else cell.item()
    if type(cell).__name__ in ("NAType", "NaTType") or cell == "NaT":
        return None
    return plain(cell)
