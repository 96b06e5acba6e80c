"""What the other numbers of a row say of one of them: training's regression, on recorded rows."""

from collections.abc import Callable
from typing import Any

import numpy as np

from serinus.parity.columns import Column
from serinus.parity.diagnosis.view import Part

__all__ = ["expected_of", "residuals"]

_FEWEST = 200
#: Of a number that follows worse than this from the others nothing is said.
_LOOSE = 0.8
_MOST_OFF = 9.0


def expected_of(part: Part, name: str) -> tuple[Any, Any] | None:
    """The field's recorded numbers and what the rest of their rows lets expect, standardised.

    None where training knows no relation, or a column is missing or of another kind.
    """
    profile = part.view.snapshot.profile
    joint, column = profile.joint.get(name), part.rows.columns.get(name)
    if joint is None or column is None or not set(joint.on) <= part.rows.columns.keys():
        return None
    try:
        values = _doubles(column)
        expected = np.zeros(len(values))
        for each, weight in zip(joint.on, joint.weights, strict=True):
            z = (_doubles(part.rows.columns[each]) - profile.means[each]) / profile.scales[each]
            expected += weight * np.nan_to_num(z, nan=0.0)
    except (TypeError, ValueError):  # a text where numbers were
        return None
    return (values - joint.mean) / joint.scale, expected


def _doubles(column: Column) -> Any:
    values: Any = column.values.astype(np.float64)
    return np.where(column.null, np.nan, values)


def residuals(
    part: Part, name: str, back: Callable[[Any], Any] | None = None
) -> tuple[float, float, float] | None:
    """The mean square of what is left of a number: now, and in training; and the field's scale.

    Large ones are cut off, so that a few rows do not speak for all. With ``back`` each row counts
    as it came or undone, whichever goes better with the rest of it.
    """
    joint = part.view.snapshot.profile.joint.get(name)
    known = expected_of(part, name) if joint is not None and joint.residual <= _LOOSE else None
    if joint is None or known is None:
        return None
    came, expected = known
    off = (came - expected) ** 2
    if back is not None:
        with np.errstate(all="ignore"):
            undone = (back(came * joint.scale + joint.mean) - joint.mean) / joint.scale
        off = np.fmin(off, (undone - expected) ** 2)
    off = np.minimum(off[np.isfinite(off)], _MOST_OFF)
    if len(off) < _FEWEST:
        return None
    return float(off.mean()), joint.residual**2, joint.scale
