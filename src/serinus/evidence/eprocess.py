"""The conditional stratified e-process: given that events happened, on which arm did they fall?

If nothing differs, an event (an error, a slow answer, one class) that happened while the
candidate's share was rho fell on the candidate with probability rho; if the candidate's rate is e^d
times the other's, with probability rho e^d / (1 - rho + rho e^d). Two counts per stage are enough,
at any split and under any drift that both arms share. The likelihood ratio against the boundary of
the null, mixed over alternatives, is at most 1 in expectation at every stopping time, so it may be
looked at at any moment: reject at 1/alpha (Ville; Lindon and Malek, NeurIPS 2022). Never reads
anything but counts.

Counts may carry leading axes (many rollouts at once); the last axis is always the stage.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Events", "Floats", "log_decrease", "log_mean", "log_regression", "log_safety", "pooled"]

Floats = NDArray[np.float64]

#: Alternatives of the regression process: log rate ratios above the boundary, as far as 50 times.
_ABOVE = np.linspace(0.05, np.log(50.0), 60)
_ABOVE_CENTRE, _ABOVE_WIDTH = 0.7, 0.9
#: Alternatives of the safety process lie this far below its boundary.
_BELOW = np.geomspace(0.02, 8.0, 60)
#: Spread of the safety weights around "no change", as a share of the distance to the boundary.
_WIDTH_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Events:
    """Events per stage: on the candidate, on both arms, and the candidate's share of traffic."""

    candidate: Floats
    total: Floats
    #: In [0, 1], per stage.
    share: Floats

    @classmethod
    def of(cls, rows: Sequence[tuple[float, float, float]]) -> "Events":
        """From (candidate, total, share) per stage."""
        table = np.array(rows, dtype=np.float64).reshape(len(rows), 3)
        return cls(table[:, 0], table[:, 1], table[:, 2])


def pooled(events: Events) -> Events:
    """The same, with stages of one share as one: they carry the same evidence, at less cost."""
    shares, place = np.unique(events.share, return_inverse=True)
    if len(shares) == len(events.share):
        return events
    if events.candidate.ndim == 1:
        return Events(
            np.bincount(place, events.candidate, len(shares)).astype(np.float64),
            np.bincount(place, events.total, len(shares)).astype(np.float64),
            shares,
        )
    onto = np.zeros((len(events.share), len(shares)))
    onto[np.arange(len(place)), place] = 1.0
    return Events(events.candidate @ onto, events.total @ onto, shares)


def log_regression(events: Events, ratio: float = 1.0) -> Floats:
    """Log evidence that the candidate's rate is more than ``ratio`` times the other's."""
    boundary = float(np.log(ratio))
    weights = _normal(_ABOVE, _ABOVE_CENTRE, _ABOVE_WIDTH)
    return _mixture(events, boundary, boundary + _ABOVE, weights)


def log_safety(events: Events, ratio: float) -> Floats:
    """Log evidence that the candidate's rate is below ``ratio`` (at least 1) times the other's."""
    if ratio <= 1.0:
        return log_decrease(events)
    boundary = float(np.log(ratio))
    alternatives = boundary - _BELOW
    # Most weight on "no change"; a tenth spread evenly, for candidates that are much better.
    width = _WIDTH_SHARE * boundary
    weights = 0.9 * _normal(alternatives, 0.0, width, _BELOW) + 0.1 / len(alternatives)
    return _mixture(events, boundary, alternatives, weights)


def log_decrease(
    events: Events, ratio: float = 1.0, centre: float = -0.7, width: float = 0.9
) -> Floats:
    """The same as `log_safety`, for a candidate that is expected to do better than "no change".

    ``centre`` and ``width``: the log rate ratios that are expected, with an even share for others.
    """
    boundary = float(np.log(ratio))
    alternatives = boundary - _BELOW
    weights = 0.9 * _normal(alternatives, centre, width, _BELOW) + 0.1 / len(_BELOW)
    return _mixture(events, boundary, alternatives, weights)


def log_mean(logs: Floats) -> float:
    """Log of the mean of several e-values, given their logs: again an e-value."""
    top = float(np.max(logs))
    if not np.isfinite(top):
        return top
    return top + float(np.log(np.mean(np.exp(logs - top))))


def _mixture(events: Events, boundary: float, alternatives: Floats, weights: Floats) -> Floats:
    small = pooled(events)
    # log(1 - rho + rho e^d), exact for small rho and small d
    partition = np.log1p(small.share[:, None] * np.expm1(alternatives))
    at_boundary = np.log1p(small.share * np.expm1(boundary))
    logs = (
        small.candidate.sum(axis=-1)[..., None] * (alternatives - boundary)
        - small.total @ (partition - at_boundary[:, None])
        + np.log(weights)
    )
    top = logs.max(axis=-1)
    result: Floats = top + np.log(np.exp(logs - top[..., None]).sum(axis=-1))
    return result


def _normal(points: Floats, centre: float, width: float, spacing: Floats | float = 1.0) -> Floats:
    density = np.exp(-0.5 * ((points - centre) / width) ** 2) * spacing
    result: Floats = density / density.sum()
    return result
