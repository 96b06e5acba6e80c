"""Some rows changed, the others not: all counts as a blend of training's and of changed ones.

Each known change is done to training's histogram; a share of it and the rest of training's must be
what came, down to the noise, and must be so better than any smooth change of the world is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from serinus.parity.contract import Field, Kind
from serinus.parity.diagnosis.cells import Cells, cells_for
from serinus.parity.diagnosis.distance import ENOUGH, Gap, gap
from serinus.parity.diagnosis.inverses import CATALOGUE, Inverse, changes
from serinus.parity.diagnosis.relation import residuals
from serinus.parity.diagnosis.suspect import Suspect
from serinus.parity.diagnosis.view import Part, View
from serinus.parity.shape import SENTINELS

__all__ = ["Blend", "Tried", "blended", "fitted", "stirred"]

#: Touched rows: fewer, or a smaller share, are not looked for.
_ROWS, _SHARE = 30, 0.01
#: How improbable the difference must be without any change.
_CHANCE = 1e-6
#: By how much, in natural logarithms, a change must explain more than another one, and than a
#: smooth change of the world does. The first pays for the number of changes that are tried.
_AHEAD, _SMOOTH = 5.0, 10.0
_ROUNDS = 40
#: Changes whose counts differ by less are not rivals; by less than the other, one and the same.
_AKIN, _SAME = 0.2, 0.01
#: Residuals are cut off here, in squared standard deviations of the field.
_MOST_OFF = 9.0
_PERIODS = (7, 12, 24, 31, 60)
_Change = Callable[[Any], Any]


@dataclass(frozen=True)
class Blend:
    """One change that was tried, as it fits."""

    name: str
    share: float
    before: Gap
    after: Gap
    ahead: float
    #: Rows whose value training could not have had.
    novel: int


@dataclass(frozen=True)
class Tried:
    """Changes of one field, each with what training's rows become by it."""

    names: list[str]
    #: One row a change, one column a cell; rows sum to 1.
    into: Any
    #: By how much it moves a value, squared, on average.
    moved: Any


def blended(part: Part, field: Field) -> Iterator[Suspect]:
    """The change that a share of this field's values had, if there is exactly one that fits."""
    if field.type.logical not in (Kind.NUMBER, Kind.WHOLE):
        return
    cells = cells_for(part.view, field)
    if cells is None or not stirred(part, field, cells):
        return
    tried = _tried(part.view, field, cells)
    found = fitted(part, field, cells, tried)
    if found is None or not _related(part, field, tried, found):
        return
    found = replace(found, name=_named(part, field, cells, tried, found.name))
    proofs = []
    if found.ahead >= _SMOOTH:
        proofs.append("no smooth change of the whole explains the counts as well")
    yield Suspect(
        part,
        [field.name],
        found.name,
        f"{found.share:.1%} of '{field.name}' changed ({found.name}), and the rest as in "
        f"training, is what came: the index of change falls from {found.before.psi:.3f} to "
        f"{found.after.psi:.4f}",
        found.share,
        found.before,
        found.after,
        hard=found.novel >= max(_ROWS, _SHARE * part.field(field.name).n),
        rows=_beyond(part, field),
        proofs=proofs,
    )


def _named(part: Part, field: Field, cells: Cells, tried: Tried, name: str) -> str:
    """Of changes that the counts can't tell apart the one that, undone, brings values back."""
    into = tried.into[tried.names.index(name)]
    same = [
        each
        for each, other in zip(tried.names, tried.into, strict=True)
        if np.abs(other - into).sum() <= _SAME
    ]
    live = part.numbers(field.name)
    out = live.only((live.values < cells.low) | (live.values > cells.high))
    if len(same) < 2 or not out.total:
        return name
    scored = {name: 0.0}
    for each in (name, *same):
        inverse = _inverse(each)
        if inverse is None:
            near = np.array([each == f"null as {value:g}" for value in out.values])
        else:
            with np.errstate(all="ignore"):
                back = inverse.back(out.values)
            near = (back >= cells.low) & (back <= cells.high)
        scored[each] = float(out.weights[near].sum())
    return max(scored, key=lambda each: scored[each])


def _inverse(name: str) -> Inverse | None:
    known = name.removeprefix("unit: ").removesuffix(", rounded")
    return next((each for each in CATALOGUE if each.name == known), None)


