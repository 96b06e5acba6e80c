"""From what a model returned to named tensors, for answers of the Open Inference Protocol.

NaN and ±Infinity are written as null, as in every other answer.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from serinus.replica.answer import MAX_ANSWER, BadAnswer, plain
from serinus.replica.datatypes import datatype_of

__all__ = ["Named", "Output", "outputs_of", "part_of"]

_NO_NAME = "output-1"


@dataclass(frozen=True, slots=True)
class Named:
    """One output as the signature declares it."""

    name: str
    datatype: str
    shape: list[int]


@dataclass(frozen=True, slots=True)
class Output:
    """One tensor of an answer."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]

    def written(self) -> dict[str, Any]:
        """As the protocol has it."""
        return {
            "name": self.name,
            "datatype": self.datatype,
            "shape": self.shape,
            "data": self.data,
        }


def outputs_of(output: Any, names: Sequence[str]) -> list[Output]:
    """The tensors that an output is; ``names`` are those that the signature declares.

    Raises BadAnswer for what is none.
    """
    sole = names[0] if len(names) == 1 else _NO_NAME
    pd = sys.modules.get("pandas")
    if pd is not None and isinstance(output, pd.DataFrame):
        return [_column(str(name), output[name]) for name in output.columns]
    if pd is not None and isinstance(output, pd.Series):
        return [_column(str(output.name) if output.name is not None else sole, output)]
    if isinstance(output, dict):
        return [_tensor(str(name), each) for name, each in output.items()]
    if isinstance(output, list) and output and all(isinstance(each, dict) for each in output):
        return _records(output)
    return [_tensor(sole, output)]


def part_of(output: Any, begin: int, end: int) -> Any:
    """The rows of an output that are one request's."""
    if isinstance(output, dict):
        return {name: part_of(each, begin, end) for name, each in output.items()}
    return output.iloc[begin:end] if hasattr(output, "iloc") else output[begin:end]


def _records(rows: list[dict[Any, Any]]) -> list[Output]:
    if any(row.keys() != rows[0].keys() for row in rows):
        raise BadAnswer("The model answered with rows of different fields; no tensor holds them.")
    return [_tensor(str(name), [row[name] for row in rows]) for name in rows[0]]


def _column(name: str, column: Any) -> Output:
    if column.dtype.kind in "biuf" and isinstance(column.dtype, np.dtype):
        return _tensor(name, column.to_numpy())
    return _elements(name, column.tolist(), [len(column)])


def _tensor(name: str, value: Any) -> Output:
    if hasattr(value, "toarray"):  # a sparse matrix
        value = value.toarray()
    if not isinstance(value, np.ndarray):
        value = plain(value)
        if value is None or isinstance(value, dict):
            raise BadAnswer(f"The model's output '{name}' is no tensor.")
        try:
            value = np.asarray(value, dtype=None if _is_alike(value) else object)
        except ValueError:
            raise BadAnswer(
                f"The model's output '{name}' is a list of lists of different lengths, which no "
                "tensor can hold."
            ) from None
    # A number alone is a tensor of one element.
    shape = list(value.shape) or [1]
    if value.size > MAX_ANSWER // 2:
        raise BadAnswer(
            f"The model's output '{name}' has {value.size} elements: too large to send."
        )
    if value.dtype.kind == "M":
        return Output(name, "BYTES", shape, np.datetime_as_string(value).ravel().tolist())
    if value.dtype.kind in "biufU" and value.dtype != np.longdouble:
        # msgspec writes null for what is not finite.
        return Output(name, datatype_of(value.dtype), shape, value.ravel().tolist())
    return _elements(name, value.ravel().tolist(), shape)


def _is_alike(value: Any) -> bool:
    """Whether NumPy finds one kind for all elements without changing any of them."""
    kinds: set[type] = set()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        else:
            kinds.add(type(each))
    return len(kinds) <= 1


def _elements(name: str, values: list[Any], shape: list[int]) -> Output:
    """A tensor of objects: of the narrowest datatype that holds them all."""
    flat = [plain(each) for each in values]
    kinds = {type(each) for each in flat} - {type(None)}
    if kinds == {bool} and None not in flat:
        datatype = "BOOL"
    elif kinds == {int} and None not in flat:
        datatype = "INT64"
    elif kinds <= {int, float}:
        datatype = "FP64"
    elif kinds == {str}:
        datatype = "BYTES"
    else:
        # Arrays, objects, or kinds that don't go together: as the JSON that they are.
        datatype = "BYTES"
        flat = [
            each if isinstance(each, str) else msgspec.json.encode(each).decode() for each in flat
        ]
    return Output(name, datatype, shape, flat)
