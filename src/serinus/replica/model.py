"""Loads a model and finds the shortest way to its answers that is the same as MLflow's.

Model files are never written to, and no answer may differ from `mlflow.pyfunc`'s own.
"""

import importlib
import logging
import os
import pickle
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from serinus.entities import Reading
from serinus.errors import SerinusError
from serinus.replica.answer import count_rows
from serinus.replica.audit import Audit
from serinus.replica.card import Card, ColumnType, read_card
from serinus.replica.intake import ColumnIntake, strict_intake
from serinus.replica.protocol import Format
from serinus.replica.unit import Intake, Unit

__all__ = ["Model", "load"]

Predict = Callable[[Any, dict[str, Any] | None], Any]

_log = logging.getLogger(__name__)
#: Estimators whose work depends on column names, or is any function at all.
_NAME_READERS = ("ColumnTransformer", "FunctionTransformer")
#: Types of columns that MLflow itself has to look at before a model does.
_UNUSUAL = (ColumnType.BINARY, ColumnType.NESTED)
_PREDICTORS = ("predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba")


@dataclass(slots=True)
class Model:
    """A loaded model: how its requests are read and how it is asked."""

    intake: Intake
    #: Model input and params → what the model returns.
    predict: Predict
    #: The author's example, read; None when there is none that can be.
    example: Unit | None
    #: Why there is no example, for people.
    no_example: str = ""
    #: Rows of the answer to the example; None when it has none to count.
    example_rows: int | None = None
    #: The estimator, or what MLflow loaded: for looking inside, never for answering.
    loaded: Any = None


def load(path: Path, *, intake: Reading = Reading.STRICT) -> Model:
    """Load the model in a directory, and answer its example once.

    Raises whatever the model's own code raises.
    """
    card = read_card(path)
    if intake is Reading.STRICT and _is_bare_sklearn(card):
        return _answered(_load_sklearn(card))
    return _answered(_load_pyfunc(card, lenient=intake is Reading.MLFLOW))


def _load_sklearn(card: Card) -> Model:
    intake, predict = ColumnIntake(card.columns), _bare_sklearn(card)
    model = _with_example(Model(intake, predict, None), card)
    model.loaded = predict.estimator  # type: ignore[attr-defined]
    _try_block(model, intake, card)
    return model


def _answered(model: Model) -> Model:
    if model.example is not None:
        output = model.predict(model.intake.join([model.example]), model.example.params)
        model.example_rows = count_rows(output)
    return model


def _is_bare_sklearn(card: Card) -> bool:
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


def _bare_sklearn(card: Card) -> Predict:
    content = (card.path / card.pyfunc["model_path"]).read_bytes()
    if card.sklearn["serialization_format"] == "cloudpickle":
        # What was pickled by cloudpickle refers to it only now and then; pickle imports it then.
        importlib.import_module("cloudpickle")
    estimator = pickle.loads(content)  # noqa: S301 - a model is code; it was chosen to be run
    method = getattr(estimator, card.pyfunc.get("predict_fn", "predict"))

    def predict(data: Any, _params: dict[str, Any] | None) -> Any:
        return method(data)

    predict.estimator = estimator  # type: ignore[attr-defined]
    return predict


def _with_example(model: Model, card: Card) -> Model:
    if card.example is None:
        model.no_example = "the model was logged without an input example"
        return model
    try:
        model.example = model.intake.parse(card.example, Format.JSON)
    except SerinusError as error:
        model.no_example = f"the model's input example does not fit its signature: {error.message}"
        _log.warning("%s", model.no_example)
    return model


def _try_block(model: Model, intake: ColumnIntake, card: Card) -> None:
    """Skip data frames where the estimator is seen to compute the same bits without them.

    scikit-learn spends most of a one-row call on taking a frame apart.
    """
    if model.example is None or not all(each.type.value == "double" for each in card.columns):
        return
    inside = _pure_sklearn(model.predict.estimator)  # type: ignore[attr-defined]
    if not inside:
        return
    units = intake.widen(model.example, 32, Random(1))  # noqa: S311 - no secret
    tried = [some for some in (units, units[:1], units[-1:], units[1:8]) if some]
    try:
        frames = [model.predict(intake.frame(some), None) for some in tried]
    except Exception as error:  # noqa: BLE001 - a model may raise anything; frames remain
        _log.info("action=block_not_tried error=%r", error)
        return
    # With names to compare, each call would warn that a block of numbers has none.
    names = [(each, vars(each).pop("feature_names_in_", None)) for each in inside]
    intake.as_block = True
    try:
        blocks = [model.predict(intake.join(some), None) for some in tried]
    except Exception as error:  # noqa: BLE001 - as above
        _log.info("action=block_refused error=%r", error)
        blocks = []
    if not blocks or not all(map(_identical, frames, blocks)):
        intake.as_block = False
        for each, known in names:
            if known is not None:
                each.feature_names_in_ = known