def _beyond(part: Part, field: Field) -> list[str]:
    """Recorded rows whose value lies outside of training's range."""
    column = part.rows.columns.get(field.name)
    if column is None or column.kind not in (Kind.NUMBER, Kind.WHOLE):
        return []
    low, high = field.observed.min, field.observed.max
    if not isinstance(low, float | int) or not isinstance(high, float | int):
        return []
    values = column.values.astype(np.float64)
    return part.rows.examples((values < low) | (values > high))


def fitted(
    part: Part, field: Field, cells: Cells, tried: Tried, *, alone: bool = True
) -> Blend | None:
    """The best of the changes, where it is good enough.

    Not ``alone``: another field must fit as well, and what is left may be all that chance leaves.
    """
    live = cells.live(part.field(field.name))
    n, usual = float(live.sum()), cells.trained
    before = _before(cells, live)
    if before is None:
        return None
    shares, gains = _blend(live, usual, tried.into)
    best = int(np.argmax(gains))
    share = float(shares[best])
    if share < _SHARE or share * n < _ROWS:
        return None
    mixture = (1 - share) * usual + share * tried.into[best]
    after = gap(live, mixture * cells.total)
    if after.psi > max(2.0 * after.noise, min(0.03 * before.psi, 0.05)):
        return None
    if after.psi > max(before.psi / 4, 0.0 if alone else after.noise):
        return None
    others = [
        gain
        for gain, into in zip(gains, tried.into, strict=True)
        if np.abs(into - tried.into[best]).sum() > _AKIN
    ]
    if others and gains[best] - max(others) < _AHEAD:
        return None
    inside = cells.inside
    smooth = _smooth(live[inside], usual[inside])
    blend = _likelihood(live[inside], mixture[inside])
    ahead = blend - smooth
    novel = int(live[~inside].sum())
    if novel >= max(_ROWS, _SHARE * n):
        ahead += _outside(live, mixture, inside)
    return Blend(tried.names[best], share, before, after, ahead, novel)


def _before(cells: Cells, live: Any) -> Gap | None:
    """The difference, where it is more than noise."""
    if min(float(live.sum()), cells.total) < ENOUGH:
        return None
    found = gap(live, cells.trained * cells.total)
    return None if found.chance > _CHANCE or found.psi < 2.5 * found.noise else found


def _related(part: Part, field: Field, tried: Tried, found: Blend) -> bool:
    """False when the rest of the rows says otherwise: a unit breaks what goes together.

    And each row must go together either as it came or undone.
    """
    seen = residuals(part, field.name)
    if seen is None:
        return True
    came, usual, scale = seen
    off = float(tried.moved[tried.names.index(found.name)]) / scale**2
    expected = found.share * min(off, _MOST_OFF)
    if expected < 0.25 * usual:
        return True
    if came < usual + 0.4 * expected:
        return False
    inverse = _inverse(found.name)
    undone = None if inverse is None else residuals(part, field.name, inverse.back)
    return undone is None or undone[0] < 1.5 * usual + 0.1 * expected


def _outside(live: Any, mixture: Any, inside: Any) -> float:
    """What lies outside of training's range has a place of its own in the change, or none."""
    here, there = live[~inside], mixture[~inside]
    total = here.sum()
    spread = np.full(len(here), 1 / len(here))
    mine = (there + 1e-9) / (there.sum() + 1e-9 * len(here))
    return float((here * np.log(np.maximum(mine, 1e-6) / spread)).sum()) if total else 0.0


def _tried(view: View, field: Field, cells: Cells) -> Tried:
    """Every change of a field, done to training's values once."""
    kept: dict[str, Tried] = view.kept.setdefault("blends", {})
    if field.name not in kept:
        kept[field.name] = _done(field, cells)
    return kept[field.name]


def stirred(part: Part, field: Field, cells: Cells) -> bool:
    """Whether the counts differ from training's by more than noise, however little that is."""
    found = _before(cells, cells.live(part.field(field.name)))
    return found is not None


def _done(field: Field, cells: Cells) -> Tried:
    names, into, moved = [], [], []
    for name, change in _changes(field, cells):
        with np.errstate(all="ignore"):
            values = change(cells.values)
        if not np.isfinite(values).all():
            continue
        placed = cells.placed(values)
        # What changes nothing that can be counted is no change.
        if np.abs(placed - cells.trained).sum() > 0.05:
            names.append(name)
            into.append(placed)
            moved.append(float((cells.weights * (values - cells.values) ** 2).sum()))
    return Tried(names, np.array(into).reshape(len(into), len(cells.trained)), np.array(moved))


