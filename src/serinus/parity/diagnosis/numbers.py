"""Patterns of numbers that clients send wrongly: unit, sign, overflow, clock, sentinel, clipping.

Each is accepted only when undoing it brings training's values back, down to the noise; clipping
only when all below the edge is unchanged. That keeps a genuine change from being accused.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from serinus.parity.contract import Field, Kind
from serinus.parity.diagnosis.blends import blended
from serinus.parity.diagnosis.distance import Gap, alike, gap, merged
from serinus.parity.diagnosis.inverses import (
    CATALOGUE,
    Inverse,
    divided_by,
    free_factor,
    snapped,
    wraps,
)
from serinus.parity.diagnosis.mixed import mixed_units
from serinus.parity.diagnosis.moved import field_gap, numbers_gap, trained_range
from serinus.parity.diagnosis.spikes import clipped, sentinel
from serinus.parity.diagnosis.suspect import Suspect
from serinus.parity.diagnosis.unseen import unseen_values
from serinus.parity.diagnosis.view import Numbers, Part, of_sketch
from serinus.parity.profiles import FieldProfile

__all__ = ["number_suspects"]

_FEWEST = 5
_HARD_ROWS = 20
_UNIT_PSI = 0.25
_PERIODS = (7, 12, 24, 31, 52, 60, 360, 366)
_MOST_WHOLE = 50
#: Share of rows off training's grid from which it is told, whatever was done to them.
_FINER = 0.01
_NAMES = frozenset(each.name for each in CATALOGUE)


def number_suspects(part: Part, field: Field) -> Iterator[Suspect]:
    """Every change of this field that its values in this part speak for."""
    view = part.view
    trained = view.baseline(field.name)
    sketch = part.field(field.name)
    if field.type.logical not in (Kind.NUMBER, Kind.WHOLE) or sketch.present < _HARD_ROWS:
        return
    if len(trained.counts) < 2:
        return
    before = field_gap(view, field, sketch)
    live = part.numbers(field.name)
    if before is None or not live.total:
        return
    found = list(_whole_changes(part, field, trained, (live, before)))
    yield from found
    # A change of all rows is the simpler one, where it explains them.
    if not any(each.hard or each.restored for each in found):
        yield from blended(part, field)


def _whole_changes(
    part: Part, field: Field, trained: FieldProfile, known: tuple[Numbers, Gap]
) -> Iterator[Suspect]:
    live, before = known
    spike = sentinel(part, field, trained, live)
    if spike is not None:
        yield spike
    yield from _off_grid(part, field, trained, live)
    yield from unseen_values(part, field, trained, live)
    yield from _impossible(part, field, trained, live, before)
    if before.apart:
        yield from _rescaled(part, field, trained, live, before)
        yield from _turned(part, field, live, before)
        yield from clipped(part, field, trained, live, before)
        yield from mixed_units(part, field, trained, before)


def _say(before: Gap, after: Gap) -> str:
    return f"the index of change falls from {before.psi:.2f} to {after.psi:.3f}"


def _undone(part: Part, name: str, inverse: Inverse, grid: float | None = None) -> Any | None:
    column = part.rows.columns.get(name)
    if column is None or column.kind not in (Kind.NUMBER, Kind.WHOLE):
        return None
    return snapped(inverse.back(column.values.astype(np.float64)), grid)


def _rescaled(
    part: Part, field: Field, trained: FieldProfile, live: Numbers, before: Gap
) -> Iterator[Suspect]:
    """Units: the whole part by one factor or formula."""
    if before.psi < _UNIT_PSI:
        return
    grid = field.observed.grid
    best = _best(live, trained, CATALOGUE, grid)
    free = free_factor(live, part.view.trained(field.name))
    other = _best(live, trained, _around(free), grid) if free is not None else None
    # A unit that has a name is the likelier one, unless another factor fits clearly better.
    if other is not None and (best is None or other[1].psi < 0.7 * best[1].psi):
        best = other
    if best is None or not alike(best[1], before):
        return
    inverse, after = best
    yield Suspect(
        part,
        [field.name],
        f"unit: {inverse.name}",
        f"undoing {inverse.name} brings training's values of '{field.name}' back: "
        + _say(before, after),
        1.0,
        before,
        after,
        hard=_grid_restored(live, inverse, grid),
        named=inverse.name in _NAMES,
        undone=_undone(part, field.name, inverse, grid),
    )


def _around(inverse: Inverse) -> list[Inverse]:
    """A free factor is known to a bucket or two of its histogram."""
    factor = inverse.factor or 1.0
    return [
        Inverse(f"x {each:.3g}", divided_by(each), each)
        for each in factor * np.exp(np.linspace(-0.03, 0.03, 13))
    ]


def _best(
    live: Numbers, trained: FieldProfile, inverses: Iterable[Inverse], grid: float | None
) -> tuple[Inverse, Gap] | None:
    found: tuple[Inverse, Gap] | None = None
    for inverse in inverses:
        with np.errstate(all="ignore"):
            back = live.mapped(snapped(inverse.back(live.values), grid))
        if back.total < 0.9 * live.total:
            continue
        after = numbers_gap(trained, back)
        if found is None or after.psi < found[1].psi:
            found = inverse, after
    return found


def _on_grid(values: Any, grid: float) -> Any:
    ratio = values / grid
    return np.abs(ratio - np.round(ratio)) <= 1e-6 + 1e-9 * np.abs(ratio)


def _grid_restored(live: Numbers, inverse: Inverse, grid: float | None) -> bool:
    """Off training's grid as they came, on it again after the inverse."""
    if grid is None or not live.exact:
        return False
    off = live.only(~_on_grid(live.values, grid))
    if off.total < _FEWEST:
        return False
    return float(_on_grid(inverse.back(off.values), grid).mean()) >= 0.95


