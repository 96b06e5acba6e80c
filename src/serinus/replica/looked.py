"""What a request says of values that were looked up for it: whether they were found, how old.

Its field ``lookups`` is read when the values are counted, never before the answer. What can't be
read says nothing; it must never cost the request anything.
"""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from serinus.parity.sketch import Lookup

__all__ = ["Looked", "lookups_in"]

_NAME = b'"lookups"'
_STATUSES = frozenset(each for name, each in vars(Lookup).items() if not name.startswith("_"))
#: Fields of one request that are looked at.
_FIELDS = 1000


class _Said(msgspec.Struct, gc=False):
    """One field's: one for all rows, or a list with one for each."""

    status: Any = None
    age_s: Any = None


class _Body(msgspec.Struct, gc=False):
    lookups: dict[str, Any] = {}


_decoder = msgspec.json.Decoder(_Body)


class Looked:
    """Adds up what requests say, for `serinus.parity.folding.Batch`."""

    def __init__(self) -> None:
        #: Field → `Lookup` → rows.
        self.statuses: dict[str, dict[str, int]] = {}
        #: Field → seconds, of those rows whose age is known.
        self.ages: dict[str, list[float]] = {}

    def add(self, body: bytes, rows: int) -> None:
        """Count one request's."""
        for field, said in lookups_in(body).items():
            for status, ages in _rows(said, rows):
                if status is not None:
                    known = self.statuses.setdefault(field, {})
                    known[status] = known.get(status, 0) + 1
                if ages is not None:
                    self.ages.setdefault(field, []).append(ages)


def lookups_in(body: bytes) -> Mapping[str, Any]:
    """Field → what the request says of its lookup; empty when it says nothing that can be read."""
    if _NAME not in body:
        return {}
    try:
        found = _decoder.decode(body).lookups
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if len(found) <= _FIELDS else {}


def _rows(said: Any, rows: int) -> list[tuple[str | None, float | None]]:
    """Status and age of each row; None where it is not said."""
    try:
        found = msgspec.convert(said, _Said)
    except msgspec.ValidationError:
        return []
    statuses, ages = _each(found.status, rows), _each(found.age_s, rows)
    return [(_status(s), _age(a)) for s, a in zip(statuses, ages, strict=True)]


def _each(value: Any, rows: int) -> list[Any]:
    if not isinstance(value, list):
        return [value] * rows
    return value if len(value) == rows else [None] * rows


def _status(value: Any) -> str | None:
    return value if isinstance(value, str) and value in _STATUSES else None


def _age(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < math.inf else None
