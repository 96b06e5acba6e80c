"""Rows whose score jumps because what goes into the model came in fewer digits, not by a bug.

A tree asks on which side of a split a number lies; a number on the split may fall on either side by
its last digit. Where the vector is the same to the last bit, nothing is excused.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from serinus.parity.arrays import StageValues

__all__ = ["AFTER", "excused", "not_the_same"]

#: What follows from the vector.
AFTER = ("S4", "S5", "answer")
#: Of the rows whose vector differs in its last digits so many may jump. A model that computes
#: something else does so for most of them.
_SOME = 0.10


def excused(
    far: Any, expected: Mapping[str, StageValues], got: Mapping[str, StageValues], stage: str
) -> Any:
    """Which of the rows that differ at ``stage`` are no proof against the model.

    The vector (S3) itself must have been found the same, within its tolerance, by the caller.
    """
    none = np.zeros(len(far), dtype=bool)
    if stage not in AFTER or "S3" not in expected or "S3" not in got or not far.any():
        return none
    touched = not_the_same(expected["S3"], got["S3"], len(far))
    if (far & ~touched).any() or far.sum() > max(_SOME * touched.sum(), 1):
        return none
    return far.copy()


def not_the_same(expected: StageValues, got: StageValues, rows: int) -> Any:
    """Rows of which any number differs, if only in its last bit."""
    found = np.zeros(rows, dtype=bool)
    for one, other in zip(expected, got, strict=False):
        a, b = np.asarray(one), np.asarray(other)
        if a.shape != b.shape or len(a) != rows or a.dtype.kind not in "biuf":
            return np.zeros(rows, dtype=bool)
        same = (a == b) | ((a != a) & (b != b))
        found |= ~same.reshape(rows, -1).all(axis=1)
    return found
