"""Single numbers that hold too many rows: those that stand for null, and edges of a clipping.

All the other values must be as they were in training; that tells them from a genuine change.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from serinus.parity.contract import Field
from serinus.parity.diagnosis.distance import ENOUGH, Gap, alike, gap, share_gap
from serinus.parity.diagnosis.moved import binned_gap, numbers_gap, trained_range
from serinus.parity.diagnosis.suspect import Suspect
from serinus.parity.diagnosis.view import Numbers, Part
from serinus.parity.profiles import GAMMA, FieldProfile
from serinus.parity.shape import SENTINELS

__all__ = ["clipped", "sentinel"]

_FEWEST = 5
_SIGMAS = 5.0


def sentinel(part: Part, field: Field, trained: FieldProfile, live: Numbers) -> Suspect | None:
    """One number that stands for "no value", or a constant that was put in its place."""
    sketch = part.field(field.name)
    value, share = _most(part, field, trained, live)
    count = share * live.total
    usual = _usual(field, trained, value)
    if count < _FEWEST or share < usual + 0.01:
        return None
    if share_gap(count, live.total, usual, max(trained.n, 1)) < _SIGMAS:
        return None
    low, high = trained_range(trained)
    outside = not low <= value <= high
    if not outside and not live.exact:
        return None  # a bucket of the histogram is no single value
    rest = live.only(live.values != value if live.exact else ~_in_bucket(live.values, value))
    if usual:
        kept = usual * rest.total / max(1 - usual, 1e-9)
        rest = Numbers(np.append(rest.values, value), np.append(rest.weights, kept), rest.exact)
    before = binned_gap(trained, live.binned(np.asarray(trained.edges)))
    after: Gap | None = numbers_gap(trained, rest)
    if rest.total >= ENOUGH and after is not None and after.apart and not alike(after, before):
        return None
    if rest.total < ENOUGH:
        if not _is_sentinel(value, trained, field):
            return None  # a constant, not one value among others
        after = None
    if outside and not _is_sentinel(value, trained, field) and share < 0.02:
        return None
    column = part.rows.columns.get(field.name)
    return Suspect(
        part,
        [field.name],
        f"null as {value:g}",
        f"{share:.1%} of '{field.name}' are {value:g}, {usual:.1%} in training"
        + (", where it lies outside of the range" if outside else "")
        + ("; all others are as they were" if after is not None else ""),
        (share - usual) * sketch.present / max(sketch.n, 1),
        before,
        after,
        hard=outside,
        besides=f"{value:g} commonly stands for null",
        rows=[] if column is None else part.rows.examples(column.values == value),
    )


def _most(part: Part, field: Field, trained: FieldProfile, live: Numbers) -> tuple[float, float]:
    """The number that most likely stands for null, and its share: of all rows, where counted."""
    sketch = part.field(field.name)
    counted = {float(name): count for name, count in sketch.specials.items()}
    strange = {
        value: count for value, count in counted.items() if _is_sentinel(value, trained, field)
    }
    if strange:
        value = max(strange, key=lambda each: strange[each])
        return value, strange[value] / max(sketch.present, 1)
    values, places = np.unique(live.values, return_inverse=True)
    counts = np.bincount(places.reshape(-1), weights=live.weights)
    at = int(np.argmax(counts))
    for each in np.argsort(-counts)[:8]:
        if _is_sentinel(float(values[each]), trained, field):
            at = int(each)
            break
    return float(values[at]), float(counts[at]) / live.total


def _in_bucket(values: Any, value: float) -> Any:
    """Whether the middle of a logarithmic bucket is that of the value's own."""
    if not value:
        return values == 0
    return (np.sign(values) == np.sign(value)) & (
        np.abs(np.log(np.maximum(np.abs(values), 1e-12) / abs(value))) <= math.log(GAMMA)
    )


def _is_sentinel(value: float, trained: FieldProfile, field: Field) -> bool:
    low, high = trained_range(trained)
    return (value in SENTINELS or repr(value) in field.null.encodings) and not low <= value <= high


def _usual(field: Field, trained: FieldProfile, value: float) -> float:
    """Training's share of one value, at most."""
    present = max(trained.n - trained.null - trained.nan, 1)
    if value == 0:
        return trained.zero / present
    if repr(value) in field.observed.spikes:
        return field.observed.spikes[repr(value)]
    edges = np.asarray(trained.edges)
    at = int(np.searchsorted(edges, value, side="right"))
    return trained.counts[at] / present if at < len(trained.counts) else 0.0


def clipped(
    part: Part, field: Field, trained: FieldProfile, live: Numbers, before: Gap
) -> Iterator[Suspect]:
    """All beyond an edge was moved onto it, and nothing inside of it changed."""
    edges, counts = np.asarray(trained.edges), np.asarray(trained.counts, dtype=np.float64)
    if len(edges) < 8 or not live.exact:
        return
    for top in (True, False):
        limit = float(live.values.max() if top else live.values.min())
        there = live.only(live.values == limit)
        tail = float(counts[edges.searchsorted(limit, "left") :].sum() if top else 0.0)
        if not top:
            tail = float(counts[: edges.searchsorted(limit, "right") + 1].sum())
        expected = tail / counts.sum()
        share = there.total / live.total
        if not 0.01 <= share <= 0.6 or abs(share - expected) > max(
            4 * math.sqrt(expected / live.total), 0.15 * expected, 1 / 64
        ):
            continue
        if (limit >= trained_range(trained)[1]) if top else (limit <= trained_range(trained)[0]):
            continue
        # By the counts of all rows: those that were recorded are few.
        binned = np.asarray(part.field(field.name).bins.counts, dtype=np.float64)
        if len(binned) != len(counts):
            return
        inside, own = (int(edges.searchsorted(limit, side)) for side in ("left", "right"))
        one = binned[:inside] if top else binned[own + 1 :]
        other = counts[:inside] if top else counts[own + 1 :]
        beyond = binned[own + 1 :] if top else binned[:inside]
        if len(one) < 4 or one.sum() < ENOUGH or beyond.sum():
            continue
        kept = gap(one, other)
        if kept.psi > 2.0 * kept.noise:
            continue
        column = part.rows.columns.get(field.name)
        yield Suspect(
            part,
            [field.name],
            f"clipped at {limit:g}",
            f"{share:.1%} of '{field.name}' are exactly {limit:g} and none lies beyond, where "
            f"training had {expected:.1%}; all inside is unchanged",
            share,
            before,
            kept,
            hard=True,
            why="no value lies beyond the edge, where training had some",
            rows=[] if column is None else part.rows.examples(column.values == limit),
        )
