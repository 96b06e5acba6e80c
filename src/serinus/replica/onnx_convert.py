"""Turns an estimator into ONNX, in several precisions; it says what it can't and decides nothing.

For a process of its own: the converters are large, and are told here about models that they do not
know by themselves.
"""

import importlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from serinus.replica.card import Column, ColumnType
from serinus.replica.layout import block_type
from serinus.replica.onnx_plan import Input, Plan

__all__ = ["Attempt", "CantConvert", "attempts", "convert"]

_NUMBERS = frozenset(
    (ColumnType.DOUBLE, ColumnType.FLOAT, ColumnType.LONG, ColumnType.INTEGER, ColumnType.BOOLEAN)
)
_TYPES = {
    "float64": "DoubleTensorType",
    "float32": "FloatTensorType",
    "int64": "Int64TensorType",
    "bool": "BooleanTensorType",
    "string": "StringTensorType",
}
_BY_NAME = ("ColumnTransformer",)
_MAX_DEPTH = 32
#: What the converters of XGBoost and LightGBM can write.
_BOOSTERS_OPSET = {"": 17, "ai.onnx.ml": 3}


class CantConvert(Exception):
    """The converters don't know this model; the message says why."""


class Attempt:
    """One way to hand the columns over."""

    def __init__(self, inputs: list[Input], said: str) -> None:
        self.inputs = inputs
        #: In words for people.
        self.said = said


def attempts(estimator: Any, columns: Sequence[Column]) -> Iterator[Attempt]:
    """Ways to try, the most faithful first; raises CantConvert for types that ONNX has not."""
    for column in columns:
        if column.type not in _NUMBERS and column.type is not ColumnType.STRING:
            raise CantConvert(f"the column '{column.name}' is of type {column.type.value}")
    if block_type(each.type for each in columns) and not _reads_names(estimator, 0):
        for kind in ("float64", "float32"):
            yield Attempt([Input("X", [*range(len(columns))], kind)], f"numbers as {kind}")
        return
    for kind in ("float64", "float32"):
        for whole, said in (("int64", "and int64"), (kind, "alone")):
            inputs = [
                Input(column.name, [at], _kind(column.type, kind, whole))
                for at, column in enumerate(columns)
            ]
            yield Attempt(inputs, f"numbers as {kind} {said}")


def _kind(type_: ColumnType, number: str, whole: str) -> str:
    if type_ is ColumnType.STRING:
        return "string"
    if type_ is ColumnType.BOOLEAN:
        return "bool" if whole == "int64" else number
    return whole if type_ in (ColumnType.LONG, ColumnType.INTEGER) else number


def _reads_names(estimator: Any, depth: int) -> bool:
    if type(estimator).__name__ in _BY_NAME:
        return True
    steps = getattr(estimator, "steps", None)
    if not isinstance(steps, list) or depth > _MAX_DEPTH:
        return False
    return any(_reads_names(step, depth + 1) for _, step in steps)


def convert(estimator: Any, attempt: Attempt, method: str, answer: Any) -> tuple[bytes, Plan]:
    """The converted model and how to ask it; raises CantConvert.

    ``answer`` is one of the original's, whose type and shape are to come back.
    """
    if not isinstance(answer, np.ndarray) or method not in ("predict", "predict_proba"):
        raise CantConvert(f"its answer is a {type(answer).__name__} of {method}, not an array")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = _to_onnx(estimator, attempt.inputs)
        content = model.SerializeToString()
    except ImportError as error:
        raise CantConvert(f"{error.name or error} is not installed") from error
    except Exception as error:
        raise CantConvert(_words(error)) from error
    names = [each.name for each in model.graph.output]
    scored = len(names) > 1
    if method == "predict_proba" and not scored:
        raise CantConvert("the converted model has no probabilities")
    return content, Plan(
        inputs=attempt.inputs,
        output=names[1] if method == "predict_proba" else names[0],
        dtype=answer.dtype.str if answer.dtype.kind in "biuf" else "O",
        tail=list(answer.shape[1:]),
        columns=sum(len(each.columns) for each in attempt.inputs),
        score=names[1] if scored and hasattr(estimator, "predict_proba") else "",
    )


