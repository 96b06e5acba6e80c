"""Which requests may share a batch is settled when the model is loaded."""

from random import Random
from typing import Any

import pytest

from serinus.replica.card import Column, ColumnType
from serinus.replica.intake import ColumnIntake
from serinus.replica.launch import Launch
from serinus.replica.loaded import Model
from serinus.replica.protocol import Format
from serinus.replica.serving import prove_batching


def _model(predict: Any) -> Model:
    intake = ColumnIntake([Column("s", ColumnType.STRING), Column("x", ColumnType.DOUBLE)])
    example = intake.parse(b'{"inputs": {"s": ["a", "b"], "x": [1, 2]}}', Format.JSON)
    return Model(intake, lambda data, _params: predict(data), example)


def _launch(max_batch: int = 8) -> Launch:
    return Launch("r", "d", "m", "s", "t", "l", max_batch=max_batch)


def _keys(model: Model) -> set[Any]:
    bodies = (b'{"inputs": {"s": null, "x": 1}}', b'{"inputs": {"s": "a", "x": 1}}')
    return {model.intake.parse(body, Format.JSON).key for body in bodies}


@pytest.mark.parametrize(
    "predict",
    [
        lambda df: df["x"].to_numpy() + df["s"].isna(),
        lambda df: [f"{value!r} {df['s'].dtype}" for value in df["s"]],
    ],
    ids=["indifferent", "particular"],
)
def test_nulls_share_a_batch_with_strings_even_where_the_model_would_mind(predict: Any) -> None:
    model = _model(predict)
    proof = prove_batching(model, _launch(), Random(0))  # noqa: S311
    assert proof.batched, proof.reason
    assert len(_keys(model)) == 1


def test_batching_can_be_switched_off() -> None:
    proof = prove_batching(_model(len), _launch(max_batch=1), Random(0))  # noqa: S311
    assert (proof.batched, proof.reason) == (False, "batching is switched off")
