"""Rows of checked cells become the input of a model: a data frame, or one block of numbers.

Types and memory order are those that MLflow's own schema enforcement leaves behind, so that the
model computes on the very same bits; a row has them alone as among others. Nothing is checked here.
"""

import contextlib
import importlib
import struct
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np

from serinus.replica.card import Column, ColumnType
from serinus.replica.cells import DTYPES, array

__all__ = ["Layout", "block_type"]

Columns = Sequence[Sequence[Any]]
_ALONE = {ColumnType.LONG: "int64", ColumnType.INTEGER: "int32", ColumnType.FLOAT: "float32"}
_WIDENED = frozenset((ColumnType.DOUBLE, ColumnType.LONG, ColumnType.INTEGER))


def block_type(types: Iterable[ColumnType]) -> str:
    """The one NumPy type that a frame of such columns becomes inside a model; "": there is none."""
    found = set(types)
    if len(found) == 1 and (only := next(iter(found))) in _ALONE:
        return _ALONE[only]
    return "float64" if ColumnType.DOUBLE in found and found <= _WIDENED else ""


#: Types whose numbers `struct` writes as NumPy does, at half the cost, in lines of so many.
_PACKED, _WORTH = frozenset("dflqi"), 8


class Layout:
    """The present columns of a signature, in its order (optional ones may be absent)."""

    def __init__(self, columns: Sequence[Column]) -> None:
        # Every model's environment that takes data frames has pandas; the server's may not.
        import pandas as pd  # noqa: PLC0415

        self.columns = tuple(columns)
        self.index = pd.Index([column.name for column in columns])
        self._pandas = pd
        #: The types of columns of the last frame that was right as it was.
        self.seen: list[Any] = []
        self.text = _text_type(pd)
        self._to_text = _text_maker(self.text)
        self.plain = all(column.type is ColumnType.DOUBLE for column in columns)
        #: Of each NumPy type, which columns have it; pandas keeps those together.
        self._blocks: list[tuple[Any, list[int], Any]] = []
        #: The columns that stand alone, and what makes each.
        self._singles: list[tuple[Callable[[Sequence[Any]], Any], int, Any]] = []
        self._block = np.dtype(block_type(column.type for column in columns) or np.float64)
        self._place()
        self._from_blocks = _block_reader()

    def _place(self) -> None:
        by_type: dict[Any, list[int]] = {}
        for at, column in enumerate(self.columns):
            if column.type is ColumnType.STRING:
                self._singles.append((self._to_text, at, np.array([at])))
            else:
                by_type.setdefault(DTYPES[column.type], []).append(at)
        for dtype, places in by_type.items():
            self._blocks.append((dtype, places, np.array(places)))

    def block(self, rows: Sequence[Sequence[Any]]) -> Any:
        """Rows by columns of one type, in the memory order of a frame built by column."""
        return np.asfortranarray(_numbers(rows, len(self.columns), self._block))

    def frame(self, columns: Columns, count: int) -> Any:
        """A data frame of ``count`` rows."""
        if self._from_blocks is None:
            return self._by_column(columns)
        blocks = []
        for dtype, places, placement in self._blocks:
            some = [columns[at] for at in places]
            if dtype.kind == "O":
                # np.array would look into lists and bytes.
                block = np.empty((len(some), count), dtype=object)
                for at, values in enumerate(some):
                    block[at] = array(values, ColumnType.NESTED)
            elif dtype.kind in "if":
                block = _numbers(some, count, dtype)
            else:
                block = np.array(some, dtype=dtype)
            blocks.append((block, placement))
        for make, at, placement in self._singles:
            made = make(columns[at])
            blocks.append((made if made.ndim > 1 else _upright(made), placement))
        index = self._pandas.RangeIndex(count)
        return self._from_blocks(blocks, index=index, columns=self.index)

    def _by_column(self, columns: Columns) -> Any:
        arrays: dict[str, Any] = {}
        for column, values in zip(self.columns, columns, strict=True):
            text = column.type is ColumnType.STRING
            arrays[column.name] = self._to_text(values) if text else array(values, column.type)
        return self._pandas.DataFrame(arrays, columns=self.index)


def _numbers(lines: Sequence[Sequence[Any]], width: int, dtype: Any) -> Any:
    """As ``np.array(lines, dtype)``, which looks at each cell twice: once to find out the shape."""
    if width >= _WORTH and len(lines) > 1 and dtype.char in _PACKED:
        pack = _packer(width, dtype.char)
        packed: bytearray | None
        try:
            packed = bytearray().join([pack(*line) for line in lines])
        except struct.error:
            packed = None  # it holds a null, which NumPy makes a number of
        if packed is not None:
            return np.frombuffer(packed, dtype).reshape(len(lines), width)
    made = np.fromiter(chain.from_iterable(lines), dtype, len(lines) * width)
    return made.reshape(len(lines), width)


@lru_cache(512)
def _packer(width: int, code: str) -> Callable[..., bytes]:
    return struct.Struct(f"{width}{code}").pack


def _upright(made: Any) -> Any:
    # pandas keeps a column of objects as a block of one row, one of its own types as it is.
    return made.reshape(1, -1) if isinstance(made, np.ndarray) else made


def _block_reader() -> Any:
    """What makes a frame of blocks, without looking at each column again; None before pandas 3."""
    with contextlib.suppress(ImportError, AttributeError):
        return importlib.import_module("pandas.api.internals").create_dataframe_from_blocks
    return None


def _text_type(pd: Any) -> Any:
    """The type of a column of strings in this pandas; before pandas 3 one of objects."""
    text = pd.Series(["text"]).dtype
    return np.dtype(object) if isinstance(text, np.dtype) else text


def _text_maker(text: Any) -> Callable[[Sequence[Any]], Any]:
    if isinstance(text, np.dtype):
        return lambda values: np.array(values, dtype=object)
    kind = text.construct_array_type()

    def slowly(values: Sequence[Any]) -> Any:
        return kind._from_sequence(list(values), dtype=text)

    try:
        arrow = importlib.import_module("pyarrow")
        large = arrow.large_string()

        def quickly(values: Sequence[Any]) -> Any:
            return kind(arrow.chunked_array([arrow.array(values, large)]), dtype=text)

        # The same thing at half the cost, where pandas keeps strings in Arrow's way.
        tried, known = quickly(["a", None]), slowly(["a", None])
        same = tried.dtype == known.dtype and tried.equals(known)
    except (ImportError, AttributeError, TypeError, ValueError):
        return slowly
    return quickly if same else slowly
