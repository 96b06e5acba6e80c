"""Where the true values of features can be had: the table that training was fed from.

Read as of the time of each prediction, so that a value that came later is never compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from serinus.errors import InvalidParameterValue
from serinus.parity.columns import Column
from serinus.parity.contract import Kind
from serinus.parity.diagnosis.rows import Rows

__all__ = ["Offline", "TableOffline", "Truth"]


@dataclass(frozen=True)
class Truth:
    """The offline values of one feature for some rows."""

    column: Column
    #: False where the source has no row for the key at that time.
    found: Any
    #: False where it has no row for the key at any time.
    heard: Any
    #: Seconds since each row of the source that was taken became true; None: it has no time.
    age: Any | None = None


class Offline(Protocol):
    """A source of true values."""

    #: How people know it, e.g. the file's name.
    name: str

    def covers(self, field: str) -> bool:
        """Whether it has this feature."""
        ...

    def truth(self, field: str, rows: Rows, lag_s: float = 0.0) -> Truth | None:
        """Its values as of ``lag_s`` before each row's prediction.

        None when the rows lack its keys.
        """
        ...


class TableOffline:
    """A table in memory: key columns, perhaps a time, and features."""

    def __init__(
        self,
        name: str,
        columns: Mapping[str, Column],
        keys: Sequence[str],
        time: str | None = None,
        max_age_s: float = float("inf"),
    ) -> None:
        """``time`` names the column that says when a row of it became true.

        A row that is older than ``max_age_s`` by then is as good as none.

        Raises InvalidParameterValue when a named column is missing.
        """
        missing = [each for each in (*keys, *([time] if time else ())) if each not in columns]
        if missing:
            raise InvalidParameterValue(
                f"The offline source {name} has no column '{missing[0]}'; it has "
                f"{', '.join(list(columns)[:20])}."
            )
        self.name = name
        self._columns = dict(columns)
        self._keys = tuple(keys)
        self._time = time
        self._max_age_s = max_age_s
        self._order, self._groups = _index([columns[each] for each in keys], self._seconds())

    def _seconds(self) -> Any:
        if self._time is None:
            return None
        column = self._columns[self._time]
        if column.kind is Kind.INSTANT:
            return column.values.astype("datetime64[us]").astype(np.int64) / 1e6
        return column.values.astype(np.float64)

    def _asked(self, rows: Rows) -> Any:
        """When each value was needed: the request's own time, where it carries one."""
        column = rows.columns.get(self._time) if self._time else None
        if column is None or column.kind is not Kind.INSTANT:
            return rows.at
        return column.values.astype("datetime64[us]").astype(np.int64) / 1e6

    def covers(self, field: str) -> bool:
        """See `Offline.covers`."""
        return field in self._columns and field not in self._keys and field != self._time

    def truth(self, field: str, rows: Rows, lag_s: float = 0.0) -> Truth | None:
        """See `Offline.truth`."""
        if any(each not in rows.columns for each in self._keys) or not self.covers(field):
            return None
        keys = _texts([rows.columns[each] for each in self._keys], len(rows))
        asked = self._asked(rows) - lag_s
        place = np.full(len(rows), -1, dtype=np.int64)
        age = np.full(len(rows), np.nan)
        heard = np.array([each in self._groups for each in keys], dtype=bool)
        for at, key in enumerate(keys):
            group = self._groups.get(key)
            if group is None:
                continue
            start, times = group
            if times is None:
                place[at] = self._order[start]
                continue
            before = int(np.searchsorted(times, asked[at], side="right")) - 1
            if before >= 0 and asked[at] - times[before] <= self._max_age_s:
                place[at] = self._order[start + before]
                age[at] = asked[at] - times[before]
        column, found = self._columns[field], place >= 0
        safe = np.where(found, place, 0)
        null = column.null[safe] | ~found
        values = column.values[safe]
        if column.kind is Kind.TEXT:
            values = np.where(null, -1, values)
        elif column.kind is Kind.NUMBER:
            values = np.where(null, np.nan, values)
        truth = Column(field, column.kind, values, null, column.words)
        return Truth(truth, found, heard, None if self._time is None else age)


def _texts(columns: Sequence[Column], rows: int) -> list[tuple[str, ...]]:
    parts = [_as_text(column) for column in columns]
    return list(zip(*parts, strict=True)) if parts else [()] * rows


def _as_text(column: Column) -> list[str]:
    if column.kind is Kind.TEXT:
        words = [*column.words, ""]  # the code of null is -1
        return [words[code] for code in column.values]
    if column.kind in (Kind.NUMBER, Kind.WHOLE, Kind.FLAG):
        return [repr(float(each)) for each in column.values]
    return [str(each) for each in column.values]


def _index(
    keys: Sequence[Column], seconds: Any
) -> tuple[Any, dict[tuple[str, ...], tuple[int, Any]]]:
    """The places of the rows by key and time, and where each key begins with its times."""
    rows = len(keys[0].null) if keys else 0
    texts = _texts(keys, rows)
    places: dict[tuple[str, ...], int] = {}
    codes = np.array([places.setdefault(each, len(places)) for each in texts], dtype=np.int64)
    order = (
        np.lexsort((seconds, codes)) if seconds is not None else np.argsort(codes, kind="stable")
    )
    sorted_codes = codes[order]
    starts = np.searchsorted(sorted_codes, np.arange(len(places)), side="left")
    ends = np.searchsorted(sorted_codes, np.arange(len(places)), side="right")
    return order, {
        key: (int(starts[at]), None if seconds is None else seconds[order[starts[at] : ends[at]]])
        for key, at in places.items()
    }
