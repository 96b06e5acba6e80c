"""Rows of checked cells become the input of a model: a data frame, or one block of doubles.

Types and memory order are those that MLflow's own schema enforcement leaves behind, so that the
model computes on the very same bits. Nothing is checked here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from serinus.replica.card import Column, ColumnType
from serinus.replica.cells import array

__all__ = ["Layout"]


class Layout:
    """The present columns of a signature, in its order (optional ones may be absent)."""

    def __init__(self, columns: Sequence[Column]) -> None:
        # Every model's environment that takes data frames has pandas; the server's may not.
        import pandas as pd  # noqa: PLC0415

        self.columns = tuple(columns)
        self._pandas = pd
        self._index = pd.Index([column.name for column in columns])
        text = pd.Series(["text"]).dtype
        # pandas 3 has a type for strings; before, a column of them was one of objects.
        self._text = None if isinstance(text, np.dtype) else text
        self.plain = all(column.type is ColumnType.DOUBLE for column in columns)
        self._strings = [
            at for at, column in enumerate(columns) if column.type is ColumnType.STRING
        ]

    def nulls(self, rows: Sequence[Sequence[Any]]) -> tuple[bool, ...]:
        """Which columns of strings hold nothing but nulls.

        pandas gives such a column another type than one with some strings in it, and a model may
        see the difference; so only requests that agree here may share a frame.
        """
        return tuple([all(row[at] is None for row in rows) for at in self._strings])

    def block(self, rows: Sequence[Sequence[Any]]) -> Any:
        """Rows by columns of doubles, in the memory order of a frame built by column."""
        return np.asfortranarray(np.array(rows, dtype=np.float64))

    def frame(self, rows: Sequence[Sequence[Any]], *, odd: bool = False) -> Any:
        """A data frame; ``odd`` when a column of strings holds other things too."""
        pd = self._pandas
        if self.plain:
            return pd.DataFrame(self.block(rows), columns=self._index, copy=False)
        arrays: dict[str, Any] = {}
        for column, values in zip(self.columns, zip(*rows, strict=True), strict=True):
            if column.type is ColumnType.STRING and not odd and values.count(None) < len(values):
                arrays[column.name] = self._texts(values)
            elif column.type is ColumnType.STRING:
                arrays[column.name] = pd.Series(values).array
            else:
                arrays[column.name] = array(values, column.type)
        return pd.DataFrame(arrays, copy=False)

    def _texts(self, values: Sequence[str | None]) -> Any:
        if self._text is None:
            return np.array(values, dtype=object)
        # What pandas.array() comes to, at a fifth of its cost.
        kind = self._text.construct_array_type()
        return kind._from_sequence(list(values), dtype=self._text)
