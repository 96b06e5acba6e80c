"""What the model is worth offline and as served, and which features would not be there.

Measured on a sample of the labelled rows; the model is asked, never fitted.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from serinus.parity.columns import Column
from serinus.parity.contract import Field, Leak, Metric
from serinus.parity.leakage import Lateness, importances, masked, suspects
from serinus.parity.metric import METRICS, choose_metric, interval
from serinus.parity.subject import Subject

__all__ = ["Evaluation", "Measure", "evaluate", "measure_of"]

#: Rows that are enough for a metric, and for how it changes when one column is shuffled.
_ROWS = 20_000
_SHUFFLED_ROWS = 2_000

Own = Callable[[Any, Any], float]


@dataclass(frozen=True)
class Measure:
    """One metric of one model."""

    name: str
    of: Own
    subject: Subject

    def labels(self, y: Any) -> Any:
        """The labels in the metric's own terms."""
        if self.name != "roc_auc":
            return y
        classes = self.subject.classes
        return y == classes[1] if len(classes) == 2 else y.astype(bool)

    def on(self, frame: Any, labels: Any) -> float:
        """The metric; NaN when the model has no answer of that kind."""
        scores = self.subject.scores(frame)
        if self.name == "accuracy":
            decisions = self.subject.decisions(frame, scores)
            return math.nan if decisions is None else float(self.of(labels, decisions))
        return math.nan if scores is None else float(self.of(labels, scores))


@dataclass
class Evaluation:
    """All that was found."""

    metrics: list[Metric] = field(default_factory=list)
    leaks: list[Leak] = field(default_factory=list)
    importance: dict[str, float] = field(default_factory=dict)
    positive_rate: float | None = None


def measure_of(subject: Subject, y: Any, own: str | Own | None, *, scored: bool) -> Measure:
    """The metric that the user wants, or that fits."""
    if callable(own):
        return Measure(getattr(own, "__name__", "metric"), own, subject)
    classes = subject.classes
    binary = not classes and subject.threshold is not None and len(np.unique(y)) <= 2
    name = own or choose_metric(
        classifies=bool(classes) or binary, classes=len(classes) or 2, scored=scored
    )
    return Measure(name, METRICS[name], subject)


def evaluate(
    measure: Measure,
    frame: Any,
    columns: Mapping[str, Column],
    y: Any,
    fields: list[Field],
    late: Lateness,
    random: np.random.Generator,
) -> Evaluation:
    """The metric offline and as served, and how much each feature counts.

    Raises what the model raises for rows that it was trained on.
    """
    rows = _some(len(frame), _ROWS, random)
    labels = measure.labels(y[rows])
    part = frame.iloc[rows]
    offline = measure.on(part, labels)
    found = Evaluation(positive_rate=_positive_rate(measure, y))
    if not math.isfinite(offline):
        return found
    few = _some(len(rows), _SHUFFLED_ROWS, random)
    found.importance = importances(
        part.iloc[few],
        columns,
        lambda some: measure.on(some, labels[few]),
        measure.name,
        random,
    )
    found.leaks = [*late.leaks, *suspects(fields, found.importance, measure.name, offline)]
    served = offline
    if late.late:
        served = masked(
            part,
            columns,
            {name: which[rows] for name, which in late.late.items()},
            lambda some: measure.on(some, labels),
        )
    found.leaks = [
        _with_loss(leak, part, columns, lambda some: measure.on(some, labels), measure.name)
        if leak.kind == "suspected"
        else leak
        for leak in found.leaks
    ]
    bounds = interval(measure.name, offline, labels)
    found.metrics.append(
        Metric(
            name=measure.name,
            offline=offline,
            rows=len(rows),
            as_served=served if math.isfinite(served) else None,
            masked=sorted(late.late),
            low=bounds[0] if bounds else None,
            high=bounds[1] if bounds else None,
        )
    )
    return found


def _with_loss(
    leak: Leak,
    frame: Any,
    columns: Mapping[str, Column],
    works: Callable[[Any], float],
    metric: str,
) -> Leak:
    """What the metric would be if the suspect were not there."""
    value = masked(frame, columns, {leak.field: np.ones(len(frame), dtype=bool)}, works)
    return msgspec.structs.replace(
        leak, detail=f"{leak.detail}; without it {metric} would be {value:.3f}"
    )


def _positive_rate(measure: Measure, y: Any) -> float | None:
    if measure.name != "roc_auc":
        return None
    return float(np.mean(measure.labels(y)))


def _some(rows: int, most: int, random: np.random.Generator) -> Any:
    if rows <= most:
        return np.arange(rows)
    return np.sort(random.choice(rows, most, replace=False))
