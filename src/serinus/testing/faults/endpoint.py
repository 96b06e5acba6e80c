"""Faults inside of an endpoint: what is done to a right request before, in and after the model.

They wrap a pipeline of scikit-learn's kind and never change the pipeline itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["HOOKS", "EndpointFault", "FaultyPipeline"]


@dataclass(frozen=True)
class EndpointFault:
    """A change at one place: ``parse``, ``fill``, ``vector``, ``score`` or ``decision``."""

    spec: str
    place: str
    change: Callable[[Any], Any]

    def around(self, pipeline: Any) -> "FaultyPipeline":
        """The pipeline with the fault in it."""
        return FaultyPipeline(pipeline, {self.place: self.change})


class FaultyPipeline:
    """Answers as a pipeline does, with changes at some places."""

    def __init__(self, pipeline: Any, changes: Mapping[str, Callable[[Any], Any]]) -> None:
        self._pipeline = pipeline
        self._changes = dict(changes)

    def _changed(self, place: str, value: Any) -> Any:
        change = self._changes.get(place)
        return value if change is None else change(value)

    def parsed(self, frame: Any) -> Any:
        """The request's rows as this endpoint reads them (S1)."""
        return self._changed("parse", frame)

    def vector(self, frame: Any) -> Any:
        """What the last estimator gets (S3)."""
        out = self._changed("fill", self.parsed(frame))
        for _, step in self._pipeline.steps[:-1]:
            out = step.transform(out)
        out = out.toarray() if hasattr(out, "toarray") else np.asarray(out, dtype=np.float64)
        return self._changed("vector", out)

    def scores(self, frame: Any) -> Any:
        """The scores (S4): probabilities, or numbers of a model that has no classes."""
        last = self._pipeline.steps[-1][1]
        score = last.predict_proba if hasattr(last, "predict_proba") else last.predict
        return self._changed("score", score(self.vector(frame)))

    def predict_proba(self, frame: Any) -> Any:
        """The scores, as a pipeline of classes calls them."""
        return self.scores(frame)

    def predict(self, frame: Any) -> Any:
        """The decisions (S5)."""
        scores = self.scores(frame)
        if not hasattr(self._pipeline.steps[-1][1], "classes_"):
            return scores
        labels = self._pipeline.classes_[np.argmax(scores, axis=1)]
        change = self._changes.get("decision")
        return labels if change is None else self._pipeline.classes_[change(scores).astype(int)]


def _on(name: str, change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def apply(frame: Any) -> Any:
        return frame.assign(**{name: change(frame[name])})

    return apply


def _celsius(arguments: Sequence[str]) -> Callable[[Any], Any]:
    return _on(arguments[0], lambda values: (values - 32) * 5 / 9)


def _clip(arguments: Sequence[str]) -> Callable[[Any], Any]:
    limit = float(arguments[1])
    return _on(arguments[0], lambda values: values.clip(upper=limit).astype(values.dtype))


def _scale(arguments: Sequence[str]) -> Callable[[Any], Any]:
    factor = float(arguments[1])
    return _on(arguments[0], lambda values: values * factor)


def _shift(arguments: Sequence[str]) -> Callable[[Any], Any]:
    by, period = int(arguments[1]), int(arguments[2])
    return _on(arguments[0], lambda values: ((values + by) % period).astype(values.dtype))


def _lower(arguments: Sequence[str]) -> Callable[[Any], Any]:
    return _on(arguments[0], lambda values: values.str.lower())


def _fill(arguments: Sequence[str]) -> Callable[[Any], Any]:
    value = float(arguments[1])
    return _on(arguments[0], lambda values: values.fillna(value))


def _batch_mean(arguments: Sequence[str]) -> Callable[[Any], Any]:
    return _on(arguments[0], lambda values: values.fillna(values.mean()))


def _swapped_columns(_: Sequence[str]) -> Callable[[Any], Any]:
    def apply(vector: Any) -> Any:
        order = np.arange(vector.shape[1])
        order[:2] = order[1::-1]
        return vector[:, order]

    return apply


def _refit(_: Sequence[str]) -> Callable[[Any], Any]:
    return lambda vector: vector * 1.07 + 0.05


def _half(_: Sequence[str]) -> Callable[[Any], Any]:
    return lambda vector: vector.astype(np.float16).astype(np.float64)


def _single(_: Sequence[str]) -> Callable[[Any], Any]:
    return lambda vector: vector.astype(np.float32).astype(np.float64)


def _last_bits(_: Sequence[str]) -> Callable[[Any], Any]:
    random = np.random.default_rng(0)  # another noise at each call
    return lambda scores: scores * (1 + 1e-13 * random.standard_normal(scores.shape))


def _slightly(_: Sequence[str]) -> Callable[[Any], Any]:
    return lambda vector: vector * (1 + 1e-3)


def _turned(_: Sequence[str]) -> Callable[[Any], Any]:
    return lambda scores: scores[:, ::-1]


def _bent(_: Sequence[str]) -> Callable[[Any], Any]:
    def apply(scores: Any) -> Any:
        odds = np.sign(scores) * np.abs(scores) ** 1.05
        return odds if np.ndim(odds) == 1 else odds / odds.sum(axis=1, keepdims=True)

    return apply


def _flattened(_: Sequence[str]) -> Callable[[Any], Any]:
    return lambda scores: 0.5 + (scores - 0.5) * 0.8


def _rotated(_: Sequence[str]) -> Callable[[Any], Any]:
    return lambda scores: np.roll(scores, 1, axis=0)


def _threshold(arguments: Sequence[str]) -> Callable[[Any], Any]:
    limit = float(arguments[0])
    return lambda scores: scores[:, 1] >= limit


#: Name → the place of the change, and what makes it of the fault's arguments.
HOOKS: dict[str, tuple[str, Callable[[Sequence[str]], Callable[[Any], Any]]]] = {
    "parse-celsius": ("parse", _celsius),
    "parse-clip": ("parse", _clip),
    "parse-scale": ("parse", _scale),
    "parse-shift": ("parse", _shift),
    "parse-lower": ("parse", _lower),
    "impute": ("fill", _fill),
    "batch-mean": ("fill", _batch_mean),
    "scaler-refit": ("vector", _refit),
    "column-order": ("vector", _swapped_columns),
    "half-precision": ("vector", _half),
    "single-precision": ("vector", _single),
    "last-bits": ("score", _last_bits),
    "library-transform": ("vector", _slightly),
    "library-score": ("score", _bent),
    "class-order": ("score", _turned),
    "corrupt-weights": ("score", _flattened),
    "row-order": ("score", _rotated),
    "threshold": ("decision", _threshold),
}
