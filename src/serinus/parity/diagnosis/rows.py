"""Recorded live rows as columns: the evidence sample, ready to be compared and computed again.

It holds what was recorded and nothing else; it never guesses a value.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

import numpy as np

from serinus.parity.arrays import StageValues
from serinus.parity.columns import Column
from serinus.parity.contract import Kind

_UTC = timezone.utc  # noqa: UP017 - a replica's Python may be 3.10

__all__ = ["Rows", "column_of", "no_rows", "take"]


@dataclass(frozen=True)
class Rows:
    """Some rows that were answered, in the order of time."""

    ids: list[str]
    #: When the prediction was asked for, in seconds since 1970.
    at: Any
    callers: Any
    #: What the model got, after lookups; also keys that are sent but are no field of it.
    columns: dict[str, Column]
    #: Looked-up field → what the lookup said for each row (``PRESENT``, ``NOT_FOUND`` …).
    statuses: dict[str, Any] = field(default_factory=dict)
    #: Looked-up field → seconds since its value was made, NaN where nobody knows.
    ages: dict[str, Any] = field(default_factory=dict)
    #: Stage → its values as the serving process recorded them.
    stages: dict[str, StageValues] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def some(self, mask: Any) -> "Rows":
        """The rows where ``mask`` is true."""
        at = np.flatnonzero(mask)
        return replace(
            self,
            ids=[self.ids[i] for i in at],
            at=self.at[at],
            callers=self.callers[at],
            columns={name: take(each, at) for name, each in self.columns.items()},
            statuses={name: each[at] for name, each in self.statuses.items()},
            ages={name: each[at] for name, each in self.ages.items()},
            stages={
                name: [_pick(values, at) for values in columns]
                for name, columns in self.stages.items()
            },
        )

    def of(self, caller: str | None) -> "Rows":
        """The rows of one caller; None: all."""
        return self if caller is None else self.some(self.callers == caller)

    def examples(self, mask: Any, most: int = 5) -> list[str]:
        """Ids of the first rows where ``mask`` is true."""
        return [self.ids[at] for at in np.flatnonzero(mask)[:most]]


def no_rows() -> Rows:
    """None were recorded."""
    return Rows(ids=[], at=np.empty(0), callers=np.empty(0, dtype=object), columns={})


def take(column: Column, at: Any) -> Column:
    """The column with only the rows at these places."""
    return replace(column, values=column.values[at], null=column.null[at])


def _pick(values: Any, at: Any) -> Any:
    return values[at] if isinstance(values, np.ndarray) else [values[i] for i in at]


def column_of(name: str, kind: Kind, cells: Sequence[Any]) -> Column:
    """A column of JSON cells; what does not fit the kind makes it one of ``OTHER``."""
    null = np.array([each is None or each != each for each in cells], dtype=bool)
    if kind is Kind.INSTANT:
        return _instants(name, cells, null)
    texts = [each for each in cells if each is not None and each == each]
    if kind in (Kind.NUMBER, Kind.WHOLE, Kind.FLAG):
        if not all(isinstance(each, int | float) for each in texts):
            return _other(name, cells, null)
        filled = [np.nan if gone else float(each) for each, gone in zip(cells, null, strict=True)]
        return Column(name, Kind.NUMBER, np.array(filled, dtype=np.float64), null)
    if kind is Kind.TEXT and all(isinstance(each, str) for each in texts):
        words = sorted(set(texts))
        place = {word: at for at, word in enumerate(words)}
        codes = [-1 if gone else place[each] for each, gone in zip(cells, null, strict=True)]
        return Column(name, Kind.TEXT, np.array(codes, dtype=np.int64), null, words)
    return _other(name, cells, null)


def _instants(name: str, cells: Sequence[Any], null: Any) -> Column:
    try:
        values = np.array(
            ["NaT" if gone else _plain(each) for each, gone in zip(cells, null, strict=True)],
            dtype="datetime64[ns]",
        )
    except ValueError:
        return _other(name, cells, null)
    return Column(name, Kind.INSTANT, values, null)


def _plain(cell: Any) -> str:
    """An instant without a zone: one that has a zone is told in UTC, as captures have it."""
    text = str(cell)
    time = text[10:]
    if not (time.endswith(("Z", "z")) or "+" in time or "-" in time):
        return text
    at = datetime.fromisoformat(text[:-1] + "+00:00" if time[-1] in "Zz" else text)
    return at.astimezone(_UTC).replace(tzinfo=None).isoformat()


def _other(name: str, cells: Sequence[Any], null: Any) -> Column:
    values = np.empty(len(cells), dtype=object)
    values[:] = list(cells)
    return Column(name, Kind.OTHER, values, null)
