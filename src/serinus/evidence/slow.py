"""The slow-event test: did slow answers fall on the candidate more often than its share? Pure.

An event is a baseline answer above the baseline's past quantile, or a candidate's above
(1 + margin) times that. If the candidate is no slower than the margin allows, at most its share of
events is its own, whatever load does to both. Counts come from `windows`, whose thresholds precede
them.

Of each replica one answer is timed at a time: of a quiet arm that is nearly every one, of a busy
or a slow one it is not. So the candidate's share of the answers counted may be far from its share
of traffic. It is held to whichever is larger before it is convicted, and to whichever is smaller
before it is called safe: else one that answers half as often would have half as many slow answers.
"""

from itertools import chain

import numpy as np
from numpy.typing import NDArray

from serinus.evidence.eprocess import Events, Floats, log_decrease, log_regression
from serinus.evidence.histogram import Histogram, buckets_within, duration_bucket, upper_edge
from serinus.evidence.windows import QUANTILES, Window

__all__ = ["SlowEvents"]

Ints = NDArray[np.int64]

#: Standard deviations by which a share of answers may exceed that of traffic, and mean nothing.
_CHANCE = 3.0


class _Tails:
    """One arm's histograms of all windows: how many lie above a bucket, per window, at once."""

    __slots__ = ("_above", "_lowest", "_rows")

    def __init__(self, histograms: list[Histogram]) -> None:
        sizes = [len(each) for each in histograms]
        buckets = np.fromiter(chain.from_iterable(histograms), np.int64, sum(sizes))
        counts = np.fromiter(
            chain.from_iterable(map(dict.values, histograms)), np.float64, sum(sizes)
        )
        self._rows = np.arange(len(histograms))
        self._lowest = int(buckets.min()) if len(buckets) else 0
        highest = int(buckets.max(initial=self._lowest))
        # Column j: how many lie in bucket lowest + j or above; the last is 0.
        table = np.zeros((len(histograms), highest - self._lowest + 2))
        table[np.repeat(self._rows, sizes), buckets - self._lowest] = counts
        self._above: Floats = table[:, ::-1].cumsum(axis=1)[:, ::-1]

    def above(self, edges: Ints) -> Floats:
        """Per window, how many lie above its edge."""
        columns = np.clip(edges + 1 - self._lowest, 0, self._above.shape[1] - 1)
        result: Floats = self._above[self._rows, columns]
        return result

    def totals(self) -> Floats:
        """How many there are, per window."""
        result: Floats = self._above[:, 0]
        return result


class SlowEvents:
    """Latency windows of a rollout, ready to be asked at any quantile and margin."""

    __slots__ = ("_baseline", "_candidate", "_edges", "_floor_s", "_highest", "_lowest", "_share")

    def __init__(
        self, windows: list[Window], *, of_model: bool = False, floor_s: float = 0.0
    ) -> None:
        """``of_model``: compare the time inside the model, not the gateway's view.

        ``floor_s``: a candidate's answer is slow only when it is also this much, in seconds, above
        the threshold of the baseline's.
        """
        self._floor_s = floor_s

        def usable(window: Window) -> bool:
            return bool(edges(window)) and window.candidate_bp > 0

        def edges(window: Window) -> tuple[int, ...]:
            return window.model_edges if of_model else window.latency_edges

        used = [window for window in windows if usable(window)]
        candidates = [window.candidate for window in used]
        others = [window.baseline() for window in used]
        above = [window.model_above if of_model else window.latency_above for window in used]
        self._edges = np.array([edges(window) for window in used], np.int64).reshape(
            len(used), len(QUANTILES)
        )
        self._share = np.array([window.share() for window in used])
        self._candidate = _Tails([c.model_time if of_model else c.latency for c in candidates])
        mine = self._candidate.totals()
        theirs = np.array(
            [sum((c.model_time if of_model else c.latency).values()) for c in others], np.float64
        )
        self._lowest, self._highest = _seen_shares(self._share, mine, mine + theirs)
        self._baseline = np.array(above, np.float64).reshape(len(used), len(QUANTILES))

    @property
    def answers(self) -> int:
        """The candidate's answers that a threshold stood ready for."""
        return int(self._candidate.totals().sum())

    def events(self, quantile: float, margin: float, *, lenient: bool) -> Events:
        """Slow answers per window; ``lenient`` rounds the candidate's threshold up, else down."""
        column = QUANTILES.index(quantile)
        edges = self._edges[:, column]
        moved = edges + buckets_within(1.0 + margin, up=lenient)
        if self._floor_s:
            floors = [duration_bucket(upper_edge(int(edge)) + self._floor_s) for edge in edges]
            moved = np.maximum(moved, np.array(floors, np.int64))
        candidate = self._candidate.above(moved)
        return Events(candidate, candidate + self._baseline[:, column], self._share)

    def log_slower(self, quantile: float, margin: float) -> float:
        """Log evidence that the candidate is slower at that quantile by more than ``margin``."""
        events = self.events(quantile, margin, lenient=True)
        if not len(events.share):
            return 0.0
        return float(log_regression(Events(events.candidate, events.total, self._highest)))

    def log_not_slower(self, quantile: float, margin: float, exposure: float) -> float:
        """Log evidence that the candidate is slow less than ``1 / exposure`` times as often.

        At an exposure of 1 that says: slower at that quantile by less than ``margin``. At a share w
        the slow answers of all users together then stay within the same budget: the harm of an
        answer is that it is slow, so it is their number that grows as exposure falls. (To scale
        the margin in seconds instead would ask for hundreds of answers to prove a p99 at 1 %.)
        """
        events = self.events(quantile, margin, lenient=False)
        if not len(events.share):
            return 0.0
        held = Events(events.candidate, events.total, self._lowest)
        return float(log_decrease(held, 1.0 / exposure))


def _seen_shares(shares: Floats, mine: Floats, everybody: Floats) -> tuple[Floats, Floats]:
    """(lowest, highest) of the candidate's shares of traffic and of the answers counted.

    They are one and the same where chance explains the difference.
    """
    distinct, place = np.unique(shares, return_inverse=True)
    part = np.bincount(place, mine, len(distinct))
    whole = np.bincount(place, everybody, len(distinct))
    chance = _CHANCE * np.sqrt(whole * distinct * (1.0 - distinct))
    off = np.abs(part - whole * distinct) > chance
    seen = np.where(off, part / np.maximum(whole, 1.0), distinct)
    return np.minimum(seen, distinct)[place], np.maximum(seen, distinct)[place]
