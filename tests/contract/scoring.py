"""One model of each signature, behind MLflow's own scoring server and behind the strict intake.

The model says what it saw: the types and values of its input. Import inside tests only.
"""

import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow.models
    import mlflow.pyfunc
    import mlflow.pyfunc.scoring_server
    import numpy as np
    import pandas as pd
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]
    from mlflow.models import ModelSignature
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
    from starlette.testclient import TestClient

from serinus.errors import SerinusError
from serinus.replica.card import read_card
from serinus.replica.intake import strict_intake
from serinus.replica.protocol import Format

__all__ = ["FORMS", "SIGNATURES", "WHOLE", "Answer", "Served", "body_of", "tensor_body_of"]

FORMS = ("split", "records", "instances", "inputs", "CSV", "Parquet")
_MEDIA = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv",
    Format.PARQUET: "application/vnd.apache.parquet",
}

SIGNATURES: dict[str, ModelSignature] = {
    **{
        name: ModelSignature(Schema([ColSpec(DataType[name], "x")]))
        for name in (
            *("boolean", "integer", "long", "float", "double", "string", "binary", "datetime"),
        )
    },
    "tensor of float64, (-1, 2)": ModelSignature(
        Schema([TensorSpec(np.dtype("float64"), (-1, 2))])
    ),
    "tensor of int64, (-1), named": ModelSignature(
        Schema([TensorSpec(np.dtype("int64"), (-1,), "x")])
    ),
    "array of double": ModelSignature(Schema([ColSpec(Array(DataType.double), "x")])),
    "array of string": ModelSignature(Schema([ColSpec(Array(DataType.string), "x")])),
    "object": ModelSignature(
        Schema(
            [
                ColSpec(
                    Object(
                        [
                            Property("a", DataType.long),
                            Property("b", DataType.string, required=False),
                        ]
                    ),
                    "x",
                )
            ]
        )
    ),
    "map of long": ModelSignature(Schema([ColSpec(Map(DataType.long), "x")])),
    "params": ModelSignature(
        Schema([ColSpec(DataType.double, "x")]),
        params=ParamSchema(
            [
                ParamSpec("whole", DataType.long, 1),
                ParamSpec("number", DataType.double, 0.5),
                ParamSpec("flag", DataType.boolean, False),
                ParamSpec("text", DataType.string, "a"),
            ]
        ),
    ),
}


#: A signature for whole requests: a number, and a text that may be absent.
WHOLE = ModelSignature(
    Schema([ColSpec(DataType.double, "x"), ColSpec(DataType.string, "y", required=False)])
)


@dataclass(frozen=True)
class Answer:
    """What came of one request."""

    #: What the model saw; empty when it was never asked.
    saw: str
    #: HTTP's, as the scoring server gives it; 400 and up without a prediction.
    status: int = 200
    error: str = ""


class _Echo:
    def predict(self, data: Any, params: dict[str, Any] | None = None) -> list[str]:
        return [_seen(data) + (f" with {_value(params)}" if params else "")]


class Served:
    """One signature, served both ways."""

    def __init__(self, signature: ModelSignature, directory: Path) -> None:
        model = mlflow.models.Model(signature=signature)
        model.add_flavor("python_function", loader_module="none")
        directory.mkdir(parents=True, exist_ok=True)
        model.save(str(directory / "MLmodel"))
        self._model = mlflow.pyfunc.PyFuncModel(model_meta=model, model_impl=_Echo())
        app = mlflow.pyfunc.scoring_server.init(self._model)
        self._client = TestClient(app, raise_server_exceptions=False)
        self._intake = strict_intake(read_card(directory))

    def theirs(self, body: bytes, format_: Format) -> Answer:
        """MLflow's answer, over HTTP."""
        reply = self._client.post(
            "/invocations", content=body, headers={"content-type": _MEDIA[format_]}
        )
        if reply.status_code != 200:
            return Answer("", reply.status_code, reply.text)
        return Answer(reply.json()["predictions"][0])

    def ours(self, body: bytes, format_: Format) -> Answer:
        """The answer by the strict intake and the same model."""
        assert self._intake is not None
        try:
            unit = self._intake.parse(body, format_)
        except SerinusError as error:
            return Answer("", error.status, error.message)
        return Answer(self._model.predict(self._intake.join([unit]), unit.params)[0])


