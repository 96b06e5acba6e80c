"""One proportion against a fixed number: errors against a floor, differing pairs against a limit.

A Bernoulli tilted by e^d has the form of the conditional test with the fixed number in place of
the candidate's share, so the same mixtures serve. Valid when each trial's probability given the
past respects the null, also when it moves. Never needs a baseline.
"""

import numpy as np

from serinus.evidence.eprocess import Events, Floats, log_decrease, log_regression

__all__ = ["log_above", "log_below"]

#: Where candidates lie that are far below the limit: most of them, when the limit is a floor.
_WELL_BELOW = -2.5
_SPREAD = 1.5


def log_above(hits: float, trials: float, limit: float) -> float:
    """Log evidence that the proportion is above ``limit`` (in (0, 1))."""
    return float(log_regression(_events(hits, trials, limit)))


def log_below(hits: float, trials: float, limit: float) -> float:
    """Log evidence that the proportion is below ``limit``; certain of a limit of 1 or more."""
    if limit >= 1.0:
        return np.inf if trials > hits else 0.0
    return float(log_decrease(_events(hits, trials, limit), 1.0, _WELL_BELOW, _SPREAD))


def _events(hits: float, trials: float, limit: float) -> Events:
    def one(value: float) -> Floats:
        return np.array([value], dtype=np.float64)

    return Events(one(hits), one(trials), one(limit))
