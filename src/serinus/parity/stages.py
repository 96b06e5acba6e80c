"""Takes a model apart into the stages of a contract, the same way at capture and at verification.

Any scikit-learn pipeline is followed to its final estimator, however deep. It computes; it never
fits and never changes the model.
"""

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from serinus.parity.arrays import StageValues
from serinus.parity.columns import Column
from serinus.parity.contract import Kind, Tolerance

__all__ = [
    "TOLERANCES",
    "answer_of",
    "as_stage",
    "estimator_of",
    "estimator_stages",
    "field_values",
    "score_of",
    "tolerance_of",
]

#: More numbers than this in a sparse stage are not kept.
_MAX_DENSE = 4_000_000
_MAX_DEPTH = 32
#: S3 and S4 let single precision pass (6e-8 a step, more after a difference), not half (5e-4).
TOLERANCES = {
    "S1": Tolerance(),
    "S2": Tolerance(),
    "S3": Tolerance(kind="rtol", rtol=1e-5, atol=1e-6),
    "S4": Tolerance(kind="rtol", rtol=1e-5, atol=1e-6),
    "S5": Tolerance(),
    "answer": Tolerance(kind="rtol", rtol=1e-5, atol=1e-6),
}


def tolerance_of(stage: str) -> Tolerance:
    """The tolerance of a stage unless somebody asks for another."""
    return TOLERANCES.get(stage.partition(":")[0], Tolerance(kind="rtol", rtol=1e-5, atol=1e-6))


def estimator_of(model: Any) -> Any | None:
    """The estimator inside an MLflow model or a search, else the model itself, else None."""
    for _ in range(_MAX_DEPTH):
        inside = _inside(model)
        if inside is None:
            break
        model = inside
    return model if hasattr(model, "predict") and not hasattr(model, "metadata") else None


def _inside(model: Any) -> Any | None:
    if type(model).__module__.startswith("mlflow.") and hasattr(model, "get_raw_model"):
        raw = model.get_raw_model()
        return None if type(raw).__module__.startswith("mlflow.") else raw
    for name in ("best_estimator_", "regressor_"):
        if hasattr(model, name):
            return getattr(model, name)
    return None


def estimator_stages(estimator: Any, frame: Any) -> Iterator[tuple[str, Any]]:
    """Stages ``S3:<step>``, ``S3``, ``S4`` and ``S5``, as far as this estimator has them.

    Raises whatever the estimator raises.
    """
    steps, final = _flat(estimator, "", 0)
    vector = frame
    for at, (path, step) in enumerate(steps):
        vector = step.transform(vector)
        yield ("S3" if at == len(steps) - 1 else f"S3:{path}"), vector
    if not steps and all(getattr(each, "kind", "O") in "biuf" for each in _dtypes(frame)):
        yield "S3", np.asarray(frame)
    raw = score_of(estimator, frame)
    if raw is not None:
        yield "S4", raw
    if hasattr(estimator, "classes_") and hasattr(final, "predict"):
        yield "S5", estimator.predict(frame)


def _dtypes(frame: Any) -> list[Any]:
    return list(frame.dtypes) if hasattr(frame, "columns") else [frame.dtype]


def _flat(estimator: Any, prefix: str, depth: int) -> tuple[list[tuple[str, Any]], Any]:
    """The transformers on the way, with their paths, and the final estimator."""
    estimator = estimator_of(estimator) or estimator
    steps = getattr(estimator, "steps", None)
    if not isinstance(steps, list) or depth > _MAX_DEPTH:
        decided = getattr(estimator, "estimator_", None)  # a tuned or fixed threshold
        if decided is not None and hasattr(estimator, "response_method"):
            return _flat(decided, prefix, depth + 1)
        return [], estimator
    found = []
    for name, step in steps[:-1]:
        if step is not None and not isinstance(step, str):
            found.append((f"{prefix}{name}", step))
    name, last = steps[-1]
    inner, final = _flat(last, f"{prefix}{name}/", depth + 1)
    return found + inner, final


def score_of(estimator: Any, frame: Any) -> Any | None:
    """What the estimator computes before it decides; None when it has nothing of the kind."""
    for name in ("predict_proba", "decision_function"):
        method = getattr(estimator, name, None)
        if method is not None:
            return method(frame)
    if hasattr(estimator, "classes_") or not hasattr(estimator, "predict"):
        return None
    return answer_of(estimator, "predict", frame)


def answer_of(estimator: Any, method: str, frame: Any) -> Any:
    """What a method of the estimator gives; XGBoost's bare boosters want a matrix of their own."""
    if type(estimator).__module__.startswith("xgboost.") and hasattr(estimator, "get_dump"):
        frame = importlib.import_module("xgboost").DMatrix(frame)
    return getattr(estimator, method)(frame)


def as_stage(output: Any) -> tuple[list[str], StageValues] | None:
    """Names of columns, if there are any, and their values; None for what is too wide to keep."""
    if hasattr(output, "toarray"):
        if output.shape[0] * output.shape[1] > _MAX_DENSE:
            return None
        return [], [output.toarray()]
    if hasattr(output, "columns") and hasattr(output, "iloc"):
        names = [str(name) for name in output.columns]
        return names, [_values(output.iloc[:, at].to_numpy()) for at in range(len(names))]
    if isinstance(output, dict):
        return [str(key) for key in output], [_values(each) for each in output.values()]
    return [], [_values(output)]


def _values(values: Any) -> Any:
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if not isinstance(values, np.ndarray):
        return list(values) if isinstance(values, list | tuple) else [values]
    return values if values.dtype.kind in "biuf" else list(values)


def field_values(columns: list[Column]) -> StageValues:
    """Columns of a frame as a stage: numbers as arrays, text and dates as lists."""
    return [_field(column) for column in columns]


def _field(column: Column) -> Any:
    if column.kind is Kind.NUMBER:
        return column.values
    if column.kind in (Kind.WHOLE, Kind.FLAG) and not column.null.any():
        return column.values
    if column.kind is Kind.TEXT:
        words = [*column.words, None]  # the code of null is -1
        return [words[code] for code in column.values]
    pairs = zip(column.values, column.null, strict=True)
    return [None if null else value for value, null in pairs]