def body_of(
    form: str, cells: Sequence[Any], *, nested: bool = False, params: Any = None
) -> tuple[bytes, Format] | None:
    """A request with these cells in column ``x``; None when the form can't carry them."""
    if form == "CSV":
        return None if params is not None else _csv(cells)
    if form == "Parquet":
        return None if params is not None else _parquet(cells)
    rows = [{"x": cell} for cell in cells]
    split: Any = {"columns": ["x"], "data": [[cell] for cell in cells]}
    document: dict[str, Any] = {
        "split": {"dataframe_split": split},
        "records": {"dataframe_records": rows},
        "instances": {"instances": rows},
        "inputs": {"inputs": rows if nested else {"x": list(cells)}},
    }[form]
    if params is not None:
        document["params"] = params
    return json.dumps(document).encode(), Format.JSON


def tensor_body_of(form: str, rows: Any) -> tuple[bytes, Format] | None:
    """A request with an unnamed tensor."""
    if form in ("instances", "inputs"):
        return json.dumps({form: rows}).encode(), Format.JSON
    flat = isinstance(rows, list) and all(isinstance(row, list) for row in rows)
    if not flat or len({len(row) for row in rows}) != 1:
        return None
    names = [f"c{at}" for at in range(len(rows[0]))]
    if form == "split":
        return json.dumps({"dataframe_split": {"columns": names, "data": rows}}).encode(), (
            Format.JSON
        )
    if form == "records":
        records = [dict(zip(names, row, strict=True)) for row in rows]
        return json.dumps({"dataframe_records": records}).encode(), Format.JSON
    if form == "CSV":
        lines = [",".join(names), *(",".join(map(_text, row)) for row in rows)]
        return ("\n".join(lines) + "\n").encode(), Format.CSV
    return None


def _csv(cells: Sequence[Any]) -> tuple[bytes, Format] | None:
    if any(isinstance(cell, list | dict) for cell in cells):
        return None
    return ("x,y\n" + "".join(f"{_text(cell)},1\n" for cell in cells)).encode(), Format.CSV


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    text = cell if isinstance(cell, str) else json.dumps(cell)
    return f'"{text}"' if "," in text else text


def _parquet(cells: Sequence[Any]) -> tuple[bytes, Format] | None:
    try:
        column = pa.array(list(cells))
    except (pa.ArrowException, OverflowError):
        return None
    if pa.types.is_null(column.type):
        return None
    file = io.BytesIO()
    try:
        pq.write_table(pa.table({"x": column}), file)
    except pa.ArrowException:  # Parquet has no empty object
        return None
    return file.getvalue(), Format.PARQUET


def _seen(data: Any) -> str:
    if isinstance(data, pd.DataFrame):
        parts = [f"{name}: {_column(data[name])}" for name in data.columns]
        return ", ".join(parts)
    if isinstance(data, dict):
        return ", ".join(f"{name}: {_value(each)}" for name, each in data.items())
    return _value(data)


def _column(column: Any) -> str:
    cells = ", ".join(_value(cell) for cell in column)
    # pandas has two types for strings, which hold the same ones.
    plain = bool(column.dtype == object or column.dtype == "str")
    return cells if plain else f"{column.dtype} {cells}"


def _value(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)} {value.tolist()}"
    if isinstance(value, list):
        return f"[{', '.join(_value(each) for each in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, pd.Timestamp):
        return str(value.isoformat())
    if isinstance(value, np.generic):
        value = value.item()
    return repr(value)
