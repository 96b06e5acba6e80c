"""Hours of live values put together by their age: an hour counts e^(-age/span) of a new one.

The sum comes out as so many rows as it is worth: limits that grow with small samples stay true.
It must never say of a part more rows than of the whole.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np

from serinus.parity.buckets import Buckets
from serinus.parity.sketch import Sketch

__all__ = ["SPANS", "decayed"]

#: Spans to look back over; what is older counts less than a twentieth.
SPANS = 3
#: The weight of a new hour: whole numbers, so that adding stays exact.
_NEW = 256
_SHIFT = 20
_Change = Callable[[Any], Any]


def decayed(hours: Iterable[tuple[float, Sketch]], span_h: float) -> Sketch:
    """The counts of all hours, given with their ages in hours."""
    whole, once, twice = Sketch(), 0, 0
    for age, sketch in hours:
        weight = round(_NEW * math.exp(-max(age, 0.0) / span_h))
        if weight:
            whole.add(_changed(sketch, _times(weight)))
            once += weight * sketch.rows
            twice += weight * weight * sketch.rows
    # Rows of unequal weight say as much as (Σw)²/Σw² equal ones (Kish).
    part = (once << _SHIFT) // twice if twice else 0
    found: Sketch = _changed(whole, _parts(part))
    return found


def _times(weight: int) -> _Change:
    return lambda count: count * weight


def _parts(part: int) -> _Change:
    # Rounded down: parts never come to more than what they are parts of.
    return lambda count: (count * part) >> _SHIFT


def _changed(value: Any, change: _Change) -> Any:
    """The same with every count changed; names and numbers of buckets stay."""
    if isinstance(value, Buckets):
        return Buckets(value.first, change(value.counts))
    if isinstance(value, msgspec.Struct):
        names = value.__struct_fields__
        return type(value)(**{name: _changed(getattr(value, name), change) for name in names})
    if isinstance(value, dict):
        return {key: _changed(each, change) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_changed(each, change) for each in value)
    return change(value) if isinstance(value, int | np.ndarray) else value
