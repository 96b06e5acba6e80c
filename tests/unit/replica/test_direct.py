"""A way below `mlflow.pyfunc` must earn its use by the model's own rows, at load, or not at all."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from serinus.replica.apart import Apart, apart
from serinus.replica.card import Column, ColumnType
from serinus.replica.form import Form, Kept, keep, kept
from serinus.replica.layout import Layout, block_type
from serinus.replica.loaded import Source
from serinus.replica.model import load, load_from
from serinus.replica.protocol import Format
from tests.models import official, save_guess, save_sklearn, saved, whole_numbers


def test_a_plain_model_goes_past_mlflow_because_its_rows_got_the_same_bits() -> None:
    standing = load(saved("iris")).standing
    assert standing.form is Form.DIRECT
    assert "rows got the same bits as from mlflow.pyfunc; it is given an array" in standing.reason


def test_a_plain_model_that_answers_otherwise_is_left_to_mlflow(tmp_path: Path) -> None:
    model = load(save_guess(tmp_path / "guess"))
    assert model.standing.form is Form.PYFUNC
    assert "past mlflow.pyfunc it answers otherwise: for " in model.standing.reason
    assert type(model.loaded).__module__.startswith("mlflow.")


def test_without_a_row_to_prove_it_with_a_plain_model_is_left_to_mlflow(tmp_path: Path) -> None:
    path = tmp_path / "bare"
    _without_example(path)
    model = load(path)
    assert model.standing.form is Form.PYFUNC
    assert "nothing to prove a shorter way with" in model.standing.reason


def _without_example(path: Path) -> None:
    import shutil

    import yaml

    shutil.copytree(saved("iris"), path)
    document = yaml.safe_load((path / "MLmodel").read_text())
    del document["saved_input_example_info"]
    (path / "MLmodel").write_text(yaml.safe_dump(document))


def test_what_was_proved_is_kept_for_the_next_replica(tmp_path: Path) -> None:
    source = Source(saved("iris"), forms=tmp_path / "forms")
    assert load_from(source).standing.form is Form.DIRECT
    found = kept(tmp_path / "forms", "direct")
    assert found is not None
    assert found.holds
    keep(tmp_path / "forms", "direct", Kept(False, "somebody said no"))
    again = load_from(source).standing
    assert again.form is Form.DIRECT
    assert again.reason.startswith("below mlflow.pyfunc's check of the schema")
    assert again.reason.endswith("(MLflow itself has to load it: somebody said no)")
    # Of other packages nothing is known.
    content = json.loads((tmp_path / "forms" / "direct.json").read_text())
    (tmp_path / "forms" / "direct.json").write_text(json.dumps({**content, "packages": "others"}))
    assert kept(tmp_path / "forms", "direct") is None


def test_whole_numbers_make_a_block_of_their_own_type(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame = whole_numbers()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    path = save_sklearn(tmp_path / "whole", pipeline.fit(frame, frame["a"] > 0), frame)
    model = load(path)
    assert model.example is not None
    block = model.intake.join([model.example])
    assert isinstance(block, np.ndarray)
    assert block.dtype == np.int64
    theirs = pipeline.predict(frame.head(5))
    assert model.predict(block, None).tolist() == theirs.tolist()


@pytest.mark.parametrize(
    ("types", "found"),
    [
        (["double", "double"], "float64"),
        (["double", "long", "integer"], "float64"),
        (["long", "long"], "int64"),
        (["integer"], "int32"),
        (["float"], "float32"),
        (["float", "double"], ""),
        (["long", "integer"], ""),
        (["double", "string"], ""),
        (["boolean", "boolean"], ""),
    ],
)
def test_a_block_has_the_type_that_the_frame_becomes_in_the_model(
    types: list[str], found: str
) -> None:
    columns = [Column(str(at), ColumnType(each)) for at, each in enumerate(types)]
    assert block_type(column.type for column in columns) == found
    if found:
        cells = tuple(2**31 - 1 - at for at in range(len(types)))
        layout = Layout(columns)
        block = layout.block([cells])
        assert block.dtype == found
        frame = layout.frame([(cell,) for cell in cells], 1)
        assert np.asarray(frame).tobytes() == block.tobytes()


@pytest.mark.parametrize("rows", [1, 2, 9])
@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize("type_", ["double", "float", "long", "integer"])
def test_numbers_are_those_that_numpy_makes(type_: str, null: bool, rows: int) -> None:
    """Of rows and of columns, which are written in another way where they are long."""
    whole = type_ in ("long", "integer")
    cells: list[list[float | None]] = [
        [at * 31 + row - 100 if whole else (at + 0.1) / (row + 3) for at in range(9)]
        for row in range(rows)
    ]
    if null and not whole:
        cells[-1][4] = None
    layout = Layout([Column(str(at), ColumnType(type_)) for at in range(9)])
    block = layout.block([tuple(row) for row in cells])
    frame = layout.frame(list(zip(*cells, strict=True)), rows)
    wanted = np.array(cells, dtype=block.dtype, order="F")
    assert block.dtype == block_type([ColumnType(type_)])
    assert block.flags.f_contiguous
    assert block.flags.writeable
    assert block.tobytes("F") == wanted.tobytes("F")
    assert frame.to_numpy().tobytes("F") == wanted.tobytes("F")


def test_a_null_is_refused_in_the_estimators_own_words_either_way() -> None:
    model = load(saved("iris"))
    names = [f"mean {at}" for at in range(30)]
    body = json.dumps({"dataframe_split": {"columns": names, "data": [[None] * 30]}}).encode()
    unit = model.intake.parse(body, Format.JSON)
    with pytest.raises(ValueError, match="Input X contains NaN") as ours:
        model.predict(model.intake.join([unit]), None)
    with pytest.raises(ValueError, match="Input X contains NaN") as theirs:
        official("iris").predict(pd.DataFrame([[np.nan] * 30], columns=names))
    assert str(ours.value) == str(theirs.value)


def test_a_copy_of_the_process_says_what_it_found_and_leaves_nothing() -> None:
    # What else the process of the tests has started, a database for one, is none of it.
    others = set(psutil.Process().children())
    assert apart(lambda: [str(os.getpid() != os.getppid()), "x" * 200_000], 20.0)[0] == "True"
    assert set(psutil.Process().children()) <= others


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (lambda: [str(1 / 0)], "ended without a word"),
        (lambda: os._exit(3), "ended without a word"),
        (lambda: time.sleep(60), "longer than 0.2 s"),
    ],
    ids=["raises", "ends", "sleeps"],
)
def test_a_copy_that_says_nothing_proves_nothing(what: object, words: str) -> None:
    with pytest.raises(Apart, match=words):
        apart(what, 0.2 if "longer" in words else 20.0)  # type: ignore[arg-type]
