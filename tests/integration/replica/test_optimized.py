"""`optimize: onnx` with real converters: what agrees serves, what differs is told and does not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serinus.entities import Optimize, Reading
from serinus.replica.card import read_card
from serinus.replica.form import Form, Kept, keep
from serinus.replica.loaded import Model, Source
from serinus.replica.model import load_from
from serinus.replica.protocol import Format
from tests.models import flights, late, official, save_sklearn, saved

pytest.importorskip("onnxruntime")
pytest.importorskip("skl2onnx")

from serinus.replica.optimized import converted, hindrance, try_conversion


def _ask(model: Model, frame: pd.DataFrame) -> Any:
    plain = frame.astype(object).where(frame.notna(), None).to_dict("split")
    unit = model.intake.parse(json.dumps({"dataframe_split": plain}).encode(), Format.JSON)
    return model.predict(model.intake.join([unit]), None)


def _loaded(path: Path, forms: Path) -> Model:
    """What the next replica loads, once the conversion has been tried."""
    return load_from(Source(path, optimize=Optimize.ONNX, forms=forms, convert_s=240.0))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, pd.DataFrame]:
    """Numbers, strings with gaps, and boosted trees that compare in double precision."""
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

    frame = flights(200)[["dep_delay", "distance", "carrier", "origin", "hour"]]
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer(
        [
            ("numbers", "passthrough", ["dep_delay", "distance", "hour"]),
            ("order", ordinal, ["origin"]),
            ("words", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["carrier"]),
        ]
    )
    target = late(flights(200))
    model = make_pipeline(columns, HistGradientBoostingClassifier(max_iter=8)).fit(frame, target)
    path = tmp_path_factory.mktemp("mixed") / "model"
    return save_sklearn(path, model, frame, "predict_proba"), model, frame


def _kept(path: Path, forms: Path) -> Kept:
    """As a replica does it, in this process, which has the libraries already."""
    found = try_conversion(path, forms)

    keep(forms, "onnx", found)
    return found


def test_a_scaler_and_a_regression_are_converted_by_the_replica_itself(tmp_path: Path) -> None:
    model = _loaded(saved("iris"), tmp_path)
    assert model.standing.form is Form.ONNX, model.standing
    assert "agree with the original (skl2onnx " in model.standing.reason
    assert model.standing.report[-1].startswith("numbers as float64: all ")
    frame = pd.DataFrame(np.random.default_rng(1).normal(size=(40, 30)) * 9)
    frame.columns = [f"mean {at}" for at in range(30)]
    theirs = official("iris").predict(frame)
    got = _ask(model, frame)
    assert (got.dtype, got.tolist()) == (theirs.dtype, theirs.tolist())
    # What the original refuses is refused, in its words.
    frame.iloc[3, 4] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN") as ours:
        _ask(model, frame)
    with pytest.raises(ValueError, match="Input X contains NaN") as refused:
        official("iris").predict(frame)
    assert str(ours.value) == str(refused.value)


def test_trees_over_strings_and_numbers_agree_within_the_tolerance(
    mixed: tuple[Path, Any, pd.DataFrame], tmp_path: Path
) -> None:
    path, original, frame = mixed
    found = _kept(path, tmp_path)
    assert found.holds, found
    assert any("ONNX Runtime refuses it" in line for line in found.report)  # float64 was tried
    model = _loaded(path, tmp_path)
    assert model.standing.form is Form.ONNX
    assert model.loaded is None
    got, theirs = _ask(model, frame), original.predict_proba(frame)
    assert got.dtype == theirs.dtype
    assert np.allclose(got, theirs, rtol=1e-5, atol=1e-6)
    # MLflow calls a column with gaps optional; this pipeline can't do without it, in either form.
    lacking = frame.head(1).drop(columns="carrier")
    with pytest.raises(ValueError, match="carrier") as ours:
        _ask(model, lacking)
    with pytest.raises(ValueError, match="carrier") as refused:
        original.predict_proba(lacking)
    assert str(ours.value) == str(refused.value)
    for odd in ("an airline of tomorrow", None, ""):
        some = frame.head(4).assign(carrier=odd)
        assert np.allclose(_ask(model, some), original.predict_proba(some), rtol=1e-5, atol=1e-6)


def test_what_single_precision_can_not_tell_apart_is_told_and_the_original_serves(
    tmp_path: Path,
) -> None:
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(2)
    # Seconds since 1970: neighbouring numbers of single precision are 128 of them apart.
    seconds = 1.7e9 + random.integers(0, 40_000, 400).astype(float)
    frame = pd.DataFrame({"at": seconds, "x": random.normal(size=400)})
    target = (seconds % 2_000 > 1_000) + 0.1 * frame["x"]
    trees = GradientBoostingRegressor(n_estimators=20)
    model = make_pipeline(StandardScaler(), trees).fit(frame, target)
    path = save_sklearn(tmp_path / "model", model, frame)
    found = _kept(path, tmp_path / "forms")
    assert not found.holds
    assert any(" differ" in line for line in found.report), found
    told = [line for line in found.report if line.startswith("edge ")]
    assert told, found.report
    assert all("the original gives" in line and " apart); [" in line for line in told)
    serving = _loaded(path, tmp_path / "forms")
    assert serving.standing.form is Form.DIRECT
    assert serving.standing.reason.startswith("optimize: onnx was asked for, but no conversion")
    assert list(serving.standing.report) == found.report
    assert _ask(serving, frame).tolist() == model.predict(frame).tolist()


def test_what_no_converter_knows_serves_as_it_is(tmp_path: Path) -> None:
    found = try_conversion(saved("flights-1"), tmp_path)
    assert not found.holds
    assert found.reason == "it can't be converted: the column 'scheduled' is of type datetime"
    assert not (tmp_path / "model.onnx").exists()


def test_what_stands_in_the_way_is_said_before_anything_is_tried(tmp_path: Path) -> None:
    card = read_card(saved("iris"))
    missing = hindrance(card, Source(saved("iris")), ("onnxruntime", "no_such_package"))
    assert missing.startswith("its environment lacks no_such_package: pip install 'serinus[onnx]'")
    lenient = Source(saved("iris"), Reading.MLFLOW, optimize=Optimize.ONNX, forms=tmp_path)
    model, standing = converted(card, lenient)
    assert model is None
    assert "requests are read as MLflow reads them" in standing.reason
    assert not [*tmp_path.iterdir()]
    assert "does not name columns" in hindrance(read_card(saved("tensor")), Source(saved("iris")))


def test_a_converted_model_whose_files_are_damaged_gives_way_to_the_original(
    tmp_path: Path,
) -> None:

    keep(tmp_path, "onnx", Kept(True, "all agree"))
    (tmp_path / "model.onnx").write_bytes(b"damaged")
    (tmp_path / "plan.json").write_bytes(b"{}")
    model = _loaded(saved("iris"), tmp_path)
    assert model.standing.form is Form.DIRECT
    assert "the converted model can't be loaded" in model.standing.reason


def test_a_conversion_that_takes_too_long_is_given_up_and_not_tried_again(tmp_path: Path) -> None:
    source = Source(saved("iris"), optimize=Optimize.ONNX, forms=tmp_path, convert_s=0.01)
    for _ in range(2):
        standing = load_from(source).standing
        assert standing.form is Form.DIRECT
        assert "converting and comparing took longer than 0.01 s" in standing.reason
