"""What `optimize` asks of an engine: the packages in the environment.

Whether a converted model may serve is decided in its replica; nothing here fails because of it.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from serinus.engine.environment import EnvironmentFailed
from serinus.entities import EnvironmentRef, ModelRef, Optimize

__all__ = ["Builder", "prepare", "stage_key"]

#: What the conversion needs beside the model's own requirements; the extra `onnx` names the same.
PACKAGES = ("onnx>=1.18", "onnxruntime>=1.22", "skl2onnx>=1.19")
_BOOSTERS = ("xgboost", "lightgbm")
_FOR_BOOSTERS = "onnxmltools>=1.14"


class Builder(Protocol):
    """What finds or makes an environment; see `serinus.engine.environment.EnvironmentBuilder`."""

    def prepare(
        self, model: ModelRef, directory: Path, say: Callable[[str], None]
    ) -> EnvironmentRef: ...


def stage_key(model: ModelRef, optimize: Optimize) -> str:
    """By what a preparation is known."""
    return model.digest if optimize is Optimize.NONE else f"{model.digest}+{optimize.value}"


def prepare(
    builder: Builder,
    model: ModelRef,
    directory: Path,
    say: Callable[[str], None],
    optimize: Optimize = Optimize.NONE,
) -> EnvironmentRef:
    """The model's environment, with the packages of ``optimize`` if they can be had.

    Raises EnvironmentFailed only where the model's own requirements can't be met.
    """
    if optimize is Optimize.NONE or not model.requirements:
        return builder.prepare(model, directory, say)
    say("optimize: onnx: its environment is to have the packages for the conversion, too")
    try:
        return builder.prepare(_with_packages(model), directory, say)
    except EnvironmentFailed as error:
        say(f"optimize: onnx: they can't be added ({error}) The original will serve.")
        return builder.prepare(model, directory, say)


def _with_packages(model: ModelRef) -> ModelRef:
    more = list(PACKAGES)
    if any(line.lower().startswith(_BOOSTERS) for line in model.requirements):
        more.append(_FOR_BOOSTERS)
    return replace(model, requirements=(*model.requirements, *more))
