"""A loaded model answers as `mlflow.pyfunc` does in-process, and says which are safe to batch."""

import json
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serinus.errors import BadRequest
from serinus.replica.answer import body
from serinus.replica.batching import Proof, prove
from serinus.replica.card import read_card
from serinus.replica.loaded import Model
from serinus.replica.model import load
from serinus.replica.protocol import Format
from tests.models import flights, iris, official, saved

_LOADED: dict[str, Model] = {}


def _load(name: str) -> Model:
    if name not in _LOADED:
        _LOADED[name] = load(saved(name))
    return _LOADED[name]


def _proof(name: str) -> Proof:
    model = _load(name)
    assert model.example is not None
    return prove(model.intake, model.predict, model.example, Random(0))  # noqa: S311


def split(frame: pd.DataFrame) -> dict[str, Any]:
    """A frame as a request."""
    plain = frame.astype(object).where(frame.notna(), None).to_dict("split")
    return {"dataframe_split": json.loads(json.dumps(plain, default=pd.Timestamp.isoformat))}


def _ask(model: Model, request: Any, *, params: Any = None) -> Any:
    unit = model.intake.parse(json.dumps(request).encode(), Format.JSON)
    return model.predict(model.intake.join([unit]), params or unit.params)


@pytest.mark.parametrize(
    ("name", "make"),
    [("flights-1", flights), ("flights-2", flights), ("iris", iris), ("iris-proba", iris)],
)
@pytest.mark.parametrize("rows", [1, 2, 64])
def test_the_answer_is_mlflows_bit_for_bit(name: str, make: Any, rows: int) -> None:
    model, theirs = _load(name), official(name)
    frame = make(128, seed=11)
    for at in range(0, 128, max(rows, 8)):
        part = frame.iloc[at : at + rows].reset_index(drop=True)
        got = _ask(model, split(part))
        assert got.dtype == theirs.predict(part).dtype
        assert got.tobytes() == theirs.predict(part).tobytes()


def test_a_frame_of_many_types_reaches_a_pyfunc_as_mlflow_would_hand_it_over() -> None:
    frame = flights(6, seed=1)
    got, theirs = _ask(_load("echo"), split(frame)), official("echo").predict(frame)
    assert body(got) == body(theirs)
    assert got["types"][0].startswith("float64,float64,")


def test_models_of_plain_sklearn_load_without_mlflow(tmp_path: Path) -> None:
    import os
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from serinus.replica.model import load;"
        f"load(Path({str(saved('flights-1'))!r})); sys.exit('mlflow' in sys.modules)"
    )
    path = str(Path(__file__).parents[3] / "src")
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 0


def test_only_blocks_of_doubles_that_give_the_same_bits_skip_the_frame() -> None:
    assert isinstance(_load("iris").intake.join([_example("iris")]), np.ndarray)
    assert isinstance(_load("flights-1").intake.join([_example("flights-1")]), pd.DataFrame)


@pytest.mark.parametrize(
    "name", ["flights-1", "flights-2", "iris", "iris-proba", "constant", "echo"]
)
def test_models_that_answer_row_by_row_are_batched(name: str) -> None:
    proof = _proof(name)
    assert proof.batched, proof.reason


@pytest.mark.parametrize("name", ["demeaned", "ranked", "counting", "random"])
def test_models_that_look_at_other_rows_or_calls_are_not(name: str) -> None:
    proof = _proof(name)
    assert not proof.batched
    assert "together and alone differ" in proof.reason


@pytest.mark.parametrize("name", ["miscounts", "raises"])
def test_models_that_misbehave_on_a_marker_are_batched_as_long_as_it_is_away(name: str) -> None:
    assert _proof(name).batched


def test_a_tensor_model_is_read_strictly_and_batched() -> None:
    model = _load("tensor")
    assert _ask(model, {"inputs": [[1, 2, 3], [4, 5, 6]]}).tolist() == [1.0, 1.0]
    assert _proof("tensor").batched
    with pytest.raises(BadRequest, match=r'expected a number or null .*, got the string "a"'):
        _ask(model, {"inputs": [["a", 2, 3]]})
    with pytest.raises(BadRequest, match="no rows"):
        _ask(model, {"inputs": []})


def test_params_reach_the_model_with_their_defaults() -> None:
    model, theirs = _load("echo-params"), official("echo-params")
    frame = pd.DataFrame({"x": [1.0], "y": [2.0]})
    for params in (None, {"k": 5}):
        got = _ask(model, {**split(frame), "params": params})
        assert body(got) == body(theirs.predict(frame, params))
        assert ("('k', 5)" in got["params"][0]) == bool(params)


def test_without_a_signature_requests_are_what_mlflows_server_makes_of_them() -> None:
    from mlflow.pyfunc.scoring_server import invocations

    model = _load("no-signature")
    request = {"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"], [2.5, None]]}}
    theirs = invocations(json.dumps(request), "application/json", official("no-signature"), None)
    assert json.loads(body(_ask(model, request))) == json.load(StringIO(theirs.response))
    assert model.no_example == "the model was logged without an input example"


def test_a_model_that_cannot_load_says_so_in_its_own_words() -> None:
    with pytest.raises(RuntimeError, match="the weights of this model are missing"):
        load(saved("unloadable"))


def test_a_directory_without_a_servable_flavour_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_card(tmp_path)
    (tmp_path / "MLmodel").write_text("flavors:\n  sklearn: {}\n")
    with pytest.raises(ValueError, match="no python_function flavour"):
        read_card(tmp_path)


@pytest.mark.parametrize("text", ["", "- 1\n", "flavors: 3\n", "run_id: x\n"])
def test_a_file_without_flavours_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(ValueError, match="no python_function flavour"):
        read_card(tmp_path)


def test_loading_leaves_the_model_as_it_was() -> None:
    path = saved("flights-1")
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    load(path)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


def test_a_model_with_type_hints_checks_its_own_input() -> None:
    model, theirs = _load("hinted"), official("hinted")
    assert _ask(model, {"inputs": ["a", "b"]}) == theirs.predict(["a", "b"]) == ["A", "B"]
    with pytest.raises(BadRequest, match="send its input as 'inputs'"):
        _ask(model, {"instances": ["a"]})


def test_csv_for_a_model_without_signature_is_read_as_mlflow_reads_it() -> None:
    unit = _load("no-signature").intake.parse(b"a,b\n1,x\n2,y\n", Format.CSV)
    assert unit.data.to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}
    with pytest.raises(BadRequest, match="can't be read as CSV"):
        _load("no-signature").intake.parse(b"", Format.CSV)


def _example(name: str) -> Any:
    example = _load(name).example
    assert example is not None
    return example
