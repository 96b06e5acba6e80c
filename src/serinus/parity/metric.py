"""The figures by which offline and served answers are compared, computed from labels and scores.

Plain formulas on arrays, so that a verifier has the same figure from the same answers.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["METRICS", "choose_metric", "higher_is_better", "interval"]


def roc_auc(labels: Any, scores: Any) -> float:
    """How often a positive (label True) has the higher score of it and a negative; ties are half.

    NaN when only one class is there.
    """
    positive = np.asarray(labels, dtype=bool)
    count, rest = int(positive.sum()), int((~positive).sum())
    if not count or not rest:
        return math.nan
    _, inverse, ties = np.unique(np.asarray(scores), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[inverse.reshape(-1)]
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * rest))


def accuracy(labels: Any, decisions: Any) -> float:
    """The share of decisions that equal the label."""
    return float(np.mean(np.asarray(labels) == np.asarray(decisions)))


def rmse(labels: Any, scores: Any) -> float:
    """The root of the mean squared error."""
    error = np.asarray(labels, dtype=np.float64) - np.asarray(scores, dtype=np.float64)
    return float(np.sqrt(np.mean(error**2)))


#: Name → function of labels and scores (of decisions for accuracy).
METRICS: dict[str, Callable[[Any, Any], float]] = {
    "roc_auc": roc_auc,
    "accuracy": accuracy,
    "rmse": rmse,
}


def choose_metric(*, classifies: bool, classes: int, scored: bool) -> str:
    """The metric that fits a model's kind of answer."""
    if not classifies:
        return "rmse"
    return "roc_auc" if classes == 2 and scored else "accuracy"


def higher_is_better(name: str) -> bool:
    """False only for errors."""
    return name != "rmse"


def interval(name: str, value: float, labels: Any) -> tuple[float, float] | None:
    """Two standard errors to each side, by the usual formulas; None where there is none."""
    n = len(labels)
    if name == "accuracy" and n:
        half = 2 * math.sqrt(max(value * (1 - value), 0.0) / n)
    elif name == "roc_auc":
        positive = int(np.asarray(labels, dtype=bool).sum())
        if not positive or positive == n:
            return None
        # Hanley and McNeil, 1982.
        q1, q2 = value / (2 - value), 2 * value * value / (1 + value)
        spread = (
            value * (1 - value)
            + (positive - 1) * (q1 - value * value)
            + (n - positive - 1) * (q2 - value * value)
        ) / (positive * (n - positive))
        half = 2 * math.sqrt(max(spread, 0.0))
    else:
        return None
    return value - half, value + half
