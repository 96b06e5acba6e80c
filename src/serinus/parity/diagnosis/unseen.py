"""Units in a few of the rows, for numbers of which training saw only some: distances, prices.

Rows whose value falls where training had none are put through every inverse; one that brings
nearly all of them back, and clearly more than any other does, is named.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from serinus.parity.contract import Field
from serinus.parity.diagnosis.inverses import CATALOGUE, snapped
from serinus.parity.diagnosis.moved import numbers_gap
from serinus.parity.diagnosis.suspect import Suspect
from serinus.parity.diagnosis.view import Numbers, Part
from serinus.parity.profiles import GAMMA, FieldProfile

__all__ = ["unseen_values"]

_FEWEST = 30
_DISTINCT = 8
_SHARE = 0.01
_RESTORED = 0.97
#: How much better than by chance.
_AHEAD = 0.15
#: Above this there is no gap for a value to fall into.
_MOST_DISTINCT = 0.1


def unseen_values(
    part: Part, field: Field, trained: FieldProfile, live: Numbers
) -> Iterator[Suspect]:
    """Every such unit; None of a field whose values fill their range."""
    distinct, grid = field.observed.distinct, field.observed.grid
    if not live.exact or distinct is None or grid is None or trained.negative:
        return
    if distinct > _MOST_DISTINCT * max(trained.n, 1) or not trained.log:
        return
    known = np.array(sorted(int(each) for each in trained.log))
    new = live.only(~_among(live.values, known) & (live.values > 0))
    singles = sum(count == 1 for count in trained.log.values()) / max(trained.n, 1)
    if new.total < max(_FEWEST, _SHARE * live.total, 5 * singles * live.total):
        return
    if len(np.unique(new.values)) < _DISTINCT:
        return
    scored = []
    for inverse in CATALOGUE:
        with np.errstate(all="ignore"):
            back = snapped(inverse.back(new.values), grid)
        scored.append((float(_among(back, known).mean()), inverse, back))
    scored.sort(key=lambda each: -each[0])
    best, inverse, back = scored[0]
    if best < _RESTORED or best - _next(scored) < _AHEAD:
        return
    column = part.rows.columns[field.name]
    touched = ~column.null & ~_among(column.values.astype(np.float64), known)
    yield Suspect(
        part,
        [field.name],
        f"unit: {inverse.name}",
        f"{new.total / live.total:.1%} of '{field.name}' have values that training never had; "
        f"undoing {inverse.name} makes {best:.0%} of them known ones",
        float(new.total / live.total),
        numbers_gap(trained, new),
        numbers_gap(trained, new.mapped(back)),
        hard=True,
        rows=part.rows.examples(touched),
    )


def _next(scored: list[tuple[float, Any, Any]]) -> float:
    """The best of those that are another change, not the same by another name."""
    first = scored[0][1].factor
    for score, inverse, _ in scored[1:]:
        if first is None or inverse.factor is None or abs(inverse.factor / first - 1) > 0.05:
            return score
    return 0.0


def _among(values: Any, known: Any) -> Any:
    """Whether each falls into a bucket in which training had something."""
    positive = np.where(np.isfinite(values) & (values > 0), values, 1.0)
    buckets = np.ceil(np.log(positive) / math.log(GAMMA)).astype(np.int64)
    place = np.minimum(np.searchsorted(known, buckets), len(known) - 1)
    return (known[place] == buckets) & np.isfinite(values) & (values > 0)
