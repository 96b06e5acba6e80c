"""How often the answers would be right, without a label: by the scores' own confidence.

Confidence-based performance estimation (CBPE, as NannyML calls it): a score of 0.8 is right eight
times in ten, if scores are calibrated. Bugs and changes of concept fool it, so it may only be told
of a window in which parity passed, and never as a verdict.
"""

from typing import Any

import numpy as np

from serinus.parity.contract import Metric, Outputs
from serinus.parity.diagnosis.view import View

__all__ = ["estimate"]

_HALF = 0.5
#: Training's own accuracy may differ from its estimate by this much, or the scores are no measure.
_OFF = 0.05


def estimate(view: View) -> str:
    """A sentence that names the method; empty where the scores say nothing of it."""
    outputs, score = view.snapshot.contract.outputs, view.snapshot.profile.score
    if outputs.kind != "probability" or score is None or len(score.edges) < 2:
        return ""
    right = _right(outputs, np.clip(np.asarray(score.edges, dtype=np.float64), 0, 1))
    live, trained = _mean(right, view.whole.sketch.score.bins.counts), _mean(right, score.counts)
    if live is None or trained is None:
        return ""
    claimed = _accuracy(view.snapshot.contract.metrics)
    if claimed is not None and abs(trained - claimed) > _OFF:
        return ""  # not calibrated: what they say of training is not so
    known = "" if claimed is None else f" (measured there: {claimed:.1%})"
    return (
        "an estimate without labels, by the scores' own confidence (CBPE), which holds only while "
        f"they are calibrated and the concept is unchanged: right for {live:.1%} of rows, "
        f"{trained:.1%} in training{known}"
    )


def _right(outputs: Outputs, edges: Any) -> Any:
    """For each bin of the score, how often the decision by it is right."""
    middles = np.concatenate(([edges[0]], (edges[1:] + edges[:-1]) / 2, [edges[-1]]))
    if len(outputs.classes) > 2:
        return middles  # the score is that of the class which was chosen
    limit = _HALF if outputs.threshold is None else outputs.threshold
    return np.where(middles >= limit, middles, 1 - middles)


def _mean(right: Any, counts: Any) -> float | None:
    weights = np.asarray(counts, dtype=np.float64)
    if len(weights) != len(right) or not weights.sum():
        return None
    return float((right * weights).sum() / weights.sum())


def _accuracy(metrics: list[Metric]) -> float | None:
    return next((each.offline for each in metrics if each.name == "accuracy"), None)
