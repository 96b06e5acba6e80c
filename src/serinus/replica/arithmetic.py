"""Scalers and linear models of scikit-learn as the few NumPy calls that make their answers.

Most of a small call goes into checks that a block of finite numbers passes. Whatever is no such
block goes the whole way, which finds the words for it. Nothing of an author's own is ever skipped,
and `block` and `direct` prove the bits before a request is answered by it.
"""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any

import numpy as np

__all__ = ["arithmetic"]

Method = Callable[[Any], Any]
_FLOAT = np.dtype(np.float64)
#: A number of Python's would be made an array each time.
_ZERO = np.zeros(1)
_SCALERS = "sklearn.preprocessing._data"
_CLASSIFIER = ("LinearClassifierMixin.predict", "LinearClassifierMixin.decision_function")
_REGRESSOR = ("LinearModel.predict", "LinearModel._decision_function")
_REGRESSORS = (_REGRESSOR, ("MultiOutputLinearModel.predict", _REGRESSOR[1]))


def arithmetic(steps: Sequence[Any], method: str, whole: Method) -> Method:
    """What answers as ``whole`` does, which calls the steps' own methods; often it itself."""
    *before, last = steps
    scalers = [_scaler(each) for each in before]
    model = _linear(last) if method == "predict" else None
    if model is None or None in scalers:
        return whole
    width = getattr(last, "n_features_in_", None)
    changes = [each for each in scalers if each is not None]

    def predict(data: Any) -> Any:
        # To compare types costs as much as to compute, and those of arrays are the same object.
        if type(data) is not np.ndarray or data.dtype is not _FLOAT or data.ndim != 2:
            return whole(data)
        rows, columns = data.shape
        if not rows or columns != width:
            return whole(data)
        scaled = data
        for change in changes:
            scaled = change(scaled)
        # NaN and infinity never vanish in what comes before, so one look at the end sees both
        # those that were sent and those that scaling made. A product of vectors warns of nothing,
        # and squares that are too large are only sent the whole way.
        flat = scaled.ravel("K")
        return model(scaled) if isfinite(flat.dot(flat)) else whole(data)

    return predict


def _scaler(step: Any) -> Method | None:
    kind, own = type(step), _own(step)
    if kind.__module__ != _SCALERS or "transform" in own or own.get("_sklearn_output_config"):
        return None
    if kind.__name__ == "StandardScaler":
        return _affine([(np.subtract, step.with_mean, own.get("mean_")),
                        (np.divide, step.with_std, own.get("scale_"))])  # fmt: skip
    if kind.__name__ == "MinMaxScaler" and not getattr(step, "clip", False):
        return _affine([(np.multiply, True, own.get("scale_")), (np.add, True, own.get("min_"))])
    return None


def _affine(parts: list[tuple[Any, bool, Any]]) -> Method | None:
    wanted = [(operation, by) for operation, used, by in parts if used]
    if not all(isinstance(by, np.ndarray) and by.dtype == _FLOAT for _, by in wanted):
        return None

    def change(data: Any) -> Any:
        for operation, by in wanted:
            data = operation(data, by)
        return data

    return change


def _linear(model: Any) -> Method | None:
    """The end of a pipeline; None for one whose answers are made otherwise."""
    own = _own(model)
    weights, shift = own.get("coef_"), own.get("intercept_")
    if not isinstance(weights, np.ndarray) or weights.dtype != _FLOAT or shift is None:
        return None
    turned = weights.T
    if _made_by(model, "decision_function") == _CLASSIFIER and weights.ndim == 2:
        classes = own.get("classes_")
        return _classes(turned, shift, classes) if isinstance(classes, np.ndarray) else None
    if _made_by(model, "_decision_function") in _REGRESSORS:
        return lambda data: data @ turned + shift
    return None


def _classes(turned: Any, shift: Any, classes: Any) -> Method:
    two = turned.shape[1] == 1

    def predict(data: Any) -> Any:
        scores = data @ turned + shift
        best = scores.reshape(-1) > _ZERO if two else scores.argmax(axis=1)
        return classes.take(best, axis=0)

    return predict


def _made_by(model: Any, scored: str) -> tuple[str, str] | None:
    """The names of the functions that a class answers and scores with, if both are known ones."""
    kind = type(model)
    if not kind.__module__.startswith("sklearn.") or {"predict", scored} & _own(model).keys():
        return None
    made = [getattr(kind, name, None) for name in ("predict", scored)]
    if any(getattr(each, "__module__", None) != "sklearn.linear_model._base" for each in made):
        return None
    return made[0].__qualname__, made[1].__qualname__  # type: ignore[union-attr]


def _own(step: Any) -> dict[str, Any]:
    return getattr(step, "__dict__", {})
