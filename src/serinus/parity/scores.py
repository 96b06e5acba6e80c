"""Counts what a model answered: a histogram of scores, how often which label came.

It reads whatever a model returns; what it can't read it counts as such.
"""

from typing import Any

import numpy as np

from serinus.parity.buckets import between, log_histograms
from serinus.parity.shape import ScoreShape
from serinus.parity.sketch import ScoreSketch

__all__ = ["count_scores", "one_a_row"]

#: More different labels than this in one batch are numbers, whatever their type.
_MANY = 64


def count_scores(counts: ScoreSketch, known: ScoreShape, output: Any, rows: int) -> None:
    """Count the answers to so many rows."""
    values = one_a_row(output, rows, known.column)
    if values is None:
        counts.unread += rows
        return
    counts.n += rows
    if known.kind == "class" or values.dtype.kind in "bUSO" or _are_labels(known, values):
        _count_labels(counts, values)
    if known.kind != "class" and values.dtype.kind in "biuf":
        _count_numbers(counts, known, values.astype(np.float64))


def one_a_row(output: Any, rows: int, column: int | None) -> Any | None:
    """One number or label a row, as an array; None when the output has no such."""
    if isinstance(output, dict):
        output = next(iter(output.values())) if len(output) == 1 else None
    if hasattr(output, "to_numpy"):
        output = output.to_numpy()
    try:
        values = np.asarray(output)
    except ValueError:  # rows of unequal length
        return None
    if values.ndim == 2 and values.shape[1] >= 1 and values.dtype.kind in "biuf":
        if values.shape[1] <= 2:
            values = values[:, -1 if column is None else min(column, values.shape[1] - 1)]
        else:
            values = values.max(axis=1)
    if values.ndim != 1 or len(values) != rows:
        return None
    return values


def _are_labels(known: ScoreShape, values: Any) -> bool:
    whole = known.kind == "other" and values.dtype.kind in "iu"
    return whole and len(np.unique(values)) <= _MANY


def _count_labels(counts: ScoreSketch, values: Any) -> None:
    labels, times = np.unique(values.astype(str), return_counts=True)
    counts.labels.count({str(k)[:_MANY]: int(c) for k, c in zip(labels, times, strict=True)})


def _count_numbers(counts: ScoreSketch, known: ScoreShape, values: Any) -> None:
    finite = values[np.isfinite(values)]
    counts.nan += len(values) - len(finite)
    if known.threshold is not None:
        counts.decided += int((finite >= known.threshold).sum())
    counts.bins.add(between(known.edges, finite))
    positive, negative, zero = log_histograms(finite)
    counts.positive_log.add(positive)
    counts.negative_log.add(negative)
    counts.zero += zero
