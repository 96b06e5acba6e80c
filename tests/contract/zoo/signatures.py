"""Models by what they take: every type of a signature, tensors, params, type hints."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import cloudpickle
    import mlflow.pyfunc
    import mlflow.sklearn
    import numpy as np
    import pandas as pd
    from mlflow.models import ModelSignature, infer_signature
    from mlflow.types.schema import (
        Array,
        ColSpec,
        DataType,
        Map,
        Object,
        ParamSchema,
        ParamSpec,
        Property,
        Schema,
        TensorSpec,
    )

from tests.contract.zoo.species import PIP, ROWS, Model, whole

__all__ = [
    "Hinted",
    "NextDay",
    "Says",
    "Scaled",
    "Sums",
    "both",
    "both_signature",
    "days",
    "hinted",
    "images",
    "nested",
    "nested_signature",
    "params_signature",
    "pyfunc",
    "simple",
    "simple_signature",
    "unsigned",
    "vectors",
]

cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["*"]))

# Signatures


class Says(Model):
    """Answers what it saw of each row: values with their types."""

    def predict(self, context, model_input, params=None):
        if isinstance(model_input, pd.DataFrame):
            rows = model_input.to_dict("records")
            return [repr({name: _known(each) for name, each in row.items()}) for row in rows]
        if isinstance(model_input, dict):
            values = zip(*model_input.values(), strict=True)
            return [repr([_known(each) for each in row]) for row in values]
        return [repr(_known(each)) for each in model_input]


def _known(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}{value.tolist()}"
    if isinstance(value, np.generic):
        return f"{value.dtype} {value.item()!r}"
    if isinstance(value, list):
        return [_known(each) for each in value]
    if isinstance(value, dict):
        return {name: _known(each) for name, each in sorted(value.items())}
    return "missing" if value is None or value is pd.NaT or value != value else value


class Sums(Model):
    """One number for each row of a tensor, or of several."""

    def predict(self, context, model_input, params=None):
        if isinstance(model_input, dict):
            return sum(self.predict(context, each) for each in model_input.values())
        return model_input.reshape(len(model_input), -1)[:, 0] * np.float32(1.1)


class Hinted(Model):
    def predict(self, model_input: list[str], params=None) -> list[str]:
        return [each.upper() for each in model_input]


def pyfunc(
    model: Callable[[], Any], data: Callable[[], Any], signature: Callable[[], Any] | None = None
) -> Callable[[Path], Any]:
    def save(path: Path) -> None:
        example = data()
        example = example if isinstance(example, dict) else example[:4]
        found = signature() if signature else infer_signature(data())
        mlflow.pyfunc.save_model(
            str(path), python_model=model(), signature=found, input_example=example, **PIP
        )

    return save


def hinted(path: Path) -> None:
    mlflow.pyfunc.save_model(str(path), python_model=Hinted(), input_example=["a"], **PIP)


def unsigned(path: Path) -> None:
    mlflow.pyfunc.save_model(str(path), python_model=Says(), **PIP)


def simple() -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "flag": [True, False] * 6,
            "small": np.arange(ROWS, dtype=np.int32),
            "large": np.arange(ROWS) + 2**53,
            "single": np.linspace(0, 1, ROWS, dtype=np.float32),
            "double": np.linspace(-1e300, 1, ROWS),
            "text": ["", "ü", "2013"] * 4,
            "raw": [b"\x00\xff", b"ab"] * 6,
            "at": pd.date_range("2013-01-31T17:05:00.123456", periods=ROWS, unit="ns"),
        }
    )
    frame.loc[2, "double"] = np.nan
    frame.loc[3, "text"] = None
    frame.loc[4, "at"] = pd.NaT
    return frame


def simple_signature() -> ModelSignature:
    names = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
    columns = zip(simple().columns, names, strict=True)
    return ModelSignature(Schema([ColSpec(DataType[type_], name) for name, type_ in columns]))


def nested() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "readings": [[0.5, float(at)] for at in range(ROWS)],
            "who": [{"id": at, "tags": ["a", "b"]} for at in range(ROWS)],
            "counts": [{"k": at, "m": 1} for at in range(ROWS)],
            "stops": [[{"code": "EWR", "wait": 1.5}]] * ROWS,
        }
    )


def nested_signature() -> ModelSignature:
    who = Object([Property("id", DataType.long), Property("tags", Array(DataType.string))])
    stop = Object(
        [Property("code", DataType.string), Property("wait", DataType.double, required=False)]
    )
    return ModelSignature(
        Schema(
            [
                ColSpec(Array(DataType.double), "readings"),
                ColSpec(who, "who"),
                ColSpec(Map(DataType.long), "counts"),
                ColSpec(Array(stop), "stops"),
            ]
        )
    )


def vectors() -> Any:
    return np.linspace(-1, 1, ROWS * 3).reshape(ROWS, 3)


def images() -> Any:
    return np.linspace(0, 1, ROWS * 8, dtype=np.float32).reshape(ROWS, 2, 2, 2)


def both() -> dict[str, Any]:
    return {"image": images(), "ids": np.arange(ROWS)}


def both_signature() -> ModelSignature:
    return ModelSignature(
        Schema(
            [
                TensorSpec(np.dtype("float32"), (-1, 2, 2, 2), "image"),
                TensorSpec(np.dtype("int64"), (-1,), "ids"),
            ]
        )
    )


def days() -> pd.DataFrame:
    return pd.DataFrame({"at": pd.date_range("2013-03-09T22:30", periods=ROWS, unit="ns")})


class NextDay(Model):
    """Dates in, times in two zones out, over the day on which New York's clocks change."""

    def predict(self, context, model_input, params=None):
        after = model_input["at"] + pd.Timedelta(days=1)
        there = after.dt.tz_localize("America/New_York")
        return pd.DataFrame({"plain": after, "there": there, "utc": there.dt.tz_convert("UTC")})


class Scaled(Model):
    def predict(self, context, model_input, params=None):
        return model_input["a"].to_numpy() * params["by"] + len(params["word"])


def params_signature() -> ModelSignature:
    declared = [ParamSpec("by", DataType.double, 2.0), ParamSpec("word", DataType.string, "x")]
    frame = whole()
    return ModelSignature(
        infer_signature(frame).inputs, Schema([ColSpec("double")]), ParamSchema(declared)
    )
