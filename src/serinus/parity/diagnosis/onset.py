"""Step 0: since when, and what was done about then.

A step is looked for in the hourly counts of what a finding touches; without one it has been so for
all of the window.
"""

import math
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import numpy as np

from serinus.parity.diagnosis.values import Event
from serinus.parity.diagnosis.view import View
from serinus.parity.sketch import FieldSketch, Sketch

__all__ = ["Onset", "grown", "nearest", "onset"]

_FEWEST_HOURS = 3
_UTC = timezone.utc  # noqa: UP017 - a replica's Python may be 3.10
_FEWEST_ROWS = 30
_NEAR = timedelta(hours=2)
_SIGMAS = 5.0


class Onset:
    """A step in the hourly counts."""

    __slots__ = ("after", "at", "before")

    def __init__(self, at: datetime, before: float, after: float) -> None:
        self.at, self.before, self.after = at, before, after


def onset(
    view: View,
    callers: list[str] | None,
    measure: Callable[[Sketch], tuple[float, float]],
    *,
    fewest: int = _FEWEST_ROWS,
) -> Onset | None:
    """The hour from which more rows are touched; ``measure`` gives touched rows and all rows.

    None when there are too few hours, or no clear step upwards.
    """
    hours = view.hourly(callers)
    counted = [(hour, *measure(hours[hour])) for hour in sorted(hours)]
    counted = [each for each in counted if each[2] >= fewest]
    if len(counted) < _FEWEST_HOURS:
        return None
    best: tuple[float, int, float, float] | None = None
    for at in range(1, len(counted)):
        score, before, after = _step(counted[:at], counted[at:])
        if best is None or score > best[0]:
            best = score, counted[at][0], before, after
    if best is None or best[0] < _SIGMAS or best[3] < best[2] + max(0.02, 0.2 * best[2]):
        return None
    return Onset(datetime.fromtimestamp(best[1] * 3600, tz=_UTC), best[2], best[3])


def _step(
    first: list[tuple[int, float, float]], rest: list[tuple[int, float, float]]
) -> tuple[float, float, float]:
    touched, rows = sum(each[1] for each in first), sum(each[2] for each in first)
    later, more = sum(each[1] for each in rest), sum(each[2] for each in rest)
    before, after = touched / rows, later / more
    both = (touched + later) / (rows + more)
    spread = math.sqrt(max(both * (1 - both), 1e-9) * (1 / rows + 1 / more))
    return (after - before) / spread, before, after


def grown(view: View, name: str, live: FieldSketch, hour: Sketch) -> tuple[float, float]:
    """An hour's rows in the bins that hold half as many more live than in training; and all."""
    counts = hour.fields.get(name)
    if counts is None:
        return 0.0, 0.0
    trained = np.asarray(view.baseline(name).counts, dtype=np.float64)
    bins = np.asarray(live.bins.counts, dtype=np.float64)
    here = np.asarray(counts.bins.counts, dtype=np.float64)
    if not len(trained) or len(trained) != len(bins) or len(here) != len(bins) or not bins.sum():
        return float(counts.novel), float(counts.n)
    more = bins / bins.sum() > 1.5 * trained / max(trained.sum(), 1)
    return float(here[more].sum()), float(here.sum())


def nearest(events: list[Event], at: datetime | None) -> Event | None:
    """What was done within two hours of ``at``, the nearest first."""
    if at is None:
        return None
    # Counts are by hour: what was done in the hour itself is as near as it gets.
    close = [each for each in events if -_NEAR <= each.at - at <= _NEAR]
    return min(close, key=lambda each: abs(each.at - at), default=None)
