"""One partition of a field's numbers, for training's and live counts alike, in range and out of it.

In training's range by its quantiles; beyond it by steps of its width, from logarithmic buckets.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from serinus.parity.contract import Field
from serinus.parity.diagnosis.distance import merged
from serinus.parity.diagnosis.view import View, of_sketch
from serinus.parity.profiles import BINS, GAMMA, FieldProfile
from serinus.parity.sketch import FieldSketch

__all__ = ["Cells", "cells_for", "cells_of"]

#: Steps beyond training's range, in widths of it.
_BEYOND = (0.05, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0)
_POINTS = 8
_ROWS = 4000
_LOG = math.log(GAMMA)


@dataclass(frozen=True)
class Cells:
    """The partition of one field, and training's values in it."""

    low: float
    high: float
    whole: bool
    #: Training's quantile edges, and for each of its bins between them the cell.
    edges: Any
    place: Any
    #: Points that stand for training's values, and their weights (sum 1).
    values: Any
    weights: Any
    #: Rows of training that had a number.
    total: float

    @cached_property
    def inner(self) -> int:
        """How many cells there are in training's range."""
        return int(self.place.max()) + 1

    @cached_property
    def inside(self) -> Any:
        """Which cells lie in training's range; the others follow, below first."""
        return np.arange(self.inner + 2 * (len(_BEYOND) + 1)) < self.inner

    @cached_property
    def trained(self) -> Any:
        """Training's share of each cell."""
        return self.placed(self.values)

    def placed(self, values: Any, weights: Any | None = None) -> Any:
        """The share of each cell when training's points have these values."""
        return self._counts(values, self.weights if weights is None else weights)

    def live(self, sketch: FieldSketch) -> Any:
        """Live counts of each cell, of all rows."""
        bins = np.asarray(sketch.bins.counts, dtype=np.float64)
        found = np.zeros(len(self.inside))
        if len(bins) != len(self.edges) + 1:
            return found
        inside = bins[1:].copy()
        inside[-1] = max(inside[-1] - sketch.over, 0.0)
        found[: self.inner] = np.bincount(self.place, weights=inside, minlength=self.inner)
        numbers = of_sketch(sketch, self.whole)
        for beyond, count, side in (
            (numbers.values < self.low, bins[0], -1),
            (numbers.values > self.high, float(sketch.over), 1),
        ):
            if count and not beyond.any():  # in a bucket with values that training had
                found[self._outer(np.array([self.low if side < 0 else self.high]), side)] += count
            elif count:
                part = numbers.only(beyond)
                at = self._outer(part.values, side)
                found += np.bincount(
                    at, weights=part.weights * (count / part.total), minlength=len(found)
                )
        return found

    def _counts(self, values: Any, weights: Any) -> Any:
        size = len(self.inside)
        near = 1e-9 * max(abs(self.low), abs(self.high))
        at = np.empty(len(values), dtype=np.int64)
        below, above = values < self.low - near, values > self.high + near
        middle = ~below & ~above
        bins = np.searchsorted(self.edges, values[middle] + near, side="right") - 1
        at[middle] = self.place[np.clip(bins, 0, len(self.place) - 1)]
        for side, some in ((-1, below), (1, above)):
            at[some] = self._outer(_bucketed(values[some], self.whole), side)
        return np.bincount(at, weights=weights, minlength=size)

    def _outer(self, values: Any, side: int) -> Any:
        width = max(self.high - self.low, 1e-12)
        off = (self.low - values if side < 0 else values - self.high) / width
        step = np.searchsorted(np.asarray(_BEYOND), off, side="left")
        return self.inner + step + (0 if side < 0 else len(_BEYOND) + 1)


def _bucketed(values: Any, whole: bool) -> Any:
    """The middles of the logarithmic buckets that values would be counted in."""
    size = np.maximum(np.abs(values), 1e-12)
    middle = GAMMA ** (np.ceil(np.log(size) / _LOG) - 0.5)
    exact = whole & (size <= 50) & (size == np.round(size))
    return np.where(np.abs(values) < 1e-12, 0.0, np.sign(values) * np.where(exact, size, middle))


def cells_for(view: View, field: Field) -> Cells | None:
    """As `cells_of`, worked out once for all parts of the traffic."""
    kept: dict[str, Cells | None] = view.kept.setdefault("cells", {})
    if field.name not in kept:
        kept[field.name] = cells_of(view, field, view.baseline(field.name))
    return kept[field.name]


def cells_of(view: View, field: Field, trained: FieldProfile) -> Cells | None:
    """The partition; None where training's numbers were one, or none."""
    edges = np.asarray(trained.edges, dtype=np.float64)
    counts = np.asarray(trained.counts, dtype=np.float64)
    if len(edges) < 2 or counts[1:].sum() <= 0 or not edges[-1] > edges[0]:
        return None
    place = np.unique(merged(counts, _ROWS)[1:], return_inverse=True)[1].reshape(-1)
    values, weights = _points(view, field, edges, counts[1:])
    inside = np.clip(values, edges[0], edges[-1])
    return Cells(
        float(edges[0]),
        float(edges[-1]),
        view.is_whole(field.name),
        edges,
        place,
        inside,
        weights / weights.sum(),
        float(counts.sum()),
    )


def _points(view: View, field: Field, edges: Any, counts: Any) -> tuple[Any, Any]:
    """Points that stand for training's values: as they were where they were few."""
    distinct = field.observed.distinct
    if distinct is not None and distinct <= len(edges):
        return edges, counts
    between = np.append(np.diff(edges), 0.0)
    steps = (np.arange(_POINTS) + 0.5) / _POINTS
    values = (edges[:, None] + between[:, None] * steps).reshape(-1)
    if view.is_whole(field.name):
        values = np.floor(values)
    # Bins are of equal weight but where one value is frequent: it is an edge, and its bin heavier.
    often = np.maximum(counts - counts.sum() / BINS, 0.0)
    often[-1] = counts[-1]
    rest = np.repeat((counts - often) / _POINTS, _POINTS)
    return np.concatenate([values, edges]), np.concatenate([rest, often])
