"""The model under capture, whatever library it is of: its answers, scores and decisions.

It calls the model as training did, past any server; it never changes it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from serinus.errors import InvalidParameterValue
from serinus.parity.contract import Outputs
from serinus.parity.stages import answer_of, as_stage, estimator_of, estimator_stages, score_of

__all__ = ["Subject", "subject"]

#: What scikit-learn's estimators have, and the boosters of XGBoost and of LightGBM.
_ESTIMATORS = ("get_params", "get_dump", "dump_model")


@dataclass(frozen=True)
class Subject:
    """A model with the methods that a capture needs."""

    model: Any
    #: The estimator inside, if it is of scikit-learn's kind.
    estimator: Any | None
    #: The method whose output an endpoint answers with.
    method: str
    threshold: float | None = None
    #: True for a model of bare arrays, without names of columns.
    tensor: bool = False

    @property
    def classes(self) -> list[Any]:
        """The labels, in the order of the score's columns; empty unless it classifies."""
        found = getattr(self.estimator, "classes_", None)
        return list(found) if found is not None and np.ndim(found) == 1 else []

    @property
    def inside(self) -> Any:
        """What the author made, without what MLflow put around it."""
        found = self.estimator
        return _python_model(self.model) or self.model if found is None else found

    def _fed(self, frame: Any) -> Any:
        return frame.to_numpy() if self.tensor else frame

    def answer(self, frame: Any) -> Any:
        """What an endpoint would answer. Raises what the model raises."""
        frame = self._fed(frame)
        if self.estimator is not None:
            return answer_of(self.estimator, self.method, frame)
        if hasattr(self.model, "load_context"):  # a python model of MLflow's, not yet logged
            return self.model.predict(None, frame)
        return self.model.predict(frame) if hasattr(self.model, "predict") else self.model(frame)

    def scores(self, frame: Any) -> Any | None:
        """One number a row; of several classes the highest. None if there is none."""
        raw = (
            self.answer(frame)
            if self.estimator is None
            else score_of(self.estimator, self._fed(frame))
        )
        stage = None if raw is None else as_stage(raw)
        if stage is None or len(stage[1]) != 1:
            return None
        values = stage[1][0]
        if not isinstance(values, np.ndarray) or len(values) != len(frame):
            return None
        if values.ndim == 2 and values.shape[1] >= 1:
            return values[:, 1] if values.shape[1] == 2 else values.max(axis=1)
        return values.astype(np.float64) if values.ndim == 1 else None

    def decisions(self, frame: Any, scores: Any | None) -> Any | None:
        """One decision a row; None unless the model classifies or a threshold was given."""
        if self.threshold is not None and scores is not None:
            return scores >= self.threshold
        return (
            self.estimator.predict(frame) if self.estimator is not None and self.classes else None
        )

    def outputs(self) -> Outputs:
        """What the contract says of the answers."""
        classes = self.classes
        kind = "other"
        if self.estimator is not None:
            kind = "number"
            if classes:
                kind = "probability" if self.method == "predict_proba" else "class"
        threshold = _limit(self.estimator) if self.threshold is None else self.threshold
        if threshold is None and len(classes) == 2 and hasattr(self.estimator, "predict_proba"):
            threshold = 0.5
        return Outputs(
            kind=kind,
            method=self.method,
            classes=[str(each) for each in classes],
            column=1 if len(classes) == 2 else None,
            threshold=threshold,
        )

    def stages(self, frame: Any, named: dict[str, str | Callable[[Any], Any]]) -> dict[str, Any]:
        """Stage → raw output, of the model's own stages and of those that the user names."""
        found: dict[str, Any] = {}
        if self.estimator is not None:
            found = dict(estimator_stages(self.estimator, self._fed(frame)))
        for name, how in named.items():
            found[name] = (self.bound(how) if isinstance(how, str) else how)(self._fed(frame))
        if self.threshold is not None and "S5" not in named:
            found["S5"] = self.decisions(frame, self.scores(frame))
        found["answer"] = self.answer(frame)
        return {name: output for name, output in found.items() if output is not None}

    def bound(self, name: str) -> Callable[[Any], Any]:
        """A method of the model's, wherever in it; raises InvalidParameterValue."""
        for owner in (self.model, _python_model(self.model), self.estimator):
            method = getattr(owner, name, None)
            if callable(method):
                return method  # type: ignore[no-any-return]
        raise InvalidParameterValue(
            f"The stage is to be computed by '{name}', but the model has no such method; name one "
            "of its methods, or give a function of the data frame."
        )


def _limit(estimator: Any) -> float | None:
    """The threshold of an estimator that wraps another one to have its own."""
    if not hasattr(estimator, "response_method"):
        return None
    found = getattr(estimator, "best_threshold_", getattr(estimator, "threshold", None))
    return float(found) if isinstance(found, int | float) else None


def _python_model(model: Any) -> Any:
    unwrap = getattr(model, "unwrap_python_model", None)
    return unwrap() if callable(unwrap) and _is_python_model(model) else None


def _is_python_model(model: Any) -> bool:
    return hasattr(getattr(model, "_model_impl", None), "python_model")


def subject(
    model: Any, method: str | None, threshold: float | None, *, tensor: bool = False
) -> Subject:
    """The subject for a model; raises InvalidParameterValue for what has no such method."""
    estimator = None if _is_python_model(model) else _estimator(model)
    chosen = method or "predict"
    if estimator is not None and not hasattr(estimator, chosen):
        raise InvalidParameterValue(
            f"The model is to answer by '{chosen}', but {type(estimator).__name__} has no such "
            "method."
        )
    if estimator is None and not (hasattr(model, "predict") or callable(model)):
        raise InvalidParameterValue(
            f"A {type(model).__name__} has no 'predict'; give an estimator, an MLflow model or a "
            "function."
        )
    limit = None if threshold is None else float(threshold)
    return Subject(model, estimator, chosen, threshold=limit, tensor=tensor)


def _estimator(model: Any) -> Any | None:
    if hasattr(model, "load_context"):
        return None
    found = estimator_of(model)
    if found is None or not any(hasattr(found, name) for name in _ESTIMATORS):
        return None
    return model if hasattr(model, "get_params") else found