def _to_onnx(estimator: Any, inputs: Sequence[Input]) -> Any:
    sklearn = importlib.import_module("skl2onnx")
    types = importlib.import_module("skl2onnx.common.data_types")
    logging.getLogger("skl2onnx").setLevel(logging.ERROR)
    _teach(sklearn)
    wanted = [
        (each.name, getattr(types, _TYPES[each.kind])([None, len(each.columns)])) for each in inputs
    ]
    scored = hasattr(estimator, "classes_") and hasattr(estimator, "predict_proba")
    options = {id(estimator): {"zipmap": False}} if scored else None
    opset = _BOOSTERS_OPSET if _nameless(estimator, 0) else None
    with _whole_attributes():
        try:
            return sklearn.convert_sklearn(
                estimator, initial_types=wanted, options=options, target_opset=opset
            )
        except NameError:  # this one has no such option
            return sklearn.convert_sklearn(estimator, initial_types=wanted, target_opset=opset)


def _nameless(estimator: Any, depth: int) -> bool:
    """Take the names of columns from boosters, which their converters know only by number.

    True when there is one that those converters have to know.
    """
    steps = getattr(estimator, "steps", None)
    if isinstance(steps, list) and depth <= _MAX_DEPTH:
        found = [_nameless(step, depth + 1) for _, step in steps]  # each is looked at
        return any(found)
    module = type(estimator).__module__
    if module.startswith("xgboost."):
        estimator.get_booster().feature_names = None
    return module.startswith(("xgboost.", "lightgbm."))


def _teach(sklearn: Any) -> None:
    """Let skl2onnx know the boosters of other libraries, where their converters are installed."""
    for library, module, kinds in (
        ("xgboost", "XGBoost", ("XGBClassifier", "XGBRegressor")),
        ("lightgbm", "LightGbm", ("LGBMClassifier", "LGBMRegressor")),
    ):
        if library not in sys.modules:  # then this model is none of its
            continue
        try:
            models = importlib.import_module(library)
            place = f"onnxmltools.convert.{library}.operator_converters.{module}"
            converters = importlib.import_module(place)
            shapes = importlib.import_module("skl2onnx.common.shape_calculator")
        except ImportError:
            continue
        for kind in kinds:
            classifies = kind.endswith("Classifier")
            calculate = "calculate_linear_classifier_output_shapes"
            regress = "calculate_linear_regressor_output_shapes"
            sklearn.update_registered_converter(
                getattr(models, kind),
                f"Serinus{kind}",
                getattr(shapes, calculate if classifies else regress),
                getattr(converters, f"convert_{library}"),
                options={"nocl": [True, False], "zipmap": [True, False, "columns"]}
                if classifies
                else None,
            )


class _whole_attributes:  # noqa: N801 - reads as a statement
    """While it lasts, booleans among whole numbers of a node's attributes become whole numbers.

    skl2onnx writes some; protobuf took them for 0 and 1 until it began to refuse them.
    """

    def __enter__(self) -> None:
        self._helper = importlib.import_module("onnx.helper")
        self._make: Callable[..., Any] = self._helper.make_attribute

        def make(key: str, value: Any, *more: Any, **named: Any) -> Any:
            flags = (bool, np.bool_)
            if isinstance(value, list | tuple) and any(isinstance(e, flags) for e in value):
                value = [int(each) for each in value]
            return self._make(key, value, *more, **named)

        self._helper.make_attribute = make  # type: ignore[attr-defined]

    def __exit__(self, *_: object) -> None:
        self._helper.make_attribute = self._make  # type: ignore[attr-defined]


def _words(error: BaseException) -> str:
    """The first line of what a converter says; some print the whole model."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:300]}" if text else type(error).__name__
