"""The signature of an MLflow model, from the text of its ``MLmodel`` file.

It reads; it must never import MLflow or the model.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from serinus.errors import InvalidParameterValue
from serinus.parity.contract import Field, Kind, Nulls, Type

__all__ = ["LOGICAL", "Input", "ModelFile", "parse_inputs", "read_model_file", "to_field"]

_MAX_MODEL_FILE = 64 * 1024 * 1024
_WIRE = {
    Kind.NUMBER: ["number"],
    Kind.WHOLE: ["number"],
    Kind.FLAG: ["boolean"],
    Kind.TEXT: ["string"],
    Kind.INSTANT: ["string"],
    Kind.OTHER: ["array", "object"],
}
#: Types of signatures → what they are.
LOGICAL = {
    "boolean": Kind.FLAG,
    "integer": Kind.WHOLE,
    "long": Kind.WHOLE,
    "float": Kind.NUMBER,
    "double": Kind.NUMBER,
    "string": Kind.TEXT,
    "datetime": Kind.INSTANT,
}
_NULLABLE = frozenset({Kind.NUMBER, Kind.TEXT, Kind.INSTANT})


@dataclass(frozen=True)
class Input:
    """One named value of a signature."""

    name: str
    #: One of `LOGICAL`, or ``tensor:<dtype>``, or another word that MLflow uses.
    type: str
    required: bool = True


@dataclass(frozen=True)
class ModelFile:
    """What ``MLmodel`` says, as far as contracts need it."""

    document: dict[str, Any]
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Input, ...] = ()
    #: True when the signature is one of arrays, without names of columns.
    tensor: bool = False
    flavors: dict[str, Any] = field(default_factory=dict)

    @property
    def predict(self) -> str:
        """The method that answers."""
        return str((self.flavors.get("python_function") or {}).get("predict_fn") or "predict")

    @property
    def flavor(self) -> str:
        """The flavour beside ``python_function``, or that."""
        return next((name for name in self.flavors if name != "python_function"), "python_function")


def read_model_file(directory: Path) -> ModelFile:
    """Read ``MLmodel``; raises InvalidParameterValue when there is none or it can't be used."""
    path = directory / "MLmodel"
    if not path.is_file():
        raise InvalidParameterValue(
            f"There is no MLmodel file in {directory}; name the directory that mlflow saved the "
            "model into."
        )
    if path.stat().st_size > _MAX_MODEL_FILE:
        raise InvalidParameterValue(f"{path} is larger than {_MAX_MODEL_FILE} bytes.")
    try:
        document = msgspec.yaml.decode(path.read_bytes())
        signature = document.get("signature") or {}
        inputs = parse_inputs(signature.get("inputs"))
        outputs = parse_inputs(signature.get("outputs"))
        flavors = document.get("flavors") or {}
    except (msgspec.MsgspecError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise InvalidParameterValue(
            f"{path} can't be read ({error}); log the model again with mlflow."
        ) from error
    tensor = any(each.type.startswith("tensor:") for each in inputs)
    return ModelFile(document, inputs, outputs, tensor, dict(flavors))


def parse_inputs(text: str | None) -> tuple[Input, ...]:
    """The inputs in a signature's JSON text; raises ValueError or TypeError for other text."""
    if not text:
        return ()
    found = []
    for at, each in enumerate(msgspec.json.decode(text, type=list[dict[str, Any]])):
        type_ = str(each.get("type") or "other")
        if type_ == "tensor":
            type_ = f"tensor:{(each.get('tensor-spec') or {}).get('dtype', '')}"
        name = each.get("name")
        required = bool(each.get("required", not each.get("optional", False)))
        found.append(Input(str(at) if name is None else str(name), type_, required))
    return tuple(found)


def to_field(each: Input) -> Field:
    """What the signature alone says of an input."""
    logical = LOGICAL.get(each.type, Kind.OTHER)
    nullable = logical in _NULLABLE
    return Field(
        name=each.name,
        required=each.required,
        type=Type(
            logical=logical,
            wire=_WIRE[logical],
            physical=each.type,
            coerce="lossless" if logical in (Kind.WHOLE, Kind.NUMBER) else "none",
        ),
        null=Nulls(allowed=nullable, policy="model-native" if nullable else "reject"),
    )
