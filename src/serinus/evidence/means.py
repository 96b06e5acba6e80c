"""Means in [0, 1] with known propensities: did the candidate lower a quality metric?

Each unit gives Z = A(Y-m)/rho - (1-A)(Y-m)/(1-rho), whose mean given the past is the effect at that
moment, whatever the share was and however the metric drifts (m: the mean of all units before it).
Bets against the null, sized by the past for several assumed effects, multiply to e-processes whose
mean is one (Waudby-Smith and Ramdas, JRSS-B 2024). Units must come in order of exposure, a label
counted only when its window is over; never in order of arrival (Lindon and Kallus 2026).
"""

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
    """Outcomes of units in order of exposure; all arrays have one length."""

    on_candidate: NDArray[np.bool_]
    #: The candidate's share when the unit was routed, in (0, 1).
    share: Floats
    #: In [0, 1]; higher is better.
    value: Floats

    def __len__(self) -> int:
        return len(self.value)


def log_drop(outcomes: Outcomes, margin: float) -> Floats:
    """Evidence that the candidate lowers the mean by more than ``margin``.

    Axes are (assumed effect, unit): what each unit adds to the log wealth; see `now` and `ever`.
    """
    centre, share = _centre(outcomes.value), outcomes.share
    worst = np.maximum((1.0 - centre) / share, centre / (1.0 - share)) + margin
    return _wealth(outcomes, centre, -_effects(outcomes, centre) - margin, worst)


def log_no_drop(outcomes: Outcomes, margin: float) -> Floats:
    """Evidence that the candidate lowers the mean by less than ``margin``; see `log_drop`."""
    centre, share = _centre(outcomes.value), outcomes.share
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
    count = len(outcomes)
    if count < 2:
        return -1.0, 1.0
    effects = _effects(outcomes, _centre(outcomes.value))
    log_alpha = np.log(alpha)
    rho2 = (-2.0 * log_alpha + np.log(-2.0 * log_alpha + 1.0)) / _TIGHTEST_AT
    grown = count * rho2 + 1.0
    radius = np.sqrt(2.0 * grown / (count**2 * rho2) * np.log(np.sqrt(grown) / alpha))
    centre, half = float(effects.mean()), float(effects.std() * radius)
    return centre - half, centre + half


def _effects(outcomes: Outcomes, centre: Floats) -> Floats:
    gap = outcomes.value - centre
    result: Floats = np.where(
        outcomes.on_candidate, gap / outcomes.share, -gap / (1.0 - outcomes.share)
    )
    return result


def _centre(values: Floats) -> Floats:
    """Mean of everything before each unit, starting from one half."""
    before = np.concatenate(([0.0], np.cumsum(values)[:-1]))
    result: Floats = (before + 0.5) / (np.arange(len(values)) + 1.0)
    return result


def _wealth(outcomes: Outcomes, centre: Floats, gains: Floats, worst: Floats) -> Floats:
    """Log factors of bets on ``gains``, which under the null are at most 0 on average."""
    squares = np.cumsum((outcomes.value - centre) ** 2)
    before = np.concatenate(([0.0], squares[:-1])) + 0.25
    spread = before / (np.arange(len(gains)) + 1.0) / (outcomes.share * (1.0 - outcomes.share))
    bets = np.minimum(_EFFECTS / (spread + _EFFECTS**2), _LARGEST_BET / worst)
    factors: Floats = np.log1p(bets * gains)
    return factors
