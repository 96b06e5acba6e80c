"""The Open Inference Protocol, version 2, for one model: tensors as JSON in, tensors as JSON out.

What a tensor says it is must fit the model's signature without loss; no value is turned into
another one, and nothing is guessed from where a column stands. The model's name is the gateway's.
"""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from serinus.errors import BadRequest
from serinus.replica.answer import MAX_ANSWER, BadAnswer
from serinus.replica.card import Card, Column, ColumnType, Tensor
from serinus.replica.datatypes import DATATYPES, check_data, datatype_of, fits
from serinus.replica.envelope import read_json
from serinus.replica.tensors import Named, outputs_of, part_of
from serinus.replica.unit import Intake, Unit

__all__ = ["Asked", "OpenInference"]

_BYTES = frozenset((ColumnType.STRING, ColumnType.BINARY, ColumnType.DATETIME))
_NUMBERS = {
    ColumnType.BOOLEAN: "bool",
    ColumnType.INTEGER: "int32",
    ColumnType.LONG: "int64",
    ColumnType.FLOAT: "float32",
    ColumnType.DOUBLE: "float64",
}
#: Parameters of a request that belong to the protocol and its extensions, never to a model.
_RESERVED = frozenset(("binary_data_output", "content_type", "headers", "priority", "timeout"))
_NO_BINARY = (
    "tensors are read as JSON only: send them in 'data' (in Triton's client with "
    "binary_data=False), not as binary data or from shared memory"
)


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: Any = msgspec.UNSET
    parameters: dict[str, Any] = {}


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Request(msgspec.Struct):
    inputs: list[_Input]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[_Output] | None = None


class Asked(msgspec.Struct, frozen=True):
    """What an answer must have beside the prediction."""

    id: str
    #: Names of the outputs that are wanted; None: all.
    outputs: tuple[str, ...] | None


class OpenInference:
    """Reads requests into units of the model's own intake and writes its outputs."""

    def __init__(self, card: Card, intake: Intake) -> None:
        self._intake = intake
        self._columns = {column.name: column for column in card.columns}
        self._tensors = {each.name: each for each in card.tensors}
        self._declared = declared_outputs(card.path)
        #: The answer to the question what the model takes and gives.
        self.metadata = msgspec.json.encode(
            {
                "platform": "mlflow_pyfunc",
                "inputs": [_shown(each) for each in card.columns or card.tensors],
                "outputs": [_shown(each) for each in self._declared],
            }
        )

    def read(self, body: bytes) -> Unit:
        """The unit in a request; raises BadRequest."""
        try:
            request = msgspec.convert(read_json(body), _Request)
        except msgspec.ValidationError as error:
            raise BadRequest(f"This is no inference request: {error}.") from None
        if not request.inputs:
            raise BadRequest("The request has no inputs; send at least one tensor.")
        tensors: dict[str, Any] = {}
        for each in request.inputs:
            if each.name in tensors:
                raise BadRequest(f"The request has the input '{each.name[:60]}' twice.")
            tensors[each.name] = self._values(each)
        params = {
            name: value for name, value in request.parameters.items() if name not in _RESERVED
        }
        unit = self._intake.take(tensors, params or None)
        wanted = request.outputs
        unit.asked = Asked(request.id, tuple(each.name for each in wanted) if wanted else None)
        return unit

    def write(self, output: Any, asked: Asked) -> bytes:
        """The answer's body, but for the model's name; raises BadAnswer and BadRequest."""
        outputs = outputs_of(output, [each.name for each in self._declared])
        if asked.outputs is not None:
            outputs = [_wanted(outputs, name) for name in asked.outputs]
        answer: dict[str, Any] = {"id": asked.id} if asked.id else {}
        answer["outputs"] = [each.written() for each in outputs]
        try:
            written = msgspec.json.encode(answer)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise BadAnswer(f"The model's answer can't be written as JSON: {error}.") from error
        if len(written) > MAX_ANSWER:
            raise BadAnswer(f"The model's answer has {len(written)} bytes: too large to send.")
        return written

    def rewritten(self, bodies: list[bytes], output: Any, units: Sequence[Unit]) -> list[bytes]:
        """The bodies of a batch, those of this protocol as it has them."""
        written, at = list(bodies), 0
        for number, unit in enumerate(units):
            rows = unit.rows or 0
            if unit.asked is not None:
                written[number] = self.write(part_of(output, at, at + rows), unit.asked)
            at += rows
        return written

    @staticmethod
    def refusal(body: bytes) -> bytes:
        """An error body of ours, as the protocol has it."""
        return msgspec.json.encode({"error": msgspec.json.decode(body)["message"]})

    def _values(self, tensor: _Input) -> Any:
        """The nested lists of a tensor, or the cells of a column."""
        name = tensor.name[:60]
        for parameter in tensor.parameters:
            if parameter.startswith(("binary_data", "shared_memory")):
                raise BadRequest(f"Input '{name}': {_NO_BINARY}.")
        if tensor.data is msgspec.UNSET:
            raise BadRequest(f"Input '{name}' has no 'data'; {_NO_BINARY}.")
        if tensor.datatype not in DATATYPES:
            raise BadRequest(
                f"Input '{name}': the datatype {tensor.datatype[:20]!r} is not known; "
                f"there are {', '.join(DATATYPES)}."
            )
        shape = tensor.shape
        if any(size < 0 for size in shape):
            raise BadRequest(f"Input '{name}': the shape {shape} has a negative size.")
        flat = _flat(tensor.data, shape, name)
        try:
            check_data(flat, tensor.datatype)
        except ValueError as error:
            raise BadRequest(f"Input '{name}': {error}.") from None
        column = self._columns.get(tensor.name)
        if column is not None:
            return _cells(flat, tensor, column)
        self._check_tensor(tensor)
        return _nested(flat, shape)

    def _check_tensor(self, tensor: _Input) -> None:
        sole = len(self._tensors) == 1 and None in self._tensors
        spec = self._tensors.get(None if sole else tensor.name)
        if spec is not None and not fits(tensor.datatype, np.dtype(spec.dtype)):
            raise _misfit(tensor, datatype_of(np.dtype(spec.dtype)))


