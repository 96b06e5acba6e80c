"""The values of one column: which are right for its type, and the array that they become.

One strict meaning of every type, whatever form a request came in; it must never change a value
into another one.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from serinus.replica.card import ColumnType

__all__ = [
    "EXPECTED",
    "WIRE",
    "Refused",
    "array",
    "check",
    "is_instant",
    "odd_strings",
    "parse_text",
]


class Refused(ValueError):
    """A value does not fit the type of its column."""


_INT32 = 2**31
_INT64 = 2**63
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_EXACT = 2**53
# Years that 64-bit nanoseconds can hold; NumPy wraps round silently beyond them.
_INSTANT = re.compile(
    r"(?:1[7-9]\d\d|2[01]\d\d|22[0-5]\d)-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
    r"(?:[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,9})?)?)?"
)
_NO_VALUE = frozenset(
    ("", "#N/A", "N/A", "NA", "NaN", "nan", "null", "NULL", "None", "<NA>", "n/a", "-nan", "-NaN")
)
_TRUE, _FALSE = frozenset(("true", "True", "TRUE")), frozenset(("false", "False", "FALSE"))

#: What a type wants, in words for the caller.
EXPECTED = {
    ColumnType.BOOLEAN: "true or false (boolean)",
    ColumnType.INTEGER: "a whole number of 32 bits (integer)",
    ColumnType.LONG: "a whole number of 64 bits (long)",
    ColumnType.FLOAT: "a number of 32 bits (float) or null",
    ColumnType.DOUBLE: "a number (double) or null",
    ColumnType.STRING: "a string or null",
    ColumnType.DATETIME: (
        "an ISO 8601 date and time without zone, such as 2013-01-31T17:05:00, or null (datetime)"
    ),
}

#: What msgspec accepts for a cell while it parses. Narrower than `check`, never wider, but for
#: datetimes, whose text `is_instant` judges.
WIRE: dict[ColumnType, Any] = {
    ColumnType.BOOLEAN: bool,
    ColumnType.INTEGER: Annotated[int, msgspec.Meta(ge=-_INT32, le=_INT32 - 1)],
    ColumnType.LONG: Annotated[int, msgspec.Meta(ge=-_INT64, le=_INT64 - 1)],
    ColumnType.FLOAT: Annotated[float, msgspec.Meta(ge=-_FLOAT32_MAX, le=_FLOAT32_MAX)] | None,
    ColumnType.DOUBLE: float | None,
    ColumnType.STRING: str | None,
    ColumnType.DATETIME: str | None,
}


def is_instant(text: str) -> bool:
    """True for ISO 8601 dates and times without a zone that exist and that fit 64 bits."""
    if _INSTANT.fullmatch(text) is None:
        return False
    try:
        return not np.isnat(np.datetime64(text, "ns"))
    except ValueError:  # the 31st of February
        return False


def check(value: Any, type_: ColumnType) -> Any:
    """The value as its column takes it; raises Refused, whose text says what was got."""
    return _CHECKS[type_](value)


def _boolean(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    raise Refused(_got(value))


def _whole(value: Any, limit: int) -> int:
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit:
        return value
    raise Refused(_got(value))


def _number(value: Any, limit: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            raise Refused(_got(value)) from None
        if not math.isfinite(number) or abs(number) <= limit:
            return number
    raise Refused(_got(value))


def _string(value: Any) -> Any:
    # Whether a column of other things than strings is one that MLflow refuses depends on all of
    # its values together, so `odd_strings` decides that, per request.
    return value


def odd_strings(values: Sequence[Any]) -> bool:
    """True when a string column holds other things than strings and nulls, as MLflow lets it.

    A column of nothing but numbers, or of nothing but booleans, is refused by MLflow's own check
    of a data frame and so here; any mixture passes there as it is. Raises Refused.
    """
    odd = [value for value in values if value is not None and not isinstance(value, str)]
    if not odd:
        return False
    mixed = any(isinstance(value, str) for value in values)
    booleans = sum(isinstance(value, bool) for value in odd)
    if mixed or any(isinstance(value, list | dict) for value in odd):
        return True
    if booleans == 0 or booleans == len(values):
        raise Refused(_got(odd[0]))
    return True


def _instant(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str) and is_instant(value):
        return value
    raise Refused(_got(value))


_CHECKS: dict[ColumnType, Callable[[Any], Any]] = {
    ColumnType.BOOLEAN: _boolean,
    ColumnType.INTEGER: lambda value: _whole(value, _INT32),
    ColumnType.LONG: lambda value: _whole(value, _INT64),
    ColumnType.FLOAT: lambda value: _number(value, _FLOAT32_MAX),
    ColumnType.DOUBLE: lambda value: _number(value, math.inf),
    ColumnType.STRING: _string,
    ColumnType.DATETIME: _instant,
}


def parse_text(text: str, type_: ColumnType) -> Any:
    """The value that a cell of a CSV file stands for; what can't be read comes back as text."""
    if text in _NO_VALUE:
        return None
    if type_ is ColumnType.BOOLEAN:
        return True if text in _TRUE else False if text in _FALSE else text
    if type_ in (ColumnType.STRING, ColumnType.DATETIME):
        return text
    try:
        return int(text)
    except ValueError:
        pass  # a fraction, an exponent, or no number at all: float and then `check` decide
    try:
        return float(text)
    except ValueError:
        return text


def array(values: Sequence[Any], type_: ColumnType) -> Any:
    """One column as the model gets it; the values have passed `check`."""
    dtype = _DTYPES.get(type_)
    return np.array(values, dtype=dtype)


_DTYPES: dict[ColumnType, Any] = {
    ColumnType.BOOLEAN: np.dtype(bool),
    ColumnType.INTEGER: np.dtype(np.int32),
    ColumnType.LONG: np.dtype(np.int64),
    ColumnType.FLOAT: np.dtype(np.float32),
    ColumnType.DOUBLE: np.dtype(np.float64),
    ColumnType.STRING: np.dtype(object),
    ColumnType.DATETIME: np.dtype("datetime64[ns]"),
}


def _got(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list | dict):
        return "an array" if isinstance(value, list) else "an object"
    text = msgspec.json.encode(value).decode() if isinstance(value, str | bool) else repr(value)
    if len(text) > 60:
        text = text[:57] + "..."
    return f"the string {text}" if isinstance(value, str) else text
