"""The metric that training claimed, computed again from what the golden rows are answered."""

import math
from typing import Any

import numpy as np

from serinus.parity.contract import Contract, Metric
from serinus.parity.folder import Bundle
from serinus.parity.gates.golden import Replay
from serinus.parity.metric import METRICS
from serinus.parity.verification import Gate, GateResult

__all__ = ["NAME", "metric_gate"]

NAME = "offline_metric"

#: How far two figures from the same answers may lie apart.
_CLOSE = 1e-3


def metric_gate(bundle: Bundle, replayed: Replay) -> Gate:
    """Compute the contract's metric from the served answers."""
    metric = next((each for each in bundle.contract.metrics if each.golden is not None), None)
    if metric is None or metric.golden is None:
        why = "The contract has no metric on golden rows; capture with labels has one."
        return _skipped(why)
    if replayed.differs:
        return _skipped("Golden rows come out otherwise, so the metric must differ, too.")
    if metric.name not in METRICS:
        return _skipped(f"'{metric.name}' is the author's own: it can't be computed here.")
    value = _value(bundle, replayed, metric)
    if value is None or not math.isfinite(value):
        return _skipped(f"The stages that were seen don't hold what '{metric.name}' needs.")
    figures = f"{metric.name} on the labelled golden rows: {metric.golden:.4f} at training, "
    figures += f"{value:.4f} served"
    if abs(value - metric.golden) > _CLOSE * max(1.0, abs(metric.golden)):
        return Gate(
            name=NAME,
            result=GateResult.FAIL,
            fault="model.evaluation",
            detail=f"{figures}. The answers agree, so the claim was computed on something else.",
        )
    return Gate(name=NAME, result=GateResult.PASS, detail=f"{figures}.")


def _skipped(why: str) -> Gate:
    return Gate(name=NAME, result=GateResult.SKIPPED, detail=why)


def _value(bundle: Bundle, replayed: Replay, metric: Metric) -> float | None:
    if replayed.seen.refused or any(row.rows != 1 for row in bundle.golden):
        return None
    there = [at for at, row in enumerate(bundle.golden) if row.label is not None]
    labels = np.asarray([bundle.golden[at].label for at in there])
    values = _values(bundle.contract, replayed, metric.name)
    if values is None or len(values) != len(bundle.golden):
        return None
    values = values[there]
    if metric.name == "roc_auc":
        classes = bundle.contract.outputs.classes
        positive = np.asarray([str(each) for each in labels]) == classes[-1] if classes else labels
        return METRICS["roc_auc"](np.asarray(positive, dtype=bool), values)
    if metric.name == "accuracy":
        same = [_text(one) == _text(other) for one, other in zip(labels, values, strict=True)]
        return float(np.mean(same))
    return METRICS[metric.name](labels, values)


def _text(value: Any) -> str:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool | int | float):
        return repr(float(value))
    return str(value)


def _values(contract: Contract, replayed: Replay, metric: str) -> Any | None:
    """Scores or decisions, as capture took them."""
    stages = replayed.seen.stages
    first = "S5" if metric == "accuracy" else "S4"
    kept = any(each.name == first for each in contract.stages)
    columns = stages.get(first if kept else "answer")
    if columns is None or len(columns) != 1:
        return None
    values = columns[0]
    if not isinstance(values, np.ndarray):
        return np.asarray(values, dtype=object)
    if values.ndim == 2:
        values = values[:, 1] if values.shape[1] == 2 else values.max(axis=1)
    decides = metric == "accuracy" and contract.outputs.threshold is not None
    if decides and "S5" not in stages and values.dtype.kind == "f":
        values = values >= contract.outputs.threshold
    return values
