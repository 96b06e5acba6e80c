"""Means in [0, 1] with known propensities: did the candidate lower a quality metric?

Each unit gives Z = A(Y-m)/rho - (1-A)(Y-m)/(1-rho), whose mean given the past is the effect at that
moment, whatever the share was and however the metric drifts (m: the mean of all units before it;
units of one window share it, so that their order within it does not matter).
Bets against the null, sized by the past for several assumed effects, multiply to e-processes whose
mean is one (Waudby-Smith and Ramdas, JRSS-B 2024). Units must come in order of exposure, a label
counted only when its window is over; never in order of arrival (Lindon and Kallus 2026).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serinus.evidence.eprocess import Floats, log_mean

__all__ = ["Outcomes", "confidence_sequence", "ever", "log_drop", "log_no_drop", "now"]

#: Assumed effects beyond the margin; the wealth of betting on each is averaged.
_EFFECTS = np.geomspace(0.01, 0.5, 6)[:, None]
#: A bet never risks more than this share of what is at hand.
_LARGEST_BET = 0.5
#: Units for which the confidence sequence is tightest.
_TIGHTEST_AT = 5000.0


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Outcomes of units in order of exposure; all arrays have one length.

    A row may stand for many units of one window that are equal: then ``count`` says for how many,
    and ``window`` in which, counted from 0 in order of exposure.
    """

    on_candidate: NDArray[np.bool_]
    #: The candidate's share when the unit was routed, in (0, 1).
    share: Floats
    #: In [0, 1]; higher is better.
    value: Floats
    #: Units that a row stands for; None: one.
    count: Floats | None = None
    #: None: each row is one of its own.
    window: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.value)

    @property
    def counts(self) -> Floats:
        """Units by row."""
        return np.ones(len(self.value)) if self.count is None else self.count

    def before(self, each: Floats) -> tuple[Floats, Floats]:
        """By row: the sum of ``each`` over all units of earlier windows, and how many they are."""
        windows = np.arange(len(each)) if self.window is None else self.window
        if not len(windows):
            return each, each
        sums = np.bincount(windows, each * self.counts).astype(np.float64)
        sizes = np.bincount(windows, self.counts).astype(np.float64)
        return (np.cumsum(sums) - sums)[windows], (np.cumsum(sizes) - sizes)[windows]


def log_drop(outcomes: Outcomes, margin: float) -> Floats:
    """Evidence that the candidate lowers the mean by more than ``margin``.

    Axes are (assumed effect, unit): what each unit adds to the log wealth; see `now` and `ever`.
    """
    centre, share = _centre(outcomes), outcomes.share
    worst = np.maximum((1.0 - centre) / share, centre / (1.0 - share)) + margin
    return _wealth(outcomes, centre, -_effects(outcomes, centre) - margin, worst)


def log_no_drop(outcomes: Outcomes, margin: float) -> Floats:
    """Evidence that the candidate lowers the mean by less than ``margin``; see `log_drop`."""
    centre, share = _centre(outcomes), outcomes.share
    worst = np.maximum(centre / share, (1.0 - centre) / (1.0 - share))
    return _wealth(outcomes, centre, _effects(outcomes, centre) + margin, worst)


def now(gains: Floats) -> float:
    """Log evidence after all units."""
    return log_mean(gains.sum(axis=1))


def ever(gains: Floats) -> Floats:
    """Log evidence after each unit."""
    logs = gains.cumsum(axis=1)
    top = logs.max(axis=0)
    result: Floats = top + np.log(np.exp(logs - top).mean(axis=0))
    return result


def confidence_sequence(outcomes: Outcomes, alpha: float) -> tuple[float, float]:
    """Bounds on the mean effect, asymptotically valid at every look: to show, not to decide by."""
    counts = outcomes.counts
    count = float(counts.sum())
    if count < 2:
        return -1.0, 1.0
    effects = _effects(outcomes, _centre(outcomes))
    log_alpha = np.log(alpha)
    rho2 = (-2.0 * log_alpha + np.log(-2.0 * log_alpha + 1.0)) / _TIGHTEST_AT
    grown = count * rho2 + 1.0
    radius = np.sqrt(2.0 * grown / (count**2 * rho2) * np.log(np.sqrt(grown) / alpha))
    centre = float((effects * counts).sum() / count)
    spread = math.sqrt(float(((effects - centre) ** 2 * counts).sum() / count))
    half = spread * float(radius)
    return centre - half, centre + half


def _effects(outcomes: Outcomes, centre: Floats) -> Floats:
    gap = outcomes.value - centre
    result: Floats = np.where(
        outcomes.on_candidate, gap / outcomes.share, -gap / (1.0 - outcomes.share)
    )
    return result


def _centre(outcomes: Outcomes) -> Floats:
    """Mean of everything before each unit, starting from one half."""
    before, units = outcomes.before(outcomes.value)
    result: Floats = (before + 0.5) / (units + 1.0)
    return result


def _wealth(outcomes: Outcomes, centre: Floats, gains: Floats, worst: Floats) -> Floats:
    """Log factors of bets on ``gains``, which under the null are at most 0 on average."""
    before, units = outcomes.before((outcomes.value - centre) ** 2)
    spread = (before + 0.25) / (units + 1.0) / (outcomes.share * (1.0 - outcomes.share))
    bets = np.minimum(_EFFECTS / (spread + _EFFECTS**2), _LARGEST_BET / worst)
    factors: Floats = outcomes.counts * np.log1p(bets * gains)
    return factors
