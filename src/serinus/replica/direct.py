"""Ways to a model below `mlflow.pyfunc`, and the comparison by which each must earn its use.

A plain scikit-learn model is unpickled and called; any other is called below MLflow's check of the
schema. No answer may differ in a bit from MLflow's own for any row that is tried.
"""

import copy
import importlib
import os
import pickle
import time
import warnings
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from serinus.replica.block import identical, shortened
from serinus.replica.card import Card, ColumnType
from serinus.replica.intake import ColumnIntake
from serinus.replica.tensor import TensorIntake
from serinus.replica.unit import Unit

__all__ = [
    "bare_estimator",
    "below",
    "difference",
    "is_bare_sklearn",
    "official",
    "same_below",
    "spread",
    "unpickled",
]

Predict = Callable[[Any, dict[str, Any] | None], Any]

#: Types of columns that MLflow itself has to look at before a model does.
_UNUSUAL = (ColumnType.BINARY, ColumnType.NESTED)
_PREDICTORS = ("predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba")
#: Rows that are asked for one by one.
_ALONE = 12
_MADE = 32
#: Of a slow model no more than so many, once so many seconds have gone.
_LEAST, _BUDGET_S = 8, 1.0


def is_bare_sklearn(card: Card) -> bool:
    """True when MLflow would do no more than unpickle, check the schema and call the estimator.

    The intake does the checking, so MLflow, which takes seconds to import, is not needed.
    """
    pyfunc = card.pyfunc
    allowed = os.environ.get("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true").lower()
    return (
        pyfunc.get("loader_module") == "mlflow.sklearn"
        and pyfunc.get("predict_fn", "predict") in _PREDICTORS
        and card.sklearn.get("serialization_format") in ("cloudpickle", "pickle")
        and isinstance(pyfunc.get("model_path"), str)
        and not any(pyfunc.get(key) for key in ("code", "config", "data"))
        and not card.sklearn.get("code")
        and bool(card.columns)
        and all(column.type not in _UNUSUAL for column in card.columns)
        and not (card.has_params or card.hinted)
        and allowed in ("true", "1")
    )


def unpickled(card: Card) -> Any:
    """The estimator in the files of a bare scikit-learn model."""
    content = (card.path / card.pyfunc["model_path"]).read_bytes()
    if card.sklearn["serialization_format"] == "cloudpickle":
        # What was pickled by cloudpickle refers to it only now and then; pickle imports it then.
        importlib.import_module("cloudpickle")
    return pickle.loads(content)  # noqa: S301 - a model is code; it was chosen to be run


def bare_estimator(estimator: Any, card: Card) -> Predict:
    """The method of an estimator that MLflow would call."""
    method = shortened(estimator, card.pyfunc.get("predict_fn", "predict"))

    def predict(data: Any, _params: dict[str, Any] | None) -> Any:
        return method(data)

    return predict


def official(card: Card) -> Any:
    """The model as MLflow loads it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        # Seconds of import that a bare model's own process is spared.
        pyfunc = importlib.import_module("mlflow.pyfunc")
        return pyfunc.load_model(str(card.path), suppress_warnings=True)


def spread(intake: Any, example: Unit, golden: Sequence[Unit]) -> list[Unit]:
    """The rows by which two ways are compared: the author's, made ones, and the golden ones."""
    made = intake.widen(example, _MADE, Random(2))  # noqa: S311 - no secret
    return [example, *made, *golden]


def difference(
    one: Predict, theirs: Predict, intake: ColumnIntake, units: Sequence[Unit]
) -> tuple[str, int]:
    """How the answers of ``one`` differ from MLflow's ("" when they don't), and rows compared.

    A made row may be one that the model rightly refuses; the example, the first, is none.
    """
    together = [each for each in units if each.key == units[0].key]
    groups = [[each] for each in units[: _ALONE + 1]] + ([together] if len(together) > 1 else [])
    compared = 0
    for at, group in enumerate(groups):
        answers = [_tried(one, intake.join, group), _tried(theirs, intake.frame, group)]
        failed = [answer for good, answer in answers if not good]
        if failed and (at == 0 or len(failed) == 1):
            return f"one of the two refuses rows: {failed[0]}", compared
        if not failed and not _same(answers[0][1], answers[1][1]):
            return f"for {sum(unit.rows or 1 for unit in group)} rows the bits differ", compared
        compared = max(compared, 0 if failed else sum(unit.rows or 1 for unit in group))
    return "", compared


def _tried(
    predict: Predict, made: Callable[[Sequence[Unit]], Any], units: Sequence[Unit]
) -> tuple[bool, Any]:
    try:
        return True, predict(made(units), None)
    except Exception as error:  # noqa: BLE001 - a model may raise anything
        return False, f"{type(error).__name__}: {error}"


def _same(one: Any, other: Any) -> bool:
    return identical(one, other) or (
        type(one) is type(other) and bool(pickle.dumps(one) == pickle.dumps(other))
    )


def below(loaded: Any) -> Predict:
    """The model's own predict, under the schema enforcement that the intake makes superfluous."""
    implementation = getattr(
        loaded._model_impl,  # MLflow calls this a stable developer API
        loaded.metadata.flavors["python_function"].get("predict_fn", "predict"),
    )

    def predict(data: Any, params: dict[str, Any] | None) -> Any:
        # With params MLflow has more to say than the intake knows.
        return loaded.predict(data, params) if params else implementation(data)

    return predict


def same_below(
    loaded: Any, shorter: Predict, intake: ColumnIntake | TensorIntake, units: Sequence[Unit]
) -> str:
    """Why the enforcement must stay; "" when it leaves input as it is and answers are equal."""
    enforce = importlib.import_module("mlflow.models.utils")._enforce_schema
    schema = loaded.metadata.get_input_schema()
    began = time.perf_counter()
    for at, unit in enumerate(units):
        if at > _LEAST and time.perf_counter() - began > _BUDGET_S:
            break  # a slow model: it need not be asked for all of them
        data = intake.join([unit])
        try:
            same = _unchanged(enforce(copy.deepcopy(data), schema), data)
            theirs = loaded.predict(copy.deepcopy(data))
            same = same and _same(theirs, shorter(copy.deepcopy(data), None))
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            if at == 0:
                return f"it refuses its own input example: {type(error).__name__}: {error}"
            continue  # a made row may be one that it rightly refuses
        if not same:
            return "MLflow's check of the schema changes its input or its answers"
    return ""


def _unchanged(enforced: Any, data: Any) -> bool:
    if isinstance(data, dict) and isinstance(enforced, dict):
        return data.keys() == enforced.keys() and all(
            _unchanged(enforced[name], each) for name, each in data.items()
        )
    if hasattr(data, "equals"):
        same_types = hasattr(enforced, "dtypes") and list(enforced.dtypes) == list(data.dtypes)
        return same_types and bool(enforced.equals(data))
    return _same(enforced, data)
