"""Reads answers of models off the response path: what was predicted, and do two answers agree.

Bounded by the size of what it reads; an answer that it can't read is None, never an error.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from serinus.evidence.histogram import score_bin

__all__ = ["MAX_READ", "Difference", "compare", "label"]

#: Bytes of an answer beyond which it is not read.
MAX_READ = 64 * 1024
#: Characters of a label that are kept.
_LABEL = 64
_HEAD = b'{"predictions":['
_SCALAR = frozenset(b"-0123456789tfn")


class _Tensor(msgspec.Struct, gc=False):
    shape: list[int]
    data: list[Any]


class _Answer(msgspec.Struct, gc=False):
    predictions: Any = msgspec.UNSET
    #: The answer of an Open Inference request, in place of predictions.
    outputs: list[_Tensor] | None = None


_decode = msgspec.json.Decoder(_Answer).decode
_decode_scalar = msgspec.json.Decoder(float | int | bool | None).decode


@dataclass(frozen=True, slots=True)
class Difference:
    """How two answers to one request differ."""

    #: Some row got another class, or there are other rows.
    flipped: bool
    #: Some score moved by more than the tolerance.
    over_tolerance: bool
    #: ``old→new`` of the first row that flipped.
    flip: str | None = None


def label(body: bytes) -> str | None:
    """The class or the bin of the score that an answer gives its first row."""
    if len(body) > len(_HEAD) and body.startswith(_HEAD) and body[len(_HEAD)] in _SCALAR:
        # The commonest form: the first row ends before the rest has to be looked at.
        begin = len(_HEAD)
        end = body.find(b",", begin, begin + 40)
        if end < 0:
            end = body.find(b"]", begin, begin + 40)
        try:
            return _name(_decode_scalar(body[begin:end])) if end > 0 else None
        except msgspec.DecodeError:
            return None
    rows = _rows(body)
    return None if not rows else _name(_first(rows[0]))


def compare(old: bytes, new: bytes, tolerance: float) -> Difference | None:
    """How ``new`` differs from ``old``; None when one of them can't be read as predictions."""
    left, right = _rows(old), _rows(new)
    if left is None or right is None:
        return None
    if len(left) != len(right):
        return Difference(flipped=True, over_tolerance=False, flip="rows→other rows")
    flip: str | None = None
    moved = False
    for before, after in zip(left, right, strict=True):
        if before == after:
            continue
        same_class, close = _agree(before, after, tolerance)
        moved = moved or not close
        if not same_class and flip is None:
            flip = f"{_short(before)}→{_short(after)}"
    return Difference(flip is not None, moved, flip)


def _rows(body: bytes) -> list[Any] | None:
    if len(body) > MAX_READ:
        return None
    try:
        answer = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if answer.outputs is not None:
        return _by_row(answer.outputs)
    predictions = answer.predictions
    if predictions is msgspec.UNSET:
        return None
    return predictions if isinstance(predictions, list) else [predictions]


def _by_row(outputs: list[_Tensor]) -> list[Any]:
    """The rows of tensors, which are flat; of several, what each has for a row."""
    columns = []
    for each in outputs:
        rows = max(each.shape[0] if each.shape else 1, 1)
        wide = len(each.data) // rows
        columns.append(
            each.data
            if wide == 1
            else [each.data[at : at + wide] for at in range(0, len(each.data), max(wide, 1))]
        )
    return columns[0] if len(columns) == 1 else [list(row) for row in zip(*columns, strict=False)]


def _first(row: Any) -> Any:
    """The first output of a row that has several."""
    while isinstance(row, list | dict) and row:
        row = row[0] if isinstance(row, list) else next(iter(row.values()))
    return row


def _name(value: Any) -> str:
    if type(value) is float:
        return score_bin(value)
    return _short(value)


def _agree(before: Any, after: Any, tolerance: float) -> tuple[bool, bool]:
    """(same class, scores within the tolerance) of two values that are not equal."""
    if isinstance(before, float) or isinstance(after, float):
        if not _is_number(before) or not _is_number(after):
            return False, True
        return True, abs(before - after) <= tolerance
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = zip(before, after, strict=True)
    elif isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        pairs = ((before[key], after[key]) for key in before)  # type: ignore[assignment]
    else:
        return False, True
    verdicts = [_agree(one, other, tolerance) for one, other in pairs if one != other]
    return all(same for same, _ in verdicts), all(close for _, close in verdicts)


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def _short(value: Any) -> str:
    if isinstance(value, str):
        return value[:_LABEL]
    return msgspec.json.encode(value)[:_LABEL].decode(errors="replace")
