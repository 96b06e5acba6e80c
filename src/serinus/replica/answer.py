"""From what a model returned to response bodies: MLflow's JSON, but for NaN and ±Infinity → null.

It cuts a batch's answer into its requests' parts; it must never guess where to cut, and never
grow past the limit on its way.
"""

import base64
import datetime
import math
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from serinus.errors import BadRequest, SerinusError

__all__ = [
    "MAX_ANSWER",
    "BadAnswer",
    "Uncuttable",
    "body",
    "count_rows",
    "cut",
    "error_body",
    "plain",
]

#: Bytes of one answer.
MAX_ANSWER = 64 * 1024 * 1024

_encode = msgspec.json.Encoder().encode
_HEAD, _TAIL = b'{"predictions":', b"}"
_CUT = b"\n"
_BETWEEN = b"]" + _TAIL + _CUT + _HEAD + b"["
#: Kinds of arrays, and values, of which each is one JSON number, true, false or null.
_NUMBERS = frozenset("biuf")
_SINGLE = frozenset((float, int, bool))
#: So many numbers are far from any limit.
_FEW = 100_000
#: Kinds of arrays whose elements are JSON as they are: bool, int, uint, float, str.
_DIRECT = frozenset("biufU")


class BadAnswer(BadRequest):
    """The model gave no answer that could be sent on."""

    # What a gateway would call 502. Clients send a 500 or 502 again for minutes, and the model
    # would do the same each time; so it is a 400, as for a model that raises.

    def __init__(self, message: str) -> None:
        super().__init__(message, details=[{"cause": "MODEL_ANSWER"}])


class Uncuttable(Exception):
    """What the model returned has no rows that could be told apart."""


def body(output: Any) -> bytes:
    """The response body for everything that one call returned; raises BadAnswer."""
    flat = _flat(output)
    if flat is not None:
        return _body(flat)
    _check_cells(output)
    return _body(_jsonable(output))


def cut(output: Any, counts: Sequence[int]) -> list[bytes]:
    """One response body for each request of a batch.

    ``counts`` are the requests' rows and sum to the output's. Raises Uncuttable when the output
    has no rows and BadAnswer when it can't be written as JSON.
    """
    if isinstance(output, dict):
        return [body(part) for part in _cut_dict(output, counts)]
    flat = _flat(output)
    if flat is not None and len(flat) == len(counts) == counts.count(1):
        # Nothing that is written has a comma inside: all are written at once and then cut.
        return _body(flat).replace(b",", _BETWEEN).split(_CUT)
    _check_cells(output)
    rows = _jsonable(output)
    if not isinstance(rows, list):
        raise Uncuttable
    bodies: list[bytes] = []
    at = 0
    for count in counts:
        bodies.append(_body(rows[at : at + count]))
        at += count
    return bodies


def count_rows(output: Any) -> int | None:
    """How many rows an output has; None when it is nothing that has rows."""
    if isinstance(output, dict):
        counts = {count_rows(each) for each in output.values()}
        return counts.pop() if len(counts) == 1 else None
    if isinstance(output, np.ndarray):
        return output.shape[0] if output.ndim else None
    if _is_sparse(output):
        return int(output.shape[0]) if len(output.shape) else None
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

    Raises BadAnswer for what has no JSON form.
    """
    if isinstance(output, np.ndarray) and output.dtype.kind in _DIRECT:
        return output.tolist()
    if _is_pandas(output):
        frame = output if hasattr(output, "columns") else output.to_frame()
        return plain(frame.to_dict(orient="records"))
    if _is_sparse(output):
        return jsonable(np.asarray(output.toarray()))
    return plain(output.tolist() if isinstance(output, np.ndarray) else output)


def plain(value: Any) -> Any:
    """One value after the rules of MLflow's NumpyEncoder; raises BadAnswer."""
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
        _check_cells(value)
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, bytes | bytearray):
        return base64.encodebytes(value).decode("ascii")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if hasattr(type(value), "model_dump"):
        return plain(value.model_dump())
    if _is_pandas(value) or _is_sparse(value):
        _check_cells(value)
        return jsonable(value)
    if type(value).__name__ == "NAType":  # what pandas has for a missing number that is whole
        return None
    raise BadAnswer(
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
    raise BadAnswer(
        f"The model answered with an object that has a {type(key).__name__} as a key; "
        "JSON allows strings."
    )


def _flat(output: Any) -> list[Any] | None:
    """One number of Python for each row, if that is what the output has."""
    if type(output) is np.ndarray and output.ndim == 1 and output.size < _FEW:
        found: list[Any] = output.tolist()
        return found if output.dtype.kind in _NUMBERS else None
    if type(output) is list and len(output) < _FEW and _SINGLE.issuperset(map(type, output)):
        return output
    return None


def _jsonable(output: Any) -> Any:
    try:
        return jsonable(output)
    except RecursionError:
        raise BadAnswer(
            "The model's answer nests too deeply to be written as JSON; perhaps it contains itself."
        ) from None


def _body(value: Any) -> bytes:
    written = _json(value)
    if len(written) > MAX_ANSWER:
        raise _too_large(f"{len(written)} bytes")
    return _HEAD + written + _TAIL


def _check_cells(output: Any) -> None:
    """Refuse what can't but be too large while it is small: as Python's numbers it takes 16 times
    the room, and out of a sparse matrix any number of times.
    """
    shape = getattr(output, "shape", None)
    if isinstance(shape, tuple) and (isinstance(output, np.ndarray) or _is_tabular(output)):
        cells = math.prod(shape)
        if cells * 2 > MAX_ANSWER:  # one digit and a comma
            raise _too_large(f"{cells} values")


def _too_large(found: str) -> BadAnswer:
    return BadAnswer(
        f"The model's answer is too large to send: {found}, where {MAX_ANSWER} bytes may be sent."
    )


def _json(value: Any) -> bytes:
    try:
        return _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadAnswer(f"The model's answer can't be written as JSON: {error}.") from error


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


def _is_tabular(output: Any) -> bool:
    return _is_pandas(output) or _is_sparse(output)


def _is_sparse(output: Any) -> bool:
    """True for SciPy's sparse matrices and arrays."""
    return hasattr(output, "toarray") and hasattr(output, "nnz")


def _is_pandas(output: Any) -> bool:
    # A model that returns pandas objects has imported it.
    pd = sys.modules.get("pandas")
    return pd is not None and isinstance(output, pd.DataFrame | pd.Series)
