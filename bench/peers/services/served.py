"""The model as somebody loads it by hand: the pickled object, and one predict for many requests."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pandas as pd

__all__ = ["BATCH", "WINDOW_S", "columns", "load", "predict", "predict_many"]

#: The same for everybody who batches: at most so many requests, at most so long a wait.
BATCH = 64
WINDOW_S = 0.005


def load() -> Any:
    """The object that `BENCH_MODEL` names."""
    return pickle.loads(Path(os.environ["BENCH_MODEL"]).read_bytes())  # noqa: S301 - ours


def columns() -> list[str]:
    """The model's columns, for requests that carry the bare rows."""
    names: list[str] = json.loads(os.environ["BENCH_COLUMNS"])
    return names


def predict(model: Any, split: dict[str, Any]) -> list[Any]:
    """The predictions of one request, a `dataframe_split`."""
    frame = pd.DataFrame(split["data"], columns=split["columns"])
    predictions: list[Any] = model.predict(frame).tolist()
    return predictions


def predict_many(model: Any, splits: list[dict[str, Any]]) -> list[list[Any]]:
    """The predictions of each request, from a single call."""
    rows = [row for split in splits for row in split["data"]]
    found = predict(model, {"columns": splits[0]["columns"], "data": rows})
    answers, at = [], 0
    for split in splits:
        answers.append(found[at : at + len(split["data"])])
        at += len(split["data"])
    return answers
