"""The proof finds models that look at other rows, at other calls, or at chance."""

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest

from serinus.replica.batching import Proof, prove
from serinus.replica.card import Column, ColumnType
from serinus.replica.intake import ColumnIntake
from serinus.replica.protocol import Format


def _prove(predict: Callable[[Any], Any], rows: bytes = b"[[1.5,2],[3,4.25]]") -> Proof:
    intake = ColumnIntake([Column("x", ColumnType.DOUBLE), Column("y", ColumnType.DOUBLE)])
    example = intake.parse(
        b'{"dataframe_split":{"columns":["x","y"],"data":' + rows + b"}}", Format.JSON
    )
    return prove(intake, lambda data, _params: predict(data), example, Random(0))  # noqa: S311


@pytest.mark.parametrize(
    "predict",
    [
        lambda df: df["x"].to_numpy() * 2,
        lambda df: df[["x", "y"]],
        lambda df: ["high" if x > 2 else "low" for x in df["x"]],
        lambda df: {"a": df["x"].to_numpy(), "b": list(df["y"])},
        lambda df: (df.to_numpy() @ np.array([[1 / 3], [1 / 7]])).astype(np.float32),
        lambda df: np.log(df["x"].abs().to_numpy() + 1),
    ],
    ids=range(6),
)
@pytest.mark.parametrize("rows", [b"[[1.5,2],[3,4.25]]", b"[[1.5,2]]"])
def test_row_by_row_models_pass(predict: Callable[[Any], Any], rows: bytes) -> None:
    assert _prove(predict, rows).batched


_STATE = {"calls": 0}


def _stateful(df: Any) -> Any:
    _STATE["calls"] += 1
    return [_STATE["calls"]] * len(df)


@pytest.mark.parametrize(
    "predict",
    [
        lambda df: (df - df.mean())["x"].to_numpy(),
        lambda df: df["x"].rank().to_numpy(),
        lambda df: df["x"].to_numpy() + 1e-6 * len(df),
        lambda df: df["x"].cumsum().to_numpy(),
        lambda df: np.sort(df["x"].to_numpy()),
        lambda df: df["x"].shift(fill_value=0.0).to_numpy(),
        lambda df: ["first" if at == 0 else "later" for at in range(len(df))],
        lambda df: df["x"].to_numpy() if len(df) < 60 else df["x"].to_numpy() + 1,
        lambda df: np.random.default_rng().random(len(df)),
        _stateful,
    ],
    ids=range(10),
)
@pytest.mark.parametrize("rows", [b"[[1.5,2],[3,4.25]]", b"[[1.5,2]]"])
def test_models_that_are_not_row_by_row_are_found(
    predict: Callable[[Any], Any], rows: bytes
) -> None:
    proof = _prove(predict, rows)
    assert not proof.batched
    assert "differ" in proof.reason


@pytest.mark.parametrize(
    "predict",
    [lambda df: "text", lambda df: float(df["x"].sum()), lambda df: [1, 2, 3], lambda df: {"n": 1}],
    ids=range(4),
)
def test_answers_without_rows_are_not_batched(predict: Callable[[Any], Any]) -> None:
    assert not _prove(predict).batched


def test_a_model_that_refuses_perturbed_rows_is_proved_with_the_others() -> None:
    def predict(df: Any) -> Any:
        if (df["x"] < 0).any():
            raise ValueError("negative")
        return df["x"].to_numpy()

    assert _prove(predict).batched


def test_a_slow_model_is_asked_less_often() -> None:
    intake = ColumnIntake([Column("x", ColumnType.DOUBLE)])
    example = intake.parse(b'{"dataframe_records":[{"x":1},{"x":2}]}', Format.JSON)
    asked: list[int] = []

    def predict(data: Any, _params: Any) -> Any:
        asked.append(len(data))
        return data["x"].to_numpy()

    proof = prove(intake, predict, example, Random(0), lambda: float(len(asked)))  # noqa: S311
    assert proof.batched
    assert asked.count(1) == 8