def declared_outputs(path: Path) -> tuple[Named, ...]:
    """Names and types of a model's outputs by its signature."""
    document = msgspec.yaml.decode((path / "MLmodel").read_bytes())
    outputs = (document.get("signature") or {}).get("outputs")
    found = []
    for at, each in enumerate(msgspec.json.decode(outputs or "[]")):
        name = str(each.get("name") or f"output-{at + 1}")
        spec = each.get("tensor-spec")
        if spec is not None:
            found.append(Named(name, datatype_of(np.dtype(spec["dtype"])), list(spec["shape"])))
        else:
            found.append(Named(name, _COLUMN_DATATYPES.get(str(each.get("type")), "BYTES"), [-1]))
    return tuple(found)


_COLUMN_DATATYPES = {type_.value: datatype_of(np.dtype(name)) for type_, name in _NUMBERS.items()}


def _shown(each: Column | Tensor | Named) -> dict[str, Any]:
    if isinstance(each, Named):
        return {"name": each.name, "datatype": each.datatype, "shape": each.shape}
    if isinstance(each, Tensor):
        datatype = datatype_of(np.dtype(each.dtype))
        return {"name": each.name or "input-1", "datatype": datatype, "shape": list(each.shape)}
    return {
        "name": each.name,
        "datatype": _COLUMN_DATATYPES.get(each.type.value, "BYTES"),
        "shape": [-1],
    }


def _flat(data: Any, shape: Sequence[int], name: str) -> list[Any]:
    """The elements in row-major order, however deep they were sent."""
    wanted = prod(shape)
    level = data if isinstance(data, list) else [data]
    depth = 1
    while level and all(isinstance(each, list) for each in level):
        if depth > len(shape) or any(
            len(each) != shape[depth] for each in level if depth < len(shape)
        ):
            raise BadRequest(f"Input '{name}': its data does not have the shape {list(shape)}.")
        level = [inner for each in level for inner in each]
        depth += 1
    if len(level) != wanted or any(isinstance(each, list) for each in level):
        raise BadRequest(
            f"Input '{name}': the shape {list(shape)} has {wanted} elements, its data {len(level)}."
        )
    return level


def _cells(flat: list[Any], tensor: _Input, column: Column) -> list[Any]:
    """The cells of a column: shape [n] or [n, 1]."""
    shape = tensor.shape
    if len(shape) not in (1, 2) or shape[1:] not in ([], [1]):
        raise BadRequest(
            f"Input '{column.name}' is a column, so its shape must be [rows] or [rows, 1], "
            f"not {shape}."
        )
    if column.type is ColumnType.NESTED:
        raise BadRequest(
            f"Input '{column.name}' is made of arrays or objects, which no tensor can hold; "
            "send the request to /serving-endpoints/NAME/invocations."
        )
    if column.type in _BYTES:
        if tensor.datatype != "BYTES":
            raise _misfit(tensor, "BYTES")
    elif not fits(tensor.datatype, np.dtype(_NUMBERS[column.type])):
        raise _misfit(tensor, datatype_of(np.dtype(_NUMBERS[column.type])))
    return flat


def _nested(flat: list[Any], shape: Sequence[int]) -> Any:
    level: list[Any] = flat
    for size in reversed(shape[1:]):
        if size == 0:
            return [[] for _ in range(shape[0])]
        level = [level[at : at + size] for at in range(0, len(level), size)]
    return level if shape else level[0]


def _misfit(tensor: _Input, wanted: str) -> BadRequest:
    return BadRequest(
        f"Input '{tensor.name}': the model takes {wanted}, and {tensor.datatype} does not fit "
        "into it without loss.",
        details=[{"field": tensor.name, "expected": wanted, "got": tensor.datatype}],
    )


def _wanted(outputs: Sequence[Any], name: str) -> Any:
    for each in outputs:
        if each.name == name:
            return each
    names = ", ".join(f"'{each.name}'" for each in outputs[:20])
    raise BadRequest(f"The model has no output '{name[:60]}'; it has {names}.")
