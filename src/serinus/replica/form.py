"""By which of several ways a replica asks its model, and why: values, and where they are kept.

It chooses nothing: `serinus.replica.model` does.
"""

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import msgspec

__all__ = ["Form", "Kept", "Standing", "keep", "kept", "packages"]


class Form(Enum):
    """How the model is asked."""

    #: Through `mlflow.pyfunc`, as MLflow's own server does.
    PYFUNC = "pyfunc"
    #: Past it, where the answers were proved to be the same.
    DIRECT = "direct"
    #: Converted, where the answers were proved to agree.
    ONNX = "onnx"


@dataclass(frozen=True, slots=True)
class Standing:
    """The form that serves and the reason, for people."""

    form: Form = Form.PYFUNC
    reason: str = ""
    #: What was found out on the way, line by line; for logs.
    report: tuple[str, ...] = ()


class Kept(msgspec.Struct, frozen=True):
    """What was found out of a model once, for its next replica in the same environment."""

    holds: bool
    reason: str
    report: list[str] = []
    #: See `packages`.
    packages: str = ""


def packages(path: Sequence[str] | None = None) -> str:
    """What is installed, as one digest: an answer may depend on any of it."""
    found: set[str] = {sys.version}
    for each in sys.path if path is None else path:
        if os.path.isdir(each):
            found.update(name for name in os.listdir(each) if name.endswith(".dist-info"))
    return hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest()


def kept(directory: Path | None, name: str) -> Kept | None:
    """What is known under a name, if it is still worth anything."""
    if directory is None:
        return None
    try:
        found = msgspec.json.decode((directory / f"{name}.json").read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError):
        return None
    return found if found.packages == packages() else None


def keep(directory: Path | None, name: str, found: Kept) -> None:
    """Remember it; a directory that can't be written only means to find it out again."""
    if directory is None:
        return
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = msgspec.json.encode(msgspec.structs.replace(found, packages=packages()))
        temporary = directory / f".{name}.{os.getpid()}.tmp"
        temporary.write_bytes(content)
        temporary.replace(directory / f"{name}.json")
    except OSError:
        return
