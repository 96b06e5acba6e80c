"""One row as a request of the Open Inference Protocol, as MLServer reads it. Pure."""

import json
from typing import Any

__all__ = ["columns_body", "tensor_body"]


def columns_body(columns: list[str], row: list[Any]) -> bytes:
    """A tensor for each column; together they are a pandas frame."""
    inputs = [
        {"name": name, "shape": [1, 1], **_typed(value), "data": [value]}
        for name, value in zip(columns, row, strict=True)
    ]
    return json.dumps({"parameters": {"content_type": "pd"}, "inputs": inputs}).encode()


def tensor_body(row: list[float]) -> bytes:
    """All columns as one tensor of floats."""
    tensor = {"name": "rows", "shape": [1, len(row)], "datatype": "FP64", "data": row}
    return json.dumps({"inputs": [tensor]}).encode()


def _typed(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"datatype": "BYTES", "parameters": {"content_type": "str"}}
    return {"datatype": "FP64" if isinstance(value, float) else "INT64"}
