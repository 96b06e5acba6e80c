"""Units in a part of the rows that their values alone do not show: the other fields tell them.

A row is touched where a number does not go with the rest of its row and does after the inverse; the
touched rows, undone, must also bring training's distribution back. A genuine change does neither.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from serinus.parity.contract import Field
from serinus.parity.diagnosis.distance import ENOUGH, Gap, alike
from serinus.parity.diagnosis.inverses import CATALOGUE
from serinus.parity.diagnosis.moved import numbers_gap
from serinus.parity.diagnosis.suspect import Suspect
from serinus.parity.diagnosis.view import Numbers, Part
from serinus.parity.profiles import FieldProfile, Joint

__all__ = ["mixed_units"]

#: A number that follows less than so well from the others can't be told by them.
_LOOSE = 0.5
#: Smaller factors are not told from a genuine change of some rows.
_LEAST = 1.5
_SHARE, _ROWS = 0.01, 30
#: Degrees of freedom of the residuals: their tails are heavier than a normal distribution's.
_TAIL = 3.0
_ROUNDS = 20
#: How much better the rows are explained than by no fault, in natural logarithms.
_GAIN = 50.0
#: And how much better than by another one.
_AHEAD = 5.0
#: A relation is broken where its mean square residual, without the largest ones, is this much of
#: training's, and whole where it is less than that much.
_BROKEN, _WHOLE, _MOST_OFF = 1.25, 1.5, 9.0
_MOST_ROWS = 8000
#: Values that training is taken to have had where it had none.
_RARE = 0.5


def mixed_units(part: Part, field: Field, trained: FieldProfile, before: Gap) -> Iterator[Suspect]:
    """At most one such unit."""
    known = _relation(part, field.name)
    if known is None:
        return
    values, expected, joint, at = known
    sigma = joint.residual * joint.scale
    alone = _tailed((values - expected) / sigma)
    plain = alone * _density(trained, values)
    scored = []
    for inverse in CATALOGUE:
        factor = inverse.factor
        if factor is None or max(factor, 1 / factor) < _LEAST:
            continue
        # Values that are spread by the fault are as much less probable each.
        back = inverse.back(values)
        undone = _tailed((back - expected) / sigma) * _density(trained, back) / factor
        share, gain = _share(plain, undone)
        scored.append((gain, share, inverse, undone))
    scored.sort(key=lambda each: -each[0])
    gain, share, inverse, undone = scored[0]
    if gain < _GAIN or share < _SHARE or share * len(values) < _ROWS:
        return
    chance = share * undone / (share * undone + (1 - share) * plain)
    # The relation must say so by itself, not only the distribution that is to be restored.
    back = inverse.back(values)
    told = float((chance * np.log(_tailed((back - expected) / sigma) / alone)).sum())
    if told < _GAIN:
        return
    # Less than a whole hint a row is enough where all rows together say the same.
    if told < chance.sum() and (
        gain - scored[1][0] < _AHEAD
        or not _mended(joint, values - expected, back - expected, chance)
    ):
        return
    after = numbers_gap(trained, _soft(values, back, chance))
    if not alike(after, before):
        return
    touched = np.zeros(len(part.rows), dtype=bool)
    touched[at[chance > 0.9]] = True
    yield Suspect(
        part,
        [field.name],
        f"unit: {inverse.name}",
        f"about {share:.1%} of '{field.name}' do not go with the other fields of their rows, and "
        f"do after undoing {inverse.name}; so undone, the index of change falls from "
        f"{before.psi:.2f} to {after.psi:.3f}",
        share,
        before,
        after,
        rows=part.rows.examples(touched),
        proofs=[
            "row by row its relation to the other fields is broken, and whole after the inverse",
            "undone in those rows only, the values are distributed as in training",
        ],
    )


def _relation(part: Part, name: str) -> tuple[Any, Any, Joint, Any] | None:
    """The numbers, what the rest of their rows lets expect, and the places of these rows."""
    profile = part.view.snapshot.profile
    joint, column = profile.joint.get(name), part.rows.columns.get(name)
    if joint is None or column is None or not 0 < joint.residual <= _LOOSE:
        return None
    if not set(joint.on) <= part.rows.columns.keys() or len(part.rows) < ENOUGH:
        return None
    try:
        values = column.values.astype(np.float64)
        others = [part.rows.columns[each].values.astype(np.float64) for each in joint.on]
    except (TypeError, ValueError):  # a text where numbers were
        return None
    expected = np.zeros(len(values))
    for other, weight, each in zip(others, joint.weights, joint.on, strict=True):
        z = (other - profile.means[each]) / profile.scales[each]
        expected += weight * np.nan_to_num(z, nan=0.0)
    at = np.flatnonzero(np.isfinite(values) & np.isfinite(expected))
    at = at[:: len(at) // _MOST_ROWS + 1]
    if len(at) < ENOUGH:
        return None
    return values[at], joint.mean + joint.scale * expected[at], joint, at


def _mended(joint: Joint, came: Any, back: Any, chance: Any) -> bool:
    """Whether rows as they came go together worse than training's, and undone nearly as those."""
    usual = joint.residual**2
    one, other = (np.minimum((each / joint.scale) ** 2, _MOST_OFF) for each in (came, back))
    undone = float(((1 - chance) * one + chance * other).mean())
    return float(one.mean()) > _BROKEN * usual and undone < _WHOLE * usual


def _tailed(residuals: Any) -> Any:
    """How probable residuals are, up to a factor that is the same for all."""
    return (1 + residuals**2 / _TAIL) ** (-(_TAIL + 1) / 2)


def _density(trained: FieldProfile, values: Any) -> Any:
    """How many of training's values lie near each: few where training had next to none."""
    edges = np.asarray(trained.edges)
    inner = np.asarray(trained.counts, dtype=np.float64)[1:-1] + _RARE
    heights = inner / np.maximum(np.diff(edges), 1e-12)
    place = np.searchsorted(edges, values, side="right") - 1
    inside = (place >= 0) & (place < len(heights))
    least = _RARE / max(float(edges[-1] - edges[0]), 1e-12)
    return np.where(inside, heights[np.clip(place, 0, len(heights) - 1)], least)


def _share(plain: Any, undone: Any) -> tuple[float, float]:
    """The share of touched rows that explains most, and how much it explains."""
    share = 0.1
    for _ in range(_ROUNDS):
        chance = share * undone / (share * undone + (1 - share) * plain)
        share = float(np.clip(chance.mean(), 1e-6, 1 - 1e-6))
    gain = float(np.log((1 - share) + share * undone / plain).sum())
    return share, gain


def _soft(values: Any, back: Any, chance: Any) -> Numbers:
    """Each row as it came and undone, by how probable either is."""
    return Numbers(np.concatenate([values, back]), np.concatenate([1 - chance, chance]), exact=True)
