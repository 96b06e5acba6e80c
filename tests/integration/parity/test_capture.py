"""Contracts of real models: captured, written, read back, replayed through the strict intake."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serinus.contract import capture, read_bundle, write_bundle
from serinus.errors import InvalidParameterValue, ResourceDoesNotExist
from serinus.parity.arrays import differing
from serinus.parity.canonical import ContractBroken, ContractForeign
from serinus.parity.columns import columns_of
from serinus.parity.contract import Kind, Origin
from serinus.parity.derived import derive, of_model
from serinus.parity.fingerprint import parameter_digests
from serinus.parity.folder import FILES, Bundle, model_digest
from serinus.parity.stages import estimator_stages, field_values
from serinus.replica.card import read_card
from serinus.replica.intake import ColumnIntake
from serinus.replica.protocol import Format


def quiet(line: str) -> None:
    """Nobody reads it here."""


@pytest.fixture
def model(tmp_path: Path) -> Callable[[str], Path]:
    from tests.models import saved

    return lambda name: Path(shutil.copytree(saved(name), tmp_path / name))


def estimator(path: Path) -> Any:
    import mlflow.sklearn

    return mlflow.sklearn.load_model(str(path))


def captured(path: Path, **more: Any) -> Bundle:
    from tests.models import flights, late

    frame = flights(1500)
    return capture(estimator(path), frame, late(frame), into=path, say=quiet, **more)


def _numbers(pipeline: Any) -> Any:
    return pipeline[0].named_transformers_["numbers"]


def stage(bundle: Bundle, name: str) -> Any:
    return next(each for each in bundle.contract.stages if each.name == name)


def test_what_is_read_is_what_was_captured(model: Any) -> None:
    path = model("flights-1")
    bundle = captured(path)
    found = read_bundle(path / "contract", path)
    assert sorted(each.name for each in (path / "contract").iterdir()) == sorted(FILES)
    assert (found.contract, found.profile, found.lock, found.golden) == (
        bundle.contract,
        bundle.profile,
        bundle.lock,
        bundle.golden,
    )
    assert found.id == bundle.id
    assert of_model(path).id == bundle.id
    for name, columns in bundle.stages.items():
        assert not differing(columns, found.stages[name], stage(bundle, name).tolerance).any()


def test_capture_twice_gives_the_same_bytes(model: Any) -> None:
    path = model("flights-1")
    captured(path)
    first = {name: (path / "contract" / name).read_bytes() for name in FILES}
    captured(path)
    assert {name: (path / "contract" / name).read_bytes() for name in FILES} == first


def test_golden_rows_come_through_the_strict_intake_as_training_had_them(model: Any) -> None:
    path = model("flights-1")
    bundle = captured(path)
    intake = ColumnIntake(read_card(path).columns)
    pipeline = estimator(path)
    frames = [intake.frame([intake.parse(r.body.encode(), Format.JSON)]) for r in bundle.golden]
    for at, frame in enumerate(frames):
        parsed = field_values(columns_of(frame))
        expected = [values[at : at + 1] for values in bundle.stages["S1"]]
        assert not differing(expected, parsed, stage(bundle, "S1").tolerance).any()
    # All in one frame: alone, a null text becomes a column of None, which scikit-learn doesn't
    # take for the NaN that it learned. To tell that is the business of the verification.
    units = [intake.parse(row.body.encode(), Format.JSON) for row in bundle.golden]
    for name, output in estimator_stages(pipeline, intake.frame(units)):
        found = [np.asarray(output)]
        assert not differing(bundle.stages[name], found, stage(bundle, name).tolerance).any()


def test_golden_rows_cover_the_cases(model: Any) -> None:
    bundle = captured(model("flights-1"))
    coverage = bundle.contract.golden
    assert 64 <= coverage.rows <= 256
    assert coverage.missing == ["scheduled is null (refused)"]
    for kind in ("category", "extreme", "threshold", "unknown", "text", "dst"):
        assert coverage.covered[kind] == coverage.wanted[kind] > 0
    bodies = "".join(row.body for row in bundle.golden)
    for text in ("serinus-unknown", "Zürich", "2013-03-10T02:30:00", "2012-02-29T12:00:00", "null"):
        assert text in bodies
    scheduled = bundle.contract.field("scheduled")
    assert scheduled is not None
    assert not scheduled.null.allowed


@pytest.mark.parametrize(
    ("fault", "first"),
    [
        (
            lambda p: setattr(p[0].named_transformers_["numbers"][0], "statistics_", np.zeros(2)),
            "S3",
        ),
        (lambda p: setattr(_numbers(p)[1], "mean_", np.zeros(2)), "S3"),
        (lambda p: setattr(p[-1], "coef_", -p[-1].coef_), "S4"),
    ],
    ids=["imputes-zero", "scaler-refit", "sign"],
)
def test_a_fault_shows_first_at_its_stage_and_in_its_parameters(
    model: Any, fault: Callable[[Any], None], first: str
) -> None:
    path = model("flights-1")
    from tests.models import flights

    bundle = captured(path)
    broken = estimator(path)
    fault(broken)
    frame = flights(1500)
    intake = ColumnIntake(read_card(path).columns)
    units = [intake.parse(row.body.encode(), Format.JSON) for row in bundle.golden]
    frame = intake.frame(units)
    wrong = [
        name
        for name, output in estimator_stages(broken, frame)
        if differing(bundle.stages[name], [np.asarray(output)], stage(bundle, name).tolerance).any()
    ]
    assert wrong[0] == first
    before = bundle.contract.model.parameters
    after = parameter_digests(broken)
    assert len([key for key in before if before[key] != after[key]]) == 1


def test_parameters_of_a_loaded_model_are_those_of_training(model: Any) -> None:

    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier

    from tests.models import iris

    frame = iris()
    y = (frame["mean 3"] > 0).astype(int)
    for fitted in (
        GradientBoostingClassifier(n_estimators=3).fit(frame, y),
        HistGradientBoostingClassifier(max_iter=3).fit(frame, y),
    ):
        loaded = pickle.loads(pickle.dumps(fitted))  # noqa: S301 - made a line above
        assert parameter_digests(loaded) == parameter_digests(fitted) != {}
        other = type(fitted)(max_depth=2).fit(frame, 1 - y)
        assert parameter_digests(other) != parameter_digests(fitted)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named(model: Any, name: str) -> None:
    path = model("flights-1")
    captured(path)
    file = path / "contract" / name
    whole = file.read_bytes()
    flipped = whole[:40] + bytes([whole[40] ^ 1]) + whole[41:]
    for content in (whole[:-1], whole[: len(whole) // 2], b"", b" " + whole, flipped):
        if name == "contract.json" and content is flipped:
            continue  # its SHA-256 is the contract's id, which those who refer to it know
        file.write_bytes(content)
        with pytest.raises(ContractBroken, match=name.replace(".", r"\.")):
            read_bundle(path / "contract", path)
    file.unlink()
    with pytest.raises((ContractBroken, ResourceDoesNotExist)):
        read_bundle(path / "contract", path)


def test_a_contract_of_another_model_is_refused(model: Any) -> None:
    one, two = model("flights-1"), model("flights-2")
    captured(one)
    shutil.copytree(one / "contract", two / "contract")
    with pytest.raises(ContractForeign, match="belongs to the model"):
        of_model(two)
    unbound = write_bundle(read_bundle(one / "contract"), two.parent / "loose")
    assert unbound.contract.model.digest
    assert read_bundle(two.parent / "loose").id == unbound.id


def test_the_digest_of_a_model_is_of_what_decides(model: Any) -> None:
    path = model("flights-1")
    before = model_digest(path)
    text = (path / "MLmodel").read_text()
    (path / "MLmodel").write_text(text.replace("utc_time_created: '", "utc_time_created: '1"))
    (path / "contract").mkdir()
    (path / "contract" / "contract.json").write_text("{}")
    assert model_digest(path) == before
    (path / "MLmodel").write_text(text.replace("predict_fn: predict", "predict_fn: predict_proba"))
    assert model_digest(path) != before
    (path / "MLmodel").write_text(text)
    with (path / "model.pkl").open("ab") as file:
        file.write(b"\0")
    assert model_digest(path) != before


def test_private_values_are_nowhere(model: Any) -> None:
    from tests.models import flights, late

    path = model("flights-1")
    frame = flights(1500)
    frame["carrier"] = frame["carrier"].where(frame["carrier"].isna(), "SECRET-" + frame["carrier"])
    frame["dep_delay"] = 7654321.25
    bundle = capture(
        estimator(path),
        frame,
        late(frame),
        into=path,
        declared={"carrier": {"privacy": "hash"}, "dep_delay": {"privacy": "drop"}},
        say=quiet,
    )
    for name in ("contract.json", "profile.json", "golden.jsonl"):
        content = (path / "contract" / name).read_bytes()
        assert b"SECRET" not in content
        assert b"7654321" not in content
    carrier = bundle.contract.field("carrier")
    assert carrier is not None
    assert len(carrier.observed.values or []) == 4
    assert all(np.isnan(bundle.stages["S1"][0]))
    assert "SECRET" not in str(bundle.stages["S1"])
    intake = ColumnIntake(read_card(path).columns)
    assert all(intake.parse(row.body.encode(), Format.JSON).rows == 1 for row in bundle.golden)


def test_fields_that_are_looked_up_are_pinned_and_not_sent(model: Any) -> None:
    bundle = captured(model("flights-1"), declared={"distance": {"source": "lookup:routes"}})
    row = bundle.golden[0]
    assert '"distance"' not in row.body
    assert row.pinned["lookup:routes"]["distance"] > 0
    assert "distance" not in stage(bundle, "S1").columns
    assert "distance" in stage(bundle, "S2").columns


@pytest.mark.parametrize(
    ("name", "alike"), [("ranked", False), ("demeaned", False), ("constant", True)]
)
def test_rows_that_influence_each_other_are_noticed(model: Any, name: str, alike: bool) -> None:
    import mlflow.pyfunc

    path = model(name)
    loaded = mlflow.pyfunc.load_model(str(path))
    frame = pd.DataFrame({"x": np.arange(50.0), "y": np.arange(50.0) ** 2})
    bundle = capture(loaded, frame, into=path, say=quiet)
    assert bundle.contract.model.rows_independent is alike
    assert any("No labels" in sentence for sentence in bundle.contract.cannot)


def test_stages_that_the_user_names(model: Any) -> None:
    class Own:
        def vector(self, frame: Any) -> Any:
            return frame.to_numpy() * 2

        def predict(self, frame: Any) -> Any:
            return self.vector(frame).sum(axis=1)

    frame = pd.DataFrame({"x": np.arange(80.0), "y": np.arange(80.0)})
    bundle = capture(
        Own(),
        frame,
        frame["x"] * 4,
        stages={"S3": "vector", "S4": lambda f: f["x"] * 4.0},
        say=quiet,
    )
    assert (stage(bundle, "S3").how, stage(bundle, "S4").how) == ("method:vector", "")
    assert np.array_equal(bundle.stages["S3"][0][:, 0], bundle.stages["S1"][0] * 2, equal_nan=True)
    assert [each.name for each in bundle.contract.metrics] == ["rmse"]
    with pytest.raises(InvalidParameterValue, match="no such method"):
        capture(Own(), frame, stages={"S3": "wector"}, say=quiet)


def test_a_deep_pipeline_is_followed_to_its_end() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    from tests.models import iris

    frame = iris()
    y = np.where(frame["mean 3"] > 0, "yes", "no")
    inner = make_pipeline(MinMaxScaler(), LogisticRegression())
    deep = make_pipeline(StandardScaler(), "passthrough", inner)
    model = GridSearchCV(deep, {"pipeline__logisticregression__C": [1.0]}, cv=2).fit(frame, y)
    bundle = capture(model, frame, y, say=quiet)
    names = [each.name for each in bundle.contract.stages]
    assert names == ["S1", "S2", "S3:standardscaler", "S3", "S4", "S5", "answer"]
    assert np.nanmin(bundle.stages["S3"][0]) >= 0 or bundle.contract.golden.made
    assert bundle.contract.outputs.classes == ["no", "yes"]
    assert bundle.contract.metrics[0].name == "roc_auc"


def test_arrays_without_names() -> None:
    from sklearn.linear_model import Ridge

    data = np.random.default_rng(0).normal(size=(300, 3))
    bundle = capture(Ridge().fit(data, data[:, 0]), data, data[:, 0], say=quiet)
    assert bundle.contract.inputs.positional
    assert bundle.golden[0].body.startswith('{"inputs":[[')
    assert bundle.contract.outputs.kind == "number"


@pytest.mark.parametrize(
    ("data", "more", "told"),
    [
        (pd.DataFrame({"x": [1.0]}), {}, "lacks the column"),
        (pd.DataFrame(), {}, "no rows"),
        (np.zeros(3), {}, "rows by columns"),
        (object(), {}, "can't be read"),
        (None, {"y": [1]}, "one for each row"),
        (None, {"on_leak": "shrug"}, "refuse or warn"),
        (None, {"golden": 1000}, "ask for 16 to 256"),
        (None, {"entity_times": "nowhere"}, "no column 'nowhere'"),
        (None, {"feature_times": {"nothing": []}}, "which is no field"),
        (None, {"predict": "guess"}, "no such method"),
    ],
)
def test_bad_input_is_named(model: Any, data: Any, more: dict[str, Any], told: str) -> None:
    from tests.models import flights

    path = model("flights-1")
    with pytest.raises(InvalidParameterValue, match=told):
        capture(
            estimator(path), flights(50) if data is None else data, into=path, say=quiet, **more
        )
    assert not (path / "contract").exists()


def test_an_optional_field_that_the_sample_lacks_is_still_a_field(model: Any) -> None:
    import mlflow.pyfunc

    path = model("echo")
    text = (path / "MLmodel").read_text()
    assert '"name": "hour", "required": true' in text
    text = text.replace('"name": "hour", "required": true', '"name": "hour", "required": false')
    (path / "MLmodel").write_text(text)
    from tests.models import flights

    frame = flights(100).drop(columns="hour")
    loaded = mlflow.pyfunc.load_model(str(path))
    bundle = capture(loaded, frame, into=path, declared={"hour": {"cyclic": 24}}, say=quiet)
    field = bundle.contract.field("hour")
    assert field is not None
    assert (field.required, field.cyclic, field.observed.n) == (False, 24.0, 0)
    assert any("lacks the optional field hour" in each for each in bundle.contract.cannot)


def test_a_directory_with_other_things_is_left_alone(model: Any, tmp_path: Path) -> None:
    path = model("flights-1")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    with pytest.raises(InvalidParameterValue, match="holds other things"):
        captured(path, directory=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "dear"


# --- models without a contract


@pytest.mark.parametrize("name", ["flights-1", "iris-proba", "echo-params", "tensor", "hinted"])
def test_any_model_has_a_derived_contract(model: Any, name: str) -> None:
    path = model(name)
    bundle = of_model(path)
    assert bundle.contract.origin is Origin.DERIVED
    assert bundle.contract.model.digest == model_digest(path)
    assert [row.covers for row in bundle.golden] == [["input example"]]
    assert any("Nothing was observed" in sentence for sentence in bundle.contract.cannot)
    written = write_bundle(bundle, path / "contract", path)
    assert of_model(path).id == written.id


def test_a_derived_contract_knows_types_and_pins(model: Any) -> None:
    path = model("flights-1")
    (path / "requirements.txt").write_text("# made\nScikit_Learn==1.6.1\npandas[x]==2.2.0 ; a\n")
    bundle = derive(path)
    kinds = {each.name: each.type.logical for each in bundle.contract.fields}
    assert kinds["weekend"] is Kind.FLAG
    assert kinds["scheduled"] is Kind.INSTANT
    assert bundle.golden[0].rows == 5
    assert {k: d.version for k, d in bundle.lock.distributions.items()} == {
        "scikit-learn": "1.6.1",
        "pandas": "2.2.0",
    }
    assert not any("pinned" in sentence for sentence in bundle.contract.cannot)


def test_a_model_with_nothing_says_what_is_missing(model: Any) -> None:
    bundle = derive(model("no-signature"))
    assert bundle.contract.fields == []
    assert bundle.golden == ()
    told = " ".join(bundle.contract.cannot)
    assert "no signature" in told
    assert "no input example" in told


def test_no_model_is_no_contract(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterValue, match="no MLmodel"):
        of_model(tmp_path)
    (tmp_path / "MLmodel").write_text("[:")
    with pytest.raises(InvalidParameterValue, match="can't be read"):
        of_model(tmp_path)
