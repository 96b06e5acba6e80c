"""Sampled rows taken apart once more, each alone, to lay beside what was computed when they came.

It judges nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from typing import Any

import msgspec
import numpy as np

from serinus.parity.arrays import StageValues
from serinus.parity.diagnosis.values import Staged
from serinus.parity.live import Record
from serinus.parity.wire import Inspection, Request

__all__ = ["staged_of"]

#: Rows that are asked again, and of one request.
_ROWS, _OF_ONE = 48, 4
#: A request, and one of its rows.
_Place = tuple[Record, int]


def staged_of(
    records: Iterable[Record], apart: Callable[[Sequence[Request]], list[Inspection]]
) -> Staged | None:
    """Take some of them apart; None where no stages were recorded or nothing could be asked."""
    asked = list(_chosen(records))
    bodies = [msgspec.json.encode({"dataframe_records": [r.rows[at]]}) for r, at in asked]
    found = apart([Request(body) for body in bodies]) if asked else []
    pairs = [(place, each) for place, each in zip(asked, found, strict=False) if each.stages]
    if not pairs:
        return None
    names = set.intersection(*({*r.stages} & {*each.stages} for (r, _), each in pairs))
    return Staged(
        ids=[f"{r.request_id}/{at}" if at else r.request_id for (r, at), _ in pairs],
        then={n: _columns([_row(r.stages[n], at) for (r, at), _ in pairs]) for n in names},
        alone={n: _columns([_row(each.stages[n], 0) for _, each in pairs]) for n in names},
    )


def _chosen(records: Iterable[Record]) -> Iterator[_Place]:
    """The newest requests of each caller in turn, and of each its first rows."""
    by_caller: dict[str, list[Record]] = {}
    for each in sorted(records, key=lambda each: -each.at):
        if each.stages and not each.violation:
            by_caller.setdefault(each.caller, []).append(each)
    turns = zip_longest(*by_caller.values())
    some = (each for turn in turns for each in turn if each is not None)
    places = ((each, at) for each in some for at in range(min(_OF_ONE, _rows_of(each))))
    return islice(places, _ROWS)


def _rows_of(record: Record) -> int:
    """Rows that are known with all their stages."""
    return min([len(record.rows), *(len(c) for each in record.stages.values() for c in each[:1])])


def _row(columns: StageValues, at: int) -> list[Any]:
    """One row of a stage, flat."""
    found: list[Any] = []
    for column in columns:
        cell = column[at]
        found += np.ravel(cell).tolist() if isinstance(cell, list | np.ndarray) else [cell]
    return found


def _columns(rows: list[list[Any]]) -> StageValues:
    """Rows as columns; one that is shorter than the others differs from what is not."""
    width = max(map(len, rows))
    return [_column([each[at] if at < len(each) else None for each in rows]) for at in range(width)]


def _column(cells: list[Any]) -> Any:
    if all(each is None or isinstance(each, int | float | np.number) for each in cells):
        return np.array(cells, dtype=np.float64)
    return cells
