"""Sampled requests as a diagnosis looks at them: rows as columns, refusals, what is asked again.

It judges nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from serinus.parity.arrays import differing
from serinus.parity.contract import Contract, Field, Kind
from serinus.parity.diagnosis.rows import Rows, column_of
from serinus.parity.diagnosis.values import RefusedExample, Repeated
from serinus.parity.live import Record
from serinus.parity.stages import as_stage, tolerance_of
from serinus.parity.wire import Answer, Request

__all__ = ["refused_of", "repeated_of", "rows_of"]

#: Requests that are asked again, and how long their bodies may be together.
_AGAIN, _AGAIN_BYTES = 100, 4 << 20
_TYPES = {
    "JSON": "application/json",
    "CSV": "text/csv",
    "PARQUET": "application/vnd.apache.parquet",
}


class _Answer(msgspec.Struct):
    predictions: Any = None


def rows_of(records: Iterable[Record], contract: Contract) -> Rows:
    """Records that were answered as columns, the oldest first."""
    flat = [
        (each, f"{each.request_id}/{at}" if at else each.request_id, row)
        for each in sorted(records, key=lambda each: each.at)
        if not each.violation
        for at, row in enumerate(each.rows)
    ]
    known = {field.name: field for field in contract.fields}
    names = dict.fromkeys([*known, *(name for _, _, row in flat for name in row)])
    return Rows(
        ids=[id_ for _, id_, _ in flat],
        at=np.array([each.at for each, _, _ in flat], dtype=np.float64),
        callers=np.array([each.caller for each, _, _ in flat], dtype=object),
        columns={
            name: column_of(name, _kind(known.get(name)), [row.get(name) for _, _, row in flat])
            for name in names
        },
    )


def _kind(field: Field | None) -> Kind:
    return Kind.TEXT if field is None else field.type.logical


def refused_of(records: Iterable[Record]) -> list[RefusedExample]:
    """Examples of what was refused."""
    return [
        RefusedExample(field=each.field, kind=each.violation, got=each.detail, caller=each.caller)
        for each in records
        if each.violation
    ]


def repeated_of(
    records: Iterable[Record], ask: Callable[[Sequence[Request]], list[Answer]]
) -> Repeated | None:
    """Ask the newest of them again; None where nothing could be compared."""
    chosen = _chosen(records)
    answers = ask([request for _, request in chosen]) if chosen else []
    rows, otherwise = 0, []
    for (record, _), answer in zip(chosen, answers, strict=False):
        then, now = _values(record.answer), _values(answer.body)
        if answer.status != 200 or then is None or now is None:
            continue
        count = len(then[0]) if then else 0
        rows += count
        try:
            far = differing(then, now, tolerance_of("answer"))
        except ValueError:  # of another shape
            far = np.ones(count, dtype=bool)
        otherwise += [
            f"{record.request_id}/{at}" if at else record.request_id for at in np.flatnonzero(far)
        ]
    return Repeated(rows=rows, otherwise=otherwise) if rows else None


def _chosen(records: Iterable[Record]) -> list[tuple[Record, Request]]:
    """The newest of each caller in turn, so that no caller is left out."""
    by_caller: dict[str, list[Record]] = {}
    for each in sorted(records, key=lambda each: -each.at):
        if not each.violation and each.body is not None and each.format in _TYPES:
            by_caller.setdefault(each.caller, []).append(each)
    found: list[tuple[Record, Request]] = []
    left = _AGAIN_BYTES
    for place in range(max(map(len, by_caller.values()), default=0)):
        for some in by_caller.values():
            body = some[place].body if place < len(some) else None
            if body is None:
                continue
            left -= len(body)
            if left < 0 or len(found) >= _AGAIN:
                return found
            found.append((some[place], Request(body, _TYPES[some[place].format])))
    return found


def _values(body: bytes) -> list[Any] | None:
    """The predictions of an answer as a stage's columns."""
    try:
        predictions = msgspec.json.decode(body, type=_Answer).predictions
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(predictions, list) or not predictions:
        return None
    try:
        array = np.asarray(predictions)
    except ValueError:  # rows of unequal length
        array = np.empty(0, dtype=object)
    if array.dtype.kind in "iuf":
        return [array.astype(np.float64)]
    stage = as_stage(predictions)
    return None if stage is None else stage[1]
