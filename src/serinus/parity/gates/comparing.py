"""Holds what came against what was expected, row by row; the values of both stay as they are."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from serinus.parity.arrays import StageValues, differing, plain_cell
from serinus.parity.contract import Stage, Tolerance
from serinus.parity.wire import Answer

__all__ = ["Mismatch", "as_columns", "compare", "in_order", "message_of", "predictions", "shown"]

_RANKS = {"S1": 1, "S2": 2, "S3:": 3, "S3": 5, "S4": 6, "S5": 7, "answer": 8}
_LONG = 60


class Mismatch(msgspec.Struct, frozen=True, kw_only=True):
    """One stage, compared."""

    stage: str
    #: One boolean a row.
    rows: Any
    #: What one of the rows was and should have been, or why nothing could be compared.
    detail: str = ""
    #: True when only the last digits differ, as after a trip through single precision.
    single: bool = False

    @property
    def count(self) -> int:
        """Rows that differ."""
        return int(np.count_nonzero(self.rows))


def in_order(stages: Sequence[Stage]) -> list[Stage]:
    """The stages on the way from a request to its answer."""
    return sorted(stages, key=lambda each: _rank(each.name))


def _rank(name: str) -> int:
    return _RANKS.get(name, _RANKS["S3:"] if name.startswith("S3:") else 4)


def compare(stage: Stage, expected: StageValues, got: StageValues, names: list[str]) -> Mismatch:
    """Hold two stages against each other; ``names`` are those of the columns that came."""
    rows = len(expected[0]) if expected else 0
    parsed = stage.name in ("S1", "S2")
    single = False
    try:
        if parsed:
            got = _by_name(stage.columns, got, names)
            got, single = _in_single_precision(expected, got)
        expected, got = _same_form(expected, got)
        far = differing(expected, got, stage.tolerance)
    except ValueError as error:
        return Mismatch(stage=stage.name, rows=np.ones(rows, dtype=bool), detail=str(error))
    detail = _describe(stage, expected, got, far) if far.any() else ""
    return Mismatch(stage=stage.name, rows=far, detail=detail, single=single)


def _by_name(wanted: list[str], got: StageValues, names: list[str]) -> StageValues:
    """The order of fields in a request means nothing."""
    if not names or not wanted:
        return got
    lost = [name for name in wanted if name not in names]
    if lost:
        raise ValueError(f"the field {lost[0]!r} did not arrive")
    return [got[names.index(name)] for name in wanted]


def _in_single_precision(expected: StageValues, got: StageValues) -> tuple[StageValues, bool]:
    """Numbers that are the same in single precision are taken for the same, and that is said."""
    found, single = [], False
    for one, other in zip(expected, got, strict=False):
        floats = all(isinstance(e, np.ndarray) and e.dtype.kind == "f" for e in (one, other))
        if not floats or one.shape != other.shape:
            found.append(other)
            continue
        with np.errstate(over="ignore"):
            same = (one.astype(np.float32) == other.astype(np.float32)) & (one != other)
        single = single or bool(same.any())
        found.append(np.where(same, one, other))
    return [*found, *got[len(found) :]], single


def _same_form(expected: StageValues, got: StageValues) -> tuple[StageValues, StageValues]:
    """One array of several columns is as good as these columns one by one."""
    if len(expected) == len(got):
        pairs = [_squeezed(one, other) for one, other in zip(expected, got, strict=True)]
        return [one for one, _ in pairs], [other for _, other in pairs]
    return _columns(expected), _columns(got)


def _squeezed(one: Any, other: Any) -> tuple[Any, Any]:
    """A column of one number a row may come as an array of one column."""
    shapes = [np.shape(each) for each in (one, other)]
    if all(isinstance(each, np.ndarray) for each in (one, other)) and shapes[0] != shapes[1]:
        one = one[:, 0] if len(shapes[0]) == 2 and shapes[0][1] == 1 else one
        other = other[:, 0] if len(shapes[1]) == 2 and shapes[1][1] == 1 else other
    return one, other


def _columns(values: StageValues) -> StageValues:
    only = values[0] if len(values) == 1 else None
    return [*only.T] if isinstance(only, np.ndarray) and only.ndim == 2 else values


def _describe(stage: Stage, expected: StageValues, got: StageValues, far: Any) -> str:
    row = int(np.argmax(far))
    for at, (one, other) in enumerate(zip(expected, got, strict=True)):
        if differing([one], [other], stage.tolerance)[row]:
            a, b, where = one[row], other[row], ""
            if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.ndim == 1:
                inner = _first(one, other, row, stage.tolerance)
                a, b, where = a[inner], b[inner], f" {inner}"
            name = f"'{stage.columns[at]}'" if at < len(stage.columns) else where.strip()
            column = f", column {name}" if name else ""
            return f"row {row}{column}: expected {shown(a)}, got {shown(b)}"
    return f"row {row}"


def _first(one: Any, other: Any, row: int, tolerance: Tolerance) -> int:
    far = [differing([one[:, at]], [other[:, at]], tolerance)[row] for at in range(one.shape[1])]
    return int(np.argmax(far))


def shown(value: Any) -> str:
    """One value, short enough for a sentence."""
    text = msgspec.json.encode(plain_cell(value)).decode()
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"


def predictions(answer: Answer, rows: int) -> list[Any] | None:
    """The answer's predictions, one a row; None for another number or another form."""
    if answer.status != 200:
        return None
    try:
        found = msgspec.json.decode(answer.body)["predictions"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return None
    if isinstance(found, dict):
        if any(not isinstance(each, list) or len(each) != rows for each in found.values()):
            return None
        return [{name: each[at] for name, each in found.items()} for at in range(rows)]
    return found if isinstance(found, list) and len(found) == rows else None


def as_columns(rows: Sequence[Any], names: Sequence[str] = ()) -> StageValues:
    """Predictions as a stage has them."""
    if rows and all(isinstance(row, dict) for row in rows):
        found = list(names) or list(rows[0])
        if len(rows[0]) == 1 and not names:
            return [_numbers([next(iter(row.values()), None) for row in rows])]
        return [_numbers([row.get(name) for row in rows]) for name in found]
    return [_numbers(list(rows))]


def _numbers(cells: list[Any]) -> Any:
    """As an array where all are numbers, null being NaN; booleans stay what they are."""
    if all(type(cell) is bool for cell in cells):
        return np.array(cells, dtype=bool)
    if any(type(cell) is bool for cell in cells):
        return cells
    try:
        found = np.array(cells, dtype=np.float64)
    except (ValueError, TypeError):
        return cells
    texts = any(isinstance(cell, str) for cell in cells)
    return cells if texts else found


def message_of(answer: Answer) -> str:
    """What an answer that is none says."""
    try:
        return str(msgspec.json.decode(answer.body)["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"status {answer.status}"