def _off_grid(part: Part, field: Field, trained: FieldProfile, live: Numbers) -> Iterator[Suspect]:
    """Units in some of the rows only: those that left training's grid."""
    sketch, grid = part.field(field.name), field.observed.grid
    if grid is None or sketch.off_grid < max(_FEWEST, 0.002 * sketch.n) or not live.exact:
        return
    off = live.only(~_on_grid(live.values, grid))
    if off.total < _FEWEST:
        return
    if float(_on_grid_in_single(off.values, grid).mean()) > 0.05:
        return  # single precision on the way, and no other number
    low, high = trained_range(trained)
    for inverse in CATALOGUE:
        with np.errstate(all="ignore"):
            back = inverse.back(off.values)
        good = _on_grid(back, grid) & (back >= low - grid) & (back <= high + grid)
        if good.mean() < 0.95 or len(np.unique(off.values)) < 3:
            continue
        share = sketch.off_grid / max(sketch.n, 1)
        column = part.rows.columns[field.name]
        bad = ~column.null & ~_on_grid(column.values.astype(np.float64), grid)
        before = numbers_gap(trained, off)
        yield Suspect(
            part,
            [field.name],
            f"unit: {inverse.name}",
            f"{sketch.off_grid} of {sketch.n} values of '{field.name}' are no multiples of "
            f"{grid:g}, as all were in training; undoing {inverse.name} makes them so",
            share,
            before,
            numbers_gap(trained, off.mapped(snapped(back, grid))),
            hard=True,
            rows=part.rows.examples(bad),
        )
        return
    if not numbers_gap(trained, live).apart:
        yield from _finer(part, field, trained, off)


def _finer(part: Part, field: Field, trained: FieldProfile, off: Numbers) -> Iterator[Suspect]:
    """Numbers with digits that none of training's had, distributed as they were otherwise.

    The world changes what values are and not how they are written. Where they have changed as well
    it may be another source, and is left to later steps.
    """
    sketch, grid = part.field(field.name), field.observed.grid
    if grid is None or sketch.off_grid < max(_HARD_ROWS, _FINER * sketch.n):
        return
    column = part.rows.columns[field.name]
    bad = ~column.null & ~_on_grid(column.values.astype(np.float64), grid)
    yield Suspect(
        part,
        [field.name],
        f"no multiples of {grid:g}",
        f"{sketch.off_grid} of {sketch.n} values of '{field.name}' are no multiples of {grid:g}, "
        f"as all {trained.n - trained.null - trained.nan} were in training: they were computed, "
        "as by a small factor",
        sketch.off_grid / max(sketch.n, 1),
        numbers_gap(trained, off),
        None,
        hard=True,
        besides="but for their last digits all values are distributed as in training",
        rows=part.rows.examples(bad),
    )


def _on_grid_in_single(values: Any, grid: float) -> Any:
    """Whether a number is the nearest that single precision has to one on the grid."""
    near = np.round(values / grid) * grid
    return np.abs(values - near) <= 1.2e-7 * np.abs(values)


def _impossible(
    part: Part, field: Field, trained: FieldProfile, live: Numbers, before: Gap
) -> Iterator[Suspect]:
    """Negative numbers where there never were any: an overflow, or a turned sign."""
    sketch = part.field(field.name)
    if trained.negative or sketch.negative < max(_FEWEST, 0.002 * sketch.n):
        return
    below = live.only(live.values < 0)
    if not below.total or len(np.unique(below.values)) < 3:
        return
    yield from _to_the_limits(part, field, live, before)
    low, high = trained_range(trained)
    turned = Inverse("sign turned", np.abs)
    for inverse in (*wraps(), turned):
        back = inverse.back(below.values)
        if ((back >= low) & (back <= high)).mean() < 0.95:
            continue
        after = numbers_gap(trained, live.mapped(inverse.back(live.values)))
        if before.apart and not alike(after, before):
            continue
        column = part.rows.columns.get(field.name)
        yield Suspect(
            part,
            [field.name],
            inverse.name if inverse is not turned else "sign turned",
            f"{sketch.negative} of {sketch.n} values of '{field.name}' are negative, none was in "
            f"training; undoing the {inverse.name} puts them into its range",
            sketch.negative / max(sketch.n, 1),
            before,
            after,
            hard=True,
            rows=[] if column is None else part.rows.examples(~column.null & (column.values < 0)),
        )
        return


