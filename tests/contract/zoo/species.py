"""What all species share: what is expected of one, and the rows that most are asked."""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow.pyfunc
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature

import cloudpickle

__all__ = ["ALONE", "PIP", "ROWS", "SAME", "ULPS", "Model", "Species", "numbers", "signed", "whole"]

# Classes travel inside the saved models, so that a replica needs no tests.
cloudpickle.register_pickle_by_value(__import__(__name__, fromlist=["*"]))

#: How answers in a batch compare with answers alone.
SAME, ULPS, ALONE = "same bits", "a few ulp", "one by one"
ROWS = 12


@dataclass(frozen=True)
class Species:
    """One kind of model, and what is expected of it."""

    save: Callable[[Path], Any]
    #: What the model is given in-process: a frame, an array, or a mapping of arrays.
    data: Callable[[], Any]
    takes: str
    answers: str
    #: `SAME`, `ULPS` or `ALONE`.
    batch: str = SAME
    #: How requests carry it.
    form: str = "dataframe_records"
    params: dict[str, Any] | None = None
    #: Whether it can be asked by these at all.
    csv: bool = True
    parquet: bool = True
    #: Libraries that it needs and that not every environment of the tests has.
    needs: tuple[str, ...] = ()
    #: Its answers as MLflow's encoder can write them, where it can't write what the model returns.
    written: Callable[[Any], Any] | None = None


class Model(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    def __init_subclass__(cls, **more: Any) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow wants type hints on every predict
            super().__init_subclass__(**more)


def numbers() -> pd.DataFrame:
    random = np.random.default_rng(11)
    frame = pd.DataFrame(random.normal(size=(ROWS, 4)) * [1, 10, 100, 0.01], columns=list("abcd"))
    frame.loc[3, "b"] = np.nan
    return frame


def whole() -> pd.DataFrame:
    return numbers().fillna(0.5)


def signed(frame: Any, predict: Callable[[Any], Any]) -> dict[str, Any]:
    return {"signature": infer_signature(frame, predict(frame)), "input_example": frame.head(4)}


PIP: dict[str, Any] = {"pip_requirements": ["pandas"]}
# Saved from within a checkout, MLflow would copy its lock file into each model.
os.environ["MLFLOW_LOG_UV_FILES"] = "false"
