"""What a model's ``MLmodel`` file says of it: how it is loaded, what it takes, an example.

It reads the file and never imports MLflow or the model: seconds of start-up depend on that.
"""

import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["Card", "Column", "ColumnType", "Tensor", "read_card"]


class ColumnType(Enum):
    """The types of columns in MLflow's column-based signatures."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    LONG = "long"
    FLOAT = "float"
    DOUBLE = "double"
    STRING = "string"
    BINARY = "binary"
    DATETIME = "datetime"
    #: Arrays, objects and maps; `Column.nested` says of what.
    NESTED = "nested"


_SIMPLE = {each.value: each for each in ColumnType if each.value != "nested"}
_NESTED = frozenset(("array", "object", "map", "any"))


@dataclass(frozen=True, slots=True)
class Column:
    """One named input."""

    name: str
    type: ColumnType
    required: bool = True
    #: The type as the signature writes it, where it is a nested one.
    nested: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input that is an array of numbers, booleans or strings."""

    #: None when the signature has just one and does not name it.
    name: str | None
    dtype: str
    #: -1 where any length will do.
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """The facts of one model directory."""

    path: Path
    #: The ``python_function`` flavour as it stands in the file.
    pyfunc: dict[str, Any]
    #: The ``sklearn`` flavour as it stands in the file; empty for other models.
    sklearn: dict[str, Any]
    #: Inputs in signature order; empty unless all of them are named and have types.
    columns: tuple[Column, ...]
    #: True when the signature declares ``params``.
    has_params: bool
    #: True when the signature came from type hints: then the model itself checks its input.
    hinted: bool
    #: A request body that the author of the model left as an example.
    example: bytes | None
    #: Inputs of a signature of tensors; empty for others.
    tensors: tuple[Tensor, ...] = ()
    #: The signature's ``params`` as it writes them.
    params: tuple[dict[str, Any], ...] = ()


def read_card(path: Path) -> Card:
    """Read the ``MLmodel`` file in a directory.

    Raises OSError when there is none and ValueError when it can't be used.
    """
    # MLflow itself needs yaml, so every model's environment has it; msgspec reads through it.
    document = msgspec.yaml.decode((path / "MLmodel").read_bytes())
    named = document.get("flavors") if isinstance(document, dict) else None
    flavors: dict[str, Any] = named if isinstance(named, dict) else {}
    pyfunc = flavors.get("python_function")
    if not pyfunc:
        raise ValueError(f"the model in {path.name} has no python_function flavour to serve")
    signature = document.get("signature") or {}
    return Card(
        path=path,
        pyfunc=pyfunc,
        sklearn=flavors.get("sklearn") or {},
        columns=_columns(signature.get("inputs")),
        has_params=bool(signature.get("params")),
        hinted=bool(
            document.get("is_signature_from_type_hint") or document.get("type_hint_from_example")
        ),
        example=_example(path, document.get("saved_input_example_info") or {}),
        tensors=_tensors(signature.get("inputs")),
        params=tuple(msgspec.json.decode(signature.get("params") or "[]")),
    )


def _columns(inputs: str | None) -> tuple[Column, ...]:
    if not inputs:
        return ()
    columns = []
    for each in msgspec.json.decode(inputs):
        type_, name, nested = _SIMPLE.get(each.get("type")), each.get("name"), None
        if each.get("type") in _NESTED:
            type_, nested = ColumnType.NESTED, each
        if type_ is None or not isinstance(name, str):
            return ()
        # Models of MLflow 1 and 2.0 say "optional" where later ones say "required".
        required = each.get("required", not each.get("optional", False))
        columns.append(Column(name, type_, required, nested))
    if len({column.name for column in columns}) != len(columns):
        return ()
    return tuple(columns)


def _tensors(inputs: str | None) -> tuple[Tensor, ...]:
    found = []
    for each in msgspec.json.decode(inputs or "[]"):
        if each.get("type") != "tensor":
            return ()
        spec = each["tensor-spec"]
        found.append(Tensor(each.get("name"), spec["dtype"], tuple(spec["shape"])))
    return tuple(found)


def _example(path: Path, saved: dict[str, Any]) -> bytes | None:
    serving = saved.get("serving_input_path")
    if serving and (path / serving).is_file():
        return _without_nan(Path(path / serving).read_bytes())
    artifact = saved.get("artifact_path")
    if artifact and saved.get("pandas_orient") == "split" and (path / artifact).is_file():
        return _without_nan(b'{"dataframe_split": ' + Path(path / artifact).read_bytes() + b"}")
    return None


def _without_nan(content: bytes) -> bytes:
    """MLflow writes missing numbers as NaN, which is no JSON; here they become null."""
    return msgspec.json.encode(json.loads(content))
