"""The packages of `optimize` come into an environment where they can, and never at its cost."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from serinus.engine.environment import EnvironmentFailed
from serinus.engine.optimize import prepare, stage_key
from serinus.entities import EnvironmentRef, ModelRef, Optimize

MODEL = ModelRef("d", "u", "u", ("scikit-learn==1.9.1",), "3.11.7")
PATH = Path("/nowhere")


class _Builder:
    """Builds anything, or nothing that needs ONNX."""

    def __init__(self, refused: str = "") -> None:
        self.asked: list[tuple[str, ...]] = []
        self._refused = refused

    def prepare(
        self, model: ModelRef, directory: Path, say: Callable[[str], None]
    ) -> EnvironmentRef:
        self.asked.append(model.requirements)
        if self._refused and any(line.startswith(self._refused) for line in model.requirements):
            raise EnvironmentFailed("They can't be installed together.")
        return EnvironmentRef(str(len(model.requirements)), "/python", "built")


def _names(lines: tuple[str, ...]) -> list[str]:
    return [line.partition(">")[0].partition("=")[0] for line in lines]


def test_the_packages_come_with_the_models_own_requirements() -> None:
    builder, said = _Builder(), list[str]()
    prepare(builder, MODEL, PATH, said.append, Optimize.ONNX)
    assert _names(builder.asked[0]) == ["scikit-learn", "onnx", "onnxruntime", "skl2onnx"]
    boosted = replace(MODEL, requirements=("xgboost==3.2.0",))
    prepare(builder, boosted, PATH, said.append, Optimize.ONNX)
    assert "onnxmltools" in _names(builder.asked[1])


def test_packages_that_can_not_be_had_cost_nothing() -> None:
    builder, said = _Builder("skl2onnx"), list[str]()
    found = prepare(builder, MODEL, PATH, said.append, Optimize.ONNX)
    assert (found.digest, len(builder.asked)) == ("1", 2)
    assert said[-1] == (
        "optimize: onnx: they can't be added (They can't be installed together.) "
        "The original will serve."
    )
    with pytest.raises(EnvironmentFailed):
        prepare(_Builder("scikit"), MODEL, PATH, said.append, Optimize.ONNX)


def test_nothing_is_added_unasked_or_to_a_model_without_requirements() -> None:
    builder, said = _Builder(), list[str]()
    prepare(builder, MODEL, PATH, said.append)
    prepare(builder, replace(MODEL, requirements=()), PATH, said.append, Optimize.ONNX)
    assert builder.asked == [MODEL.requirements, ()]
    assert said == []


def test_both_forms_are_prepared_apart() -> None:
    assert stage_key(MODEL, Optimize.NONE) == "d"
    assert stage_key(MODEL, Optimize.ONNX) == "d+onnx"