def _pure_sklearn(estimator: Any) -> list[Any]:
    """The estimator and all inside it, if only scikit-learn's own numeric code sees the input.

    Empty when something of the author's could: it may look at names or at the kind of the input.
    """
    seen: list[Any] = []
    inside = [estimator]
    while inside:
        each = inside.pop()
        kind = type(each)
        if not kind.__module__.startswith("sklearn.") or kind.__name__ in _NAME_READERS:
            return []
        seen.append(each)
        for part in _parts([*each.get_params(deep=False).values(), *vars(each).values()]):
            if hasattr(part, "get_params"):
                if not any(part is other for other in [*seen, *inside]):
                    inside.append(part)
            elif callable(part):
                return []
    return seen


def _parts(values: list[Any]) -> list[Any]:
    """The values and what lists and tuples among them hold."""
    found: list[Any] = []
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, list | tuple):
            waiting += value
        else:
            found.append(value)
    return found


def _identical(one: Any, other: Any) -> bool:
    return (
        isinstance(one, np.ndarray)
        and isinstance(other, np.ndarray)
        and one.dtype == other.dtype
        and one.shape == other.shape
        and one.tobytes() == other.tobytes()
    )


def _load_pyfunc(card: Card, *, lenient: bool) -> Model:
    if card.pyfunc.get("code"):
        # Importing the model's own modules would leave __pycache__ beside them.
        sys.dont_write_bytecode = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        # Seconds of import that only models of other kinds need.
        pyfunc = importlib.import_module("mlflow.pyfunc")
        loaded = pyfunc.load_model(str(card.path), suppress_warnings=True)
    strict = strict_intake(card)
    if strict is None or lenient:
        foreign = importlib.import_module("serinus.replica.foreign")
        schema = loaded.metadata.get_input_schema()
        audit = Audit(strict) if lenient else None
        reader = foreign.ForeignIntake(schema, hinted=card.hinted, audit=audit)
        model = _with_example(Model(reader, loaded.predict, None, loaded=loaded), card)
        reader.counts.clear()  # the example is nobody's request
        return model
    model = _with_example(Model(strict, loaded.predict, None, loaded=loaded), card)
    if model.example is None or not isinstance(strict, ColumnIntake):
        return model
    if not (strict.has_nested or card.has_params):
        below = _below_enforcement(loaded, pyfunc)
        if _same_below(loaded, below, strict, model.example):
            model.predict = below
    return model


def _below_enforcement(loaded: Any, pyfunc: Any) -> Predict:
    """The model's own predict, under the schema enforcement that the intake makes superfluous."""
    implementation = getattr(
        loaded._model_impl,  # MLflow calls this a stable developer API
        loaded.metadata.flavors["python_function"].get("predict_fn", "predict"),
    )

    def below(data: Any, params: dict[str, Any] | None) -> Any:
        # With params MLflow has more to say than the intake knows.
        return loaded.predict(data, params) if params else implementation(data)

    return below


def _same_below(loaded: Any, below: Predict, intake: ColumnIntake, example: Unit) -> bool:
    """True when enforcement leaves our frames as they are and the answers are the same bits."""
    enforce = importlib.import_module("mlflow.models.utils")._enforce_schema
    units = [example, *intake.widen(example, 8, Random(2))]  # noqa: S311 - no secret
    schema = loaded.metadata.get_input_schema()
    for unit in units:
        frame = intake.join([unit])
        try:
            enforced = enforce(frame.copy(), schema)
            same = enforced.equals(frame) and (enforced.dtypes == frame.dtypes).all()
            official, direct = loaded.predict(frame.copy()), below(frame.copy(), None)
            same = same and pickle.dumps(official) == pickle.dumps(direct)
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            if unit is example:
                _log.info("action=enforcement_kept error=%r", error)
                return False
            continue  # a perturbed row may be one that it rightly refuses
        if not same:
            return False
    return True
