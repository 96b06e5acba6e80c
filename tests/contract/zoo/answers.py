"""One model that answers in each way that a model may; a param says which."""

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
        ColSpec,
        DataType,
        ParamSchema,
        ParamSpec,
        Schema,
    )
    from scipy import sparse

from tests.contract.zoo.species import PIP, Model, whole

__all__ = ["ANSWERS", "ways"]

cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["*"]))

# Answers: one model, which answers in the way that a param asks for.

_ODD = (np.nan, np.inf, -np.inf)


def _odd(x: Any) -> Any:
    """``x``, with what JSON has no numbers for in some rows."""
    places = np.abs(np.rint(x * 1e6)).astype(np.int64) % 4
    return np.select([places == at for at in range(3)], _ODD, x)


ANSWERS: dict[str, tuple[str, Callable[[Any], Any], Callable[[Any], Any] | None]] = {
    "f64": ("array of float64", lambda x: x * 1.1, None),
    "f32": ("array of float32", lambda x: (x * 1.1).astype(np.float32), None),
    "i64": ("array of int64", lambda x: np.rint(x * 1e6).astype(np.int64), None),
    "u8": ("array of uint8", lambda x: np.abs(np.rint(x)).astype(np.uint8), None),
    "bool": ("array of booleans", lambda x: x > 0, None),
    "str": ("array of strings", lambda x: np.array([f"é{each:.3f}" for each in x]), None),
    "object": (
        "array of objects",
        lambda x: np.array([{"v": each, "n": None} for each in x], dtype=object),
        None,
    ),
    "2d": ("array, 2 columns", lambda x: np.column_stack([x, -x]), None),
    "3d": ("array, 3 dimensions", lambda x: np.stack([np.diag([v, -v]) for v in x]), None),
    "odd": ("array with NaN, ±Infinity", _odd, None),
    "ms": (
        "array of datetime64[ms]",
        lambda x: np.datetime64("2013-01-01", "ms") + np.rint(x * 1e6).astype("timedelta64[ms]"),
        None,
    ),
    "frame": ("DataFrame", lambda x: pd.DataFrame({"p": x, "label": ["a"] * len(x)}), None),
    "gaps": (
        "DataFrame with NaN, ±Infinity",
        lambda x: pd.DataFrame({"p": _odd(x), "q": -x}),
        None,
    ),
    "na": (
        "DataFrame with pandas.NA",
        lambda x: pd.DataFrame({"n": pd.array([1 if v > 0 else None for v in x], dtype="Int64")}),
        lambda frame: frame.astype(object).where(frame.notna(), None),
    ),
    "sparse frame": (
        "DataFrame, sparse",
        lambda x: pd.DataFrame({"s": pd.arrays.SparseArray(np.where(x > 0, x, 0.0))}),
        None,
    ),
    "series": ("Series", lambda x: pd.Series(x / 3), None),
    "named": ("Series with a name", lambda x: pd.Series(x / 3, name="p"), None),
    "category": (
        "Series of categories",
        lambda x: pd.Series(np.where(x > 0, "up", "down"), dtype="category"),
        None,
    ),
    "zone": (
        "Series of times with a zone",
        lambda x: pd.Series(
            pd.to_datetime(np.rint(x * 1e6), unit="s", utc=True).tz_convert("Asia/Kolkata")
        ),
        None,
    ),
    "list": ("list of numbers", lambda x: (x / 3).tolist(), None),
    "lists": ("list of lists", lambda x: [[v, [v, None]] for v in x.tolist()], None),
    "dicts": ("list of dicts", lambda x: [{"v": v, "w": np.float32(v)} for v in x], None),
    "odd list": ("list with NaN, ±Infinity", lambda x: _odd(x).tolist(), None),
    "bytes": ("list of bytes", lambda x: [f"{v:.4f}".encode() for v in x], None),
    "dict": ("dict of arrays", lambda x: {"p": x * 2, "q": np.column_stack([x, x])}, None),
    "dict lists": ("dict of lists", lambda x: {"p": x.tolist(), "s": ["a"] * len(x)}, None),
    "csr": (
        "sparse matrix of SciPy",
        lambda x: sparse.csr_matrix(np.column_stack([np.where(x > 0, x, 0.0), np.zeros(len(x))])),
        lambda found: found.toarray(),
    ),
    "coo": (
        "sparse array of SciPy",
        lambda x: sparse.coo_array(np.column_stack([np.zeros(len(x)), x])),
        lambda found: found.toarray(),
    ),
    "decimal": ("whole numbers beyond 64 bits", lambda x: [2**70 + int(v) for v in x], None),
}


class _Answers(Model):
    def __init__(self, ways: dict[str, Any]) -> None:
        self.ways = ways

    def predict(self, context, model_input, params=None):
        return self.ways[params["way"]](model_input["a"].to_numpy())


def ways(path: Path) -> None:
    signature = ModelSignature(
        infer_signature(whole()[["a"]]).inputs,
        Schema([ColSpec("double")]),
        ParamSchema([ParamSpec("way", DataType.string, "f64")]),
    )
    mlflow.pyfunc.save_model(
        str(path),
        python_model=_Answers({name: way for name, (_, way, _) in ANSWERS.items()}),
        signature=signature,
        input_example=(whole()[["a"]].head(4), {"way": "f64"}),
        **PIP,
    )
