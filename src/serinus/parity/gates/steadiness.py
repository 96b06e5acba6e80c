"""Whether one question has one answer at all: the same rows, computed twice by the same process.

Differences in the last digits are the arithmetic's (threads, BLAS); larger ones are the model's.
"""

from collections.abc import Sequence
from enum import Enum

import numpy as np

from serinus.parity.arrays import StageValues
from serinus.parity.contract import Stage
from serinus.parity.gates.comparing import compare
from serinus.parity.wire import Request, Wire

__all__ = ["Steadiness", "steadiness", "twice"]

#: Two results that differ by less are the arithmetic's doing.
_NOISE = 1e-3
_ROWS = 64


class Steadiness(Enum):
    """What a second look shows."""

    STEADY = "steady"
    #: It computes the same, but its last digits come out otherwise.
    LAST_DIGITS = "last digits"
    RANDOM = "random"


def steadiness(stage: Stage, one: StageValues, other: StageValues) -> Steadiness:
    """Hold two results of the same rows against each other."""
    if not compare(stage, one, other, []).count:
        return Steadiness.STEADY
    small = _distance(one, other) < _NOISE
    return Steadiness.LAST_DIGITS if small else Steadiness.RANDOM


def twice(wire: Wire, requests: Sequence[Request], stage: Stage) -> Steadiness:
    """Have some of the rows computed twice; raises WireLost."""
    some = requests[:_ROWS]
    one, other = (wire.inspect(some).stages.get(stage.name) for _ in range(2))
    if one is None or other is None:
        return Steadiness.STEADY
    return steadiness(stage, one, other)


def _distance(one: StageValues, other: StageValues) -> float:
    """The largest relative difference; infinite where there are no numbers to compare."""
    try:
        pairs = [
            (np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64))
            for a, b in zip(one, other, strict=True)
        ]
        with np.errstate(all="ignore"):
            found = [np.abs(a - b) / np.maximum(np.abs(a), 1e-12) for a, b in pairs]
    except (ValueError, TypeError):
        return np.inf
    return max((float(np.nanmax(each, initial=0.0)) for each in found), default=0.0)
