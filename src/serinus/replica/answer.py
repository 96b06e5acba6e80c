"""From what a model returned to response bodies: MLflow's JSON, but for NaN and ±Infinity → null.

It cuts a batch's answer into its requests' parts; it must never guess where to cut.
"""

import base64
import datetime
import math
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from serinus.errors import InternalError, SerinusError

__all__ = ["Uncuttable", "body", "count_rows", "cut", "error_body", "plain"]

_encode = msgspec.json.Encoder().encode
_HEAD, _TAIL = b'{"predictions":', b"}"
#: Kinds of arrays whose elements are JSON as they are: bool, int, uint, float, str.
_DIRECT = frozenset("biufU")


class Uncuttable(Exception):
    """What the model returned has no rows that could be told apart."""


def body(output: Any) -> bytes:
    """The response body for everything that one call returned; raises InternalError."""
    return _HEAD + _json(jsonable(output)) + _TAIL


def cut(output: Any, counts: Sequence[int]) -> list[bytes]:
    """One response body for each request of a batch.

    ``counts`` are the requests' rows and sum to the output's. Raises Uncuttable when the output
    has no rows and InternalError when it can't be written as JSON.
    """
    if isinstance(output, dict):
        return [body(part) for part in _cut_dict(output, counts)]
    rows = jsonable(output)
    if not isinstance(rows, list):
        raise Uncuttable
    bodies = []
    at = 0
    for count in counts:
        bodies.append(_HEAD + _json(rows[at : at + count]) + _TAIL)
        at += count
    return bodies


def count_rows(output: Any) -> int | None:
    """How many rows an output has; None when it is nothing that has rows."""
    if isinstance(output, dict):
        counts = {count_rows(each) for each in output.values()}
        return counts.pop() if len(counts) == 1 else None
    if isinstance(output, np.ndarray):
        return output.shape[0] if output.ndim else None
    if isinstance(output, list) or _is_pandas(output):
        return len(output)
    return None


def error_body(error: SerinusError) -> bytes:
    """The response body of an error."""
    content: dict[str, Any] = {"error_code": error.code, "message": error.message}
    if error.details:
        content["details"] = error.details
    return _encode(content)


def jsonable(output: Any) -> Any:
    """The output as values that msgspec writes as MLflow's encoder would.

    Raises InternalError for what has no JSON form.
    """
    if isinstance(output, np.ndarray) and output.dtype.kind in _DIRECT:
        return output.tolist()
    if _is_pandas(output):
        frame = output if hasattr(output, "columns") else output.to_frame()
        return plain(frame.to_dict(orient="records"))
    return plain(output.tolist() if isinstance(output, np.ndarray) else output)


def plain(value: Any) -> Any:
    """One value after the rules of MLflow's NumpyEncoder; raises InternalError."""
    if value is None or type(value) in (str, bool, int):
        return value
    if isinstance(value, dict):
        return {_key(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):  # and NumPy's float64
        return float(value) if math.isfinite(value) else None
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, str | int):  # a subclass, which msgspec would not know
        return str.__str__(value) if isinstance(value, str) else int(value)
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, bytes | bytearray):
        return base64.encodebytes(value).decode("ascii")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if hasattr(type(value), "model_dump"):
        return plain(value.model_dump())
    raise InternalError(
        f"The model answered with a value that has no JSON form: {type(value).__name__}."
    )


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    if isinstance(key, int):
        return int.__repr__(key)
    if isinstance(key, float):
        return float.__repr__(key)
    raise InternalError(
        f"The model answered with an object that has a {type(key).__name__} as a key; "
        "JSON allows strings."
    )


def _json(value: Any) -> bytes:
    try:
        return _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InternalError(f"The model's answer can't be written as JSON: {error}.") from error


def _cut_dict(output: dict[Any, Any], counts: Sequence[int]) -> list[dict[Any, Any]]:
    total = sum(counts)
    if any(count_rows(each) != total or isinstance(each, dict) for each in output.values()):
        raise Uncuttable
    parts: list[dict[Any, Any]] = []
    at = 0
    for count in counts:
        parts.append({key: each[at : at + count] for key, each in output.items()})
        at += count
    return parts


def _is_pandas(output: Any) -> bool:
    # A model that returns pandas objects has imported it.
    pd = sys.modules.get("pandas")
    return pd is not None and isinstance(output, pd.DataFrame | pd.Series)
