"""Takes the rows out of a replay's differences whose scores jump by a last digit of the vector."""

from collections.abc import Mapping

import msgspec
import numpy as np

from serinus.parity.arrays import StageValues
from serinus.parity.gates.comparing import Mismatch
from serinus.parity.jumps import excused

__all__ = ["told_of", "without_jumps"]


def without_jumps(
    compared: list[Mismatch],
    expected: Mapping[str, StageValues],
    got: Mapping[str, StageValues],
) -> tuple[list[Mismatch], set[int]]:
    """The differences that are left, and the rows that were taken out."""
    first = next((each.stage for each in compared if each.count), "")
    vector = next((each for each in compared if each.stage == "S3"), None)
    if vector is None or vector.count or first.startswith(("S1", "S2", "S3")):
        return compared, set()
    found, jumped = [], set()
    for each in compared:
        out = excused(each.rows, expected, got, each.stage)
        if out.any():
            jumped |= {int(at) for at in np.flatnonzero(out)}
            rows = each.rows & ~out
            detail = each.detail if rows.any() else ""
            each = msgspec.structs.replace(each, rows=rows, detail=detail)
        found.append(each)
    return found, jumped


def told_of(jumped: set[int]) -> list[str]:
    """The note on them."""
    if not jumped:
        return []
    return [
        f"{len(jumped)} golden rows, such as row {min(jumped)}, fall on the other side of a split: "
        "the vector has fewer digits than in training. All other answers are the same."
    ]