def _changes(field: Field, cells: Cells) -> Iterator[tuple[str, _Change]]:
    low, high = cells.low, cells.high
    for name, change in changes():
        yield f"unit: {name}", change
        yield f"unit: {name}, rounded", _rounded(change)
    encodings = [float(each) for each in field.null.encodings if _is_number(each)]
    for value in dict.fromkeys((*SENTINELS, *encodings)):
        if not low <= value <= high:
            yield f"null as {value:g}", _constant(value)
    for bits in (8, 16):
        if high >= 2 ** (bits - 1):
            size = 2.0**bits
            yield (
                f"{bits}-bit overflow",
                _wrapped(size),
            )
    if cells.whole and low >= 0 and high - low >= 2 and high <= 60:
        yield from _turns(field, low, high)
    if low >= 0 and high - low >= 0.75 * 360 and high <= 360:
        for by in range(45, 360, 45):
            signed = by if by <= 180 else by - 360
            yield f"shifted by {signed:+d} of 360", _turned(by, 0.0, 360.0)


def _turns(field: Field, low: float, high: float) -> Iterator[tuple[str, _Change]]:
    """Clocks and weekdays in another zone, or counted from another base."""
    for step in (-1.0, 1.0):
        yield f"counts from another base ({step:+g})", _based(step)
    fitting = [each for each in _PERIODS if high - low < each]
    period = field.cyclic or (fitting[0] if fitting else None)
    if not period or high - low + 1 < 0.75 * period:
        return
    base = 1.0 if low >= 1 and high >= period else 0.0
    for shift in range(1, int(period)):
        signed = shift if shift <= period / 2 else shift - int(period)
        yield (
            f"shifted by {signed:+d} of {int(period)}",
            _turned(shift, base, period),
        )


def _rounded(change: _Change) -> _Change:
    return lambda values: np.round(change(values))


def _constant(value: float) -> _Change:
    return lambda values: np.full(len(values), value)


def _wrapped(size: float) -> _Change:
    return lambda values: (np.floor(values) + size / 2) % size - size / 2


def _based(step: float) -> _Change:
    return lambda values: values + step


def _turned(shift: float, base: float, period: float) -> _Change:
    return lambda values: (values - base + shift) % period + base


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _blend(live: Any, usual: Any, into: Any) -> tuple[Any, Any]:
    """For each change the share that explains most, and how much better than none it does."""
    shares = np.full(len(into), 0.1)
    if not len(into):
        return np.zeros(1), np.full(1, -np.inf)
    plain = usual + 0.25 / live.sum()
    for _ in range(_ROUNDS):
        mine = shares[:, None] * into
        shares = np.minimum(shares, 1 - 1e-6)
        shares = (live * (mine / (mine + (1 - shares[:, None]) * plain))).sum(axis=1) / live.sum()
    mixture = shares[:, None] * into + (1 - shares[:, None]) * plain
    return shares, (live * np.log(mixture / plain)).sum(axis=1)


def _likelihood(live: Any, expected: Any) -> float:
    expected = (expected + 1e-9) / (expected + 1e-9).sum()
    return float((live * np.log(expected)).sum())


def _smooth(live: Any, usual: Any) -> float:
    """The likelihood under training's counts, tilted by a cubic in their rank: log p + a·r + …"""
    weights = usual + 0.25 / max(live.sum(), 1.0)
    weights = weights / weights.sum()
    rank = np.cumsum(weights) - weights / 2 - 0.5
    basis = np.column_stack([rank, rank**2, rank**3])
    basis = basis - (weights[:, None] * basis).sum(axis=0)
    slope = np.zeros(3)
    total = live.sum()
    for _ in range(25):
        expected = weights * np.exp(np.clip(basis @ slope, -30, 30))
        expected = expected / expected.sum()
        centre = (expected[:, None] * basis).sum(axis=0)
        turn = basis.T @ (live - total * expected)
        bend = total * (basis.T @ (expected[:, None] * basis) - np.outer(centre, centre))
        step = np.linalg.solve(bend + 1e-9 * np.eye(3) * max(float(np.trace(bend)), 1.0), turn)
        slope = slope + np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-8:
            break
    expected = weights * np.exp(np.clip(basis @ slope, -30, 30))
    return _likelihood(live, expected / expected.sum())
