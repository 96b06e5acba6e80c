"""Two quantiles compared within one stage, for reports: Howard and Ramdas 2022, Theorem 5.

Sharper than the slow-event test at the median, and false under drift when stages are pooled:
never give it counts of more than one stage, and never decide by it.
"""

import numpy as np
from numpy.typing import NDArray

from serinus.evidence.eprocess import Events, Floats, log_decrease, log_regression
from serinus.evidence.histogram import Histogram, buckets_within

__all__ = ["log_slower"]


def log_slower(candidate: Histogram, baseline: Histogram, share: float, margin: float) -> float:
    """Log evidence that the candidate's quantile is above (1 + ``margin``) times the baseline's.

    ``share``: which quantile, e.g. 0.95. Exact for durations rounded up to bucket edges.
    """
    if not candidate or not baseline:
        return 0.0
    shift = buckets_within(1.0 + margin, up=True)
    moved = {bucket - shift: count for bucket, count in candidate.items()}
    edges = np.unique(np.array([*moved, *baseline]))
    # Were the null true, both would hold at the bucket of the candidate's quantile: at least
    # `share` of the candidate at or below it, at most `share` of the baseline strictly below it.
    below_candidate = _at_or_below(moved, edges)
    below_baseline = _at_or_below(baseline, edges - 1)
    few = log_decrease(_against(below_candidate, sum(candidate.values()), share))
    many = log_regression(_against(below_baseline, sum(baseline.values()), share))
    return float(np.min(few + many))


def _at_or_below(histogram: Histogram, edges: NDArray[np.int64]) -> Floats:
    buckets = np.array(sorted(histogram))
    counts = np.cumsum([0.0] + [histogram[bucket] for bucket in sorted(histogram)])
    result: Floats = counts[np.searchsorted(buckets, edges, side="right")]
    return result


def _against(hits: Floats, trials: int, share: float) -> Events:
    return Events(hits[:, None], np.full((len(hits), 1), float(trials)), np.array([share]))
