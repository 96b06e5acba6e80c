"""Rows as the bodies of requests."""

import base64
import io
import warnings
from collections.abc import Sequence
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import numpy as np
    import pandas as pd

__all__ = ["csv_of", "dense", "frame_of", "parquet_of"]


def dense(value: Any) -> Any:
    """What JSON carries for one value of a request."""
    if isinstance(value, np.ndarray):
        return dense(value.tolist())
    if isinstance(value, list | tuple):
        return [dense(each) for each in value]
    if isinstance(value, dict):
        return {name: dense(each) for name, each in value.items()}
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64):
        value = value.item()
    if value is None or value is pd.NaT or value != value:
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def csv_of(frame: pd.DataFrame) -> bytes:
    """The rows as CSV."""
    text: str = frame.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%S.%f")
    return text.encode()


def parquet_of(frame: pd.DataFrame) -> bytes:
    """The rows as a Parquet file."""
    file = io.BytesIO()
    frame.to_parquet(file, index=False)
    return file.getvalue()


def frame_of(rows: Sequence[Any]) -> pd.DataFrame:
    """Rows of numbers as a frame, for tensors."""
    return pd.DataFrame(rows, columns=[f"c{at}" for at in range(len(rows[0]))])
