"""Sample-ratio mismatch: did the split really happen? A sequential multinomial test. Pure.

Counts units by the arm they were meant for, seen where answers leave. A mismatch means that
the comparison is worth nothing; it never says anything about the model.
"""

import math
from collections.abc import Sequence

__all__ = ["MISMATCH_ALPHA", "log_mismatch"]

#: A healthy router is called broken in at most this share of rollouts.
MISMATCH_ALPHA = 0.001
#: Pseudo-counts of the Dirichlet prior around the configured split.
_CONCENTRATION = 100.0


def log_mismatch(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Log evidence of one stage that units did not fall on its arms by ``shares`` (they sum to 1).

    Stages add up. Infinite when a unit fell on an arm that was given no share.
    """
    if any(count and not share for count, share in zip(counts, shares, strict=True)):
        return math.inf
    total = sum(counts)
    log = math.lgamma(_CONCENTRATION) - math.lgamma(_CONCENTRATION + total)
    for count, share in zip(counts, shares, strict=True):
        if share:
            prior = _CONCENTRATION * share
            log += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return log