def _to_the_limits(part: Part, field: Field, live: Numbers, before: Gap) -> Iterator[Suspect]:
    """Numbers that fill a type's whole range and never leave it, where none was negative."""
    sketch = part.field(field.name)
    for bits in (8, 16, 32):
        end = 2.0 ** (bits - 1)
        low, high = float(live.values.min()), float(live.values.max())
        if not (-end <= low <= -0.95 * end and 0.95 * end - 1 <= high <= end - 1):
            continue
        column = part.rows.columns.get(field.name)
        yield Suspect(
            part,
            [field.name],
            f"{bits}-bit overflow",
            f"{sketch.negative} of {sketch.n} values of '{field.name}' are negative, none was in "
            f"training; they fill the range of {bits}-bit numbers from {low:g} to {high:g}",
            sketch.negative / max(sketch.n, 1),
            before,
            None,
            hard=True,
            besides=f"they end where {bits}-bit numbers do, below and above",
            rows=[] if column is None else part.rows.examples(~column.null & (column.values < 0)),
        )
        return


def _turned(part: Part, field: Field, live: Numbers, before: Gap) -> Iterator[Suspect]:
    """Numbers that go round (hours, weekdays), or that count from another base."""
    view = part.view
    if not view.is_whole(field.name):
        return
    trained = view.trained(field.name)
    if not trained.total or not len(live.values):
        return
    low, high = float(trained.values.min()), float(trained.values.max())
    if max(high, float(live.values.max())) <= _MOST_WHOLE:
        live = of_sketch(part.field(field.name), whole=True)  # every row, and just as exact
    elif not live.exact:
        return
    if low < 0 or high > 366 or high - low < 2:
        return
    integral = live.only(np.abs(live.values - np.round(live.values)) < 1e-6)
    if integral.total < 0.99 * live.total:
        return
    best: tuple[str, Gap, Any] | None = None
    for name, back in _turns(field, low, high, integral.values):
        after = _whole_gap(trained, integral.mapped(back(integral.values)), before)
        if best is None or after.psi < best[1].psi:
            best = name, after, back
    plain = _whole_gap(trained, integral, before)
    if best is None or not plain.apart or not alike(best[1], plain):
        return
    name, after, back = best
    yield Suspect(
        part,
        [field.name],
        name,
        f"undoing '{name}' brings training's values of '{field.name}' back: {_say(plain, after)}",
        1.0,
        plain,
        after,
        undone=_undone(part, field.name, Inverse(name, back)),
    )


def _turns(field: Field, low: float, high: float, values: Any) -> Iterator[tuple[str, Any]]:
    for step in (-1.0, 1.0):
        if values.min() + step >= low and values.max() + step <= high:
            yield f"counts from another base ({-step:+g})", lambda v, step=step: v + step
    periods = [field.cyclic] if field.cyclic else [p for p in _PERIODS if high - low < p]
    for period in [p for p in periods if p][:3]:
        base = 1.0 if low >= 1 and high >= period else 0.0
        if values.min() < base or values.max() > base + period - 1:
            continue
        most = int(period)
        for shift in range(1, most) if most <= 60 else ():
            signed = shift if shift <= most / 2 else shift - most
            yield (
                f"shifted by {signed:+d} of {most}",
                lambda v, s=shift, b=base, p=period: (v - b - s) % p + b,
            )


def _whole_gap(trained: Numbers, live: Numbers, before: Gap) -> Gap:
    """Value by value; training's counts are taken as many as they were."""
    # Middles of buckets are no whole numbers: rounded first, then counted.
    came = np.round(live.values).astype(np.int64)
    usual = np.round(trained.values).astype(np.int64)
    low = int(min(usual.min(), came.min()))
    size = int(max(usual.max(), came.max())) - low + 1
    one = np.bincount(came - low, weights=live.weights, minlength=size)
    other = np.bincount(usual - low, weights=trained.weights, minlength=size)
    used = (one + other) > 0
    one, other = one[used], other[used]
    place = merged(other, min(one.sum(), other.sum()))
    groups = int(place.max()) + 1
    return gap(
        np.bincount(place, weights=one, minlength=groups),
        np.bincount(place, weights=other, minlength=groups),
    )
