"""The values of one column: which are right for its type, and the array that they become.

One strict meaning of every type, whatever form a request came in; it must never change a value
into another one.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from serinus.errors import BadRequest
from serinus.replica.card import ColumnType
from serinus.replica.excerpt import excerpt

__all__ = [
    "DTYPES",
    "EXPECTED",
    "WIRE",
    "Refused",
    "all_instants",
    "array",
    "check",
    "is_instant",
    "refusal",
]


class Refused(ValueError):
    """A value does not fit the type of its column; the text says what was got."""

    def __init__(self, got: str, kind: str, advice: str = "") -> None:
        """``kind`` is one word for what was got, to count by; ``advice`` follows it in messages."""
        super().__init__(got)
        self.kind = kind
        self.advice = advice


_INT32 = 2**31
_INT64 = 2**63
_FLOAT32_MAX = float(np.finfo(np.float32).max)
#: Beyond these, not every whole number has a float of 64 and of 32 bits.
_EXACT, _EXACT32 = 2**53, 2**24
# Years that 64-bit nanoseconds can hold; NumPy wraps round silently beyond them.
_YEAR = r"(?:1[7-9]\d\d|2[01]\d\d|22[0-5]\d)"
_TIME = r"(?:[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?)?"
_DAY = (
    r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)"
    r"|02-(?:0[1-9]|1\d|2[0-8]))"
)
_INSTANT = re.compile(f"{_YEAR}-{_DAY}{_TIME}", re.ASCII)
_LEAP_DAY = re.compile(rf"({_YEAR})-02-29{_TIME}", re.ASCII)
_LINES = re.compile(f"^{_YEAR}-{_DAY}{_TIME}$", re.ASCII | re.MULTILINE)

# 2013-01-31T17:05:00 and a line break, as a row of characters.
_STAMP = 20
_BETWEEN = {4: b"-", 7: b"-", 13: b":", 16: b":", 19: b"\n"}
_DIGITS = [at for at in range(_STAMP) if at not in (*_BETWEEN, 10)]
#: From so many texts on it pays to look at all of them at once.
_MANY = 16
#: Days that each month has in every year.
_LENGTHS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.uint8)

#: What a type wants, in words for the caller.
EXPECTED = {
    ColumnType.BOOLEAN: "true or false (boolean)",
    ColumnType.INTEGER: "a whole number of 32 bits (integer)",
    ColumnType.LONG: "a whole number of 64 bits (long)",
    ColumnType.FLOAT: "a number of 32 bits (float) or null",
    ColumnType.DOUBLE: "a number (double) or null",
    ColumnType.STRING: "a string or null",
    ColumnType.BINARY: "base64 text (binary)",
    ColumnType.DATETIME: (
        "an ISO 8601 date and time without zone, such as 2013-01-31T17:05:00, or null (datetime)"
    ),
}

#: What msgspec accepts for a cell while it parses. Narrower than `check`, never wider, but for
#: datetimes, whose text `is_instant` judges. msgspec would round whole numbers that no float
#: holds, so floats beyond the exact range are left to `check`.
WIRE: dict[ColumnType, Any] = {
    ColumnType.BOOLEAN: bool,
    ColumnType.INTEGER: Annotated[int, msgspec.Meta(ge=-_INT32, le=_INT32 - 1)],
    ColumnType.LONG: Annotated[int, msgspec.Meta(ge=-_INT64, le=_INT64 - 1)],
    ColumnType.FLOAT: Annotated[float, msgspec.Meta(gt=-_EXACT32, lt=_EXACT32)] | None,
    ColumnType.DOUBLE: Annotated[float, msgspec.Meta(gt=-_EXACT, lt=_EXACT)] | None,
    ColumnType.STRING: str | None,
    ColumnType.DATETIME: str | None,
}


def is_instant(text: str) -> bool:
    """True for ISO 8601 dates and times without a zone that exist and that fit 64 bits."""
    if _INSTANT.fullmatch(text) is not None:
        return True
    leap = _LEAP_DAY.fullmatch(text)
    if leap is None:
        return False
    year = int(leap[1])
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def all_instants(texts: Sequence[str | None]) -> bool:
    """True when all are instants or null; it may say False of the 29th of February."""
    if len(texts) < _MANY:
        return all(text is None or _INSTANT.fullmatch(text) is not None for text in texts)
    # One look at all is far quicker than one at each.
    try:
        lines = "\n".join(texts) + "\n"  # type: ignore[arg-type]
    except TypeError:
        texts = [text for text in texts if text is not None]
        if len(texts) < _MANY:
            return all_instants(texts)
        lines = "\n".join(texts) + "\n"  # type: ignore[arg-type]
    if _all_stamps(lines, len(texts)):
        return True
    # A line break inside of a text would deceive what follows.
    return lines.count("\n") == len(texts) == len(_LINES.findall(lines))


def _all_stamps(lines: str, count: int) -> bool:
    """The same for the commonest way to write one, 2013-01-31T17:05:00, by arithmetic."""
    if len(lines) != count * _STAMP or not lines.isascii():
        return False
    # One array for each place in the text; all that follows is arithmetic on bytes.
    table = np.frombuffer(lines.encode(), np.uint8).reshape(count, _STAMP)
    at = np.ascontiguousarray(table.T)
    if any((at[place] != sign[0]).any() for place, sign in _BETWEEN.items()):
        return False
    if not ((at[10] == ord("T")) | (at[10] == ord(" "))).all():
        return False
    at -= np.uint8(ord("0"))  # what is less wraps round
    if (at[_DIGITS] > 9).any():
        return False
    century, year, month, day, hour = (at[each] * 10 + at[each + 1] for each in (0, 2, 5, 8, 11))
    good = (century >= 17) & ((century < 22) | ((century == 22) & (year < 60)))
    good &= (month > 0) & (month < 13) & (day > 0) & (day <= _LENGTHS[np.minimum(month, 12)])
    good &= (hour < 24) & (at[14] < 6) & (at[17] < 6)
    return bool(good.all())


def check(value: Any, type_: ColumnType) -> Any:
    """The value as its column takes it; raises Refused."""
    return _CHECKS[type_](value)


def refusal(
    refused: Refused, row: int | None, field: str, *, expected: str, type_: str
) -> BadRequest:
    """The answer to a request with such a value."""
    place = f"'{field}'" if row is None else f"Row {row}, column '{field}'"
    detail: dict[str, object] = {} if row is None else {"row": row}
    detail.update(field=field, expected=type_, got=str(refused))
    told = f"{place}: expected {expected}, got {refused}{refused.advice}."
    return BadRequest(told, details=[detail])


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _refused(value)


def _whole(value: Any, limit: int) -> int:
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if -limit <= value < limit:
            return value
        raise _refused(value, "overflow")
    raise _refused(value, "fraction" if isinstance(value, float) and value == value else "")


def _double(value: Any) -> float | None:
    if value is None or type(value) is float:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(value)
    try:
        number = float(value)
    except OverflowError:
        raise _refused(value, "overflow") from None
    if isinstance(value, int) and int(number) != value:
        raise _inexact(value, number)
    return number


def _float(value: Any) -> float | None:
    number = _double(value)
    if number is not None and math.isfinite(number):
        if abs(number) > _FLOAT32_MAX:
            raise _refused(value, "overflow")
        if isinstance(value, int) and float(np.float32(number)) != number:
            raise _inexact(value, number)
    return number


def _string(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise _refused(value)


def _binary(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if not isinstance(value, str):
        raise _refused(value)
    try:
        # MLflow's own encoder breaks lines; anything else that is no base64 would be dropped.
        return base64.b64decode(value.replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):
        raise _refused(value, "format") from None


def _instant(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and is_instant(value)):
        return value
    raise _refused(value, "format" if isinstance(value, str) else "")


_CHECKS: dict[ColumnType, Callable[[Any], Any]] = {
    ColumnType.BOOLEAN: _boolean,
    ColumnType.INTEGER: lambda value: _whole(value, _INT32),
    ColumnType.LONG: lambda value: _whole(value, _INT64),
    ColumnType.FLOAT: _float,
    ColumnType.DOUBLE: _double,
    ColumnType.STRING: _string,
    ColumnType.BINARY: _binary,
    ColumnType.DATETIME: _instant,
}


def array(values: Sequence[Any], type_: ColumnType) -> Any:
    """One column as the model gets it; the values have passed `check`."""
    dtype = DTYPES[type_]
    if dtype.kind == "O":
        # np.array would look into lists and make a matrix of equal ones.
        column = np.empty(len(values), dtype)
        for at, value in enumerate(values):
            column[at] = value
        return column
    return np.array(values, dtype=dtype)


#: The NumPy type of a column of each type.
DTYPES: dict[ColumnType, Any] = {
    ColumnType.BOOLEAN: np.dtype(bool),
    ColumnType.INTEGER: np.dtype(np.int32),
    ColumnType.LONG: np.dtype(np.int64),
    ColumnType.FLOAT: np.dtype(np.float32),
    ColumnType.DOUBLE: np.dtype(np.float64),
    ColumnType.STRING: np.dtype(object),
    ColumnType.BINARY: np.dtype(object),
    ColumnType.NESTED: np.dtype(object),
    ColumnType.DATETIME: np.dtype("datetime64[ns]"),
}

_KINDS = {bool: "boolean", int: "number", float: "number", str: "string"}


def _refused(value: Any, kind: str = "") -> Refused:
    if value is None:
        return Refused("null", "null")
    if isinstance(value, list | dict):
        is_list = isinstance(value, list)
        return Refused("an array", "array") if is_list else Refused("an object", "object")
    if not kind:
        kind = _KINDS.get(type(value), type(value).__name__)
    if isinstance(value, str):
        return Refused(f"the string {_quoted(value)}", kind)
    if isinstance(value, bool):
        return Refused("true" if value else "false", kind)
    try:
        text = repr(value)
    except ValueError:  # more digits than Python writes down
        text = f"a whole number of {value.bit_length()} bits"
    return Refused(excerpt(text), kind)


def _inexact(value: int, number: float) -> Refused:
    advice = f", which it can't hold exactly; write {number!r} if it may be rounded"
    return Refused(str(_refused(value)), "inexact", advice)


def _quoted(text: str) -> str:
    # Cut before it is written: a cell may be megabytes.
    shown = excerpt(text, 58)
    try:
        return msgspec.json.encode(shown).decode()
    except UnicodeError:  # half a surrogate pair, which no JSON can hold
        return ascii(shown)
