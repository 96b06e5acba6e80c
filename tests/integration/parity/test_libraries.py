"""Capture with the libraries that people use: models that boost trees, frames that are not pandas.

What is captured is verified at once through a scorer, so that a stage that only capture can compute
would be seen.
"""

import importlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from serinus.contract import capture, read_bundle
from serinus.engine.artifacts import ModelStore
from serinus.engine.registry import resolve
from serinus.errors import InvalidParameterValue
from serinus.parity.contract import Kind, Origin
from serinus.parity.derived import of_model
from serinus.parity.folder import Bundle
from serinus.parity.gates.golden import replay
from serinus.parity.verification import GateResult


def quiet(line: str) -> None:
    """Nobody reads it here."""


def delays(rows: int = 400) -> tuple[pd.DataFrame, Any]:
    from tests.models import flights, late

    frame = flights(rows)
    return frame[["dep_delay", "distance", "weekend"]].assign(
        hour=frame["hour"].astype("float64")
    ), late(frame)


# --- models --------------------------------------------------------------------------------------


def xgboost_estimator(frame: Any, target: Any) -> tuple[Any, Any]:
    import xgboost

    model = xgboost.XGBClassifier(n_estimators=4, n_jobs=1).fit(frame, target)
    return model, model.predict(frame)


def xgboost_booster(frame: Any, target: Any) -> tuple[Any, Any]:
    import xgboost

    data = xgboost.DMatrix(frame, target)
    model = xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 4)
    return model, model.predict(data)


def lightgbm_estimator(frame: Any, target: Any) -> tuple[Any, Any]:
    import lightgbm

    model = lightgbm.LGBMClassifier(n_estimators=4, n_jobs=1, verbose=-1).fit(frame, target)
    return model, model.predict(frame)


def lightgbm_booster(frame: Any, target: Any) -> tuple[Any, Any]:
    import lightgbm

    data = lightgbm.Dataset(frame, target)
    model = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, data, 4)
    return model, model.predict(frame)


BOOSTED = {
    "xgboost estimator": (xgboost_estimator, ["S3", "S4", "S5"], "class"),
    "xgboost booster": (xgboost_booster, ["S3", "S4"], "number"),
    "lightgbm estimator": (lightgbm_estimator, ["S3", "S4", "S5"], "class"),
    "lightgbm booster": (lightgbm_booster, ["S3", "S4"], "number"),
}


@pytest.mark.parametrize("name", BOOSTED)
def test_a_model_that_boosts_trees(name: str, tmp_path: Path) -> None:
    from mlflow.models import infer_signature

    from tests.wires import ScorerWire

    make, stages, kind = BOOSTED[name]
    library = name.partition(" ")[0]
    frame, target = delays()
    model, answers = make(frame, target)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(f"mlflow.{library}").save_model(
            model,
            str(tmp_path / "model"),
            signature=infer_signature(frame, answers),
            pip_requirements=[library],
        )
        bundle = capture(model, frame, target, into=tmp_path / "model", golden=32, say=quiet)
    contract = bundle.contract
    assert [each.name for each in contract.stages] == ["S1", "S2", *stages, "answer"]
    assert (contract.model.flavor, contract.outputs.kind) == (library, kind)
    assert contract.model.rows_independent is True
    assert [each.golden is not None for each in contract.metrics] == [True]

    wire = ScorerWire(tmp_path / "model", at_once=1)
    found = replay(bundle, wire, wire.running()).gate
    assert (found.result, found.fault) == (GateResult.PASS, ""), found.detail
    assert "Not seen" not in found.detail

    # The same kind of model with other trees.
    other, _ = make(frame, 1 - target)

    def swapped(served: Any) -> None:
        vars(served.loaded._model_impl)[f"{library[:1]}gb_model"] = other

    wire = ScorerWire(tmp_path / "model", at_once=1, change=swapped)
    found = replay(bundle, wire, wire.running()).gate
    assert (found.stage, found.fault) == ("S4", "model.artefact"), found.detail


def test_categories_of_pandas_are_learned_as_they_are() -> None:
    import xgboost

    from tests.models import flights, late

    frame = flights(300)
    target = late(frame)
    frame = frame[["dep_delay", "carrier"]].assign(carrier=frame["carrier"].astype("category"))
    model = xgboost.XGBClassifier(n_estimators=4, n_jobs=1, enable_categorical=True)
    bundle = capture(model.fit(frame, target), frame, target, golden=32, say=quiet)
    carrier = bundle.contract.field("carrier")
    assert carrier is not None
    assert sorted(carrier.observed.values or []) == ["AA", "B6", "DL", "UA"]
    assert bundle.contract.model.rows_independent is True


def test_a_torch_module_behind_a_python_model() -> None:
    torch = pytest.importorskip("torch")

    class Net:
        def __init__(self) -> None:
            torch.manual_seed(0)
            self.net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU())

        def vector(self, frame: Any) -> Any:
            tensor = torch.tensor(frame.to_numpy(dtype="float32"))
            return self.net(tensor).detach().numpy()

        def predict(self, frame: Any) -> Any:
            return self.vector(frame).sum(axis=1)

    frame = delays()[0][["distance", "hour"]].assign(one=1.0)
    bundle = capture(Net(), frame, stages={"S3": "vector"}, golden=32, say=quiet)
    assert [each.name for each in bundle.contract.stages] == ["S1", "S2", "S3", "answer"]
    assert "net" in bundle.contract.model.parameters


# --- frames --------------------------------------------------------------------------------------


def _polars(frame: Any) -> Any:
    import polars

    return polars.from_pandas(frame)


def _arrow(frame: Any) -> Any:
    return importlib.import_module("pyarrow").Table.from_pandas(frame)


def _duckdb(frame: Any) -> Any:
    import duckdb

    return duckdb.connect().from_df(frame)


FRAMES: dict[str, Callable[[Any], Any]] = {
    "polars": _polars,
    "polars lazy": lambda frame: _polars(frame).lazy(),
    "arrow": _arrow,
    "arrow reader": lambda frame: _arrow(frame).to_reader(),
    "duckdb": _duckdb,
}


@pytest.fixture(scope="module")
def as_pandas() -> tuple[Any, Any, Any, Bundle]:
    import pickle

    from tests.models import flights, late, saved

    frame = flights(300)
    model = pickle.loads((saved("flights-1") / "model.pkl").read_bytes())  # noqa: S301 - our own
    return model, frame, late(frame), capture(model, frame, late(frame), golden=32, say=quiet)


@pytest.mark.parametrize("kind", FRAMES)
def test_every_kind_of_frame_gives_the_same_contract(
    kind: str, as_pandas: tuple[Any, Any, Any, Bundle]
) -> None:
    import polars

    model, frame, target, expected = as_pandas
    there = polars.Series("late", target) if kind == "polars" else target
    found = capture(model, FRAMES[kind](frame), there, golden=32, label="late", say=quiet)
    assert found.contract.training.fingerprint == expected.contract.training.fingerprint
    assert found.golden == expected.golden
    assert found.contract.fields == expected.contract.fields


def test_types_that_pandas_lacks() -> None:
    import datetime

    import polars

    frame = polars.DataFrame(
        {
            "day": [datetime.date(2013, 1, 1 + at % 28) for at in range(40)],
            "count": [None if at == 3 else at for at in range(40)],
            "kind": polars.Series(["a", "b"] * 20, dtype=polars.Categorical),
            "seen": [None if at == 5 else at % 2 == 0 for at in range(40)],
        }
    )

    class Counts:
        def predict(self, rows: Any) -> Any:
            return rows["count"].fillna(-1)

    bundle = capture(Counts(), frame, golden=32, say=quiet)
    kinds = {each.name: each.type.logical for each in bundle.contract.fields}
    assert kinds == {
        "day": Kind.INSTANT,
        "count": Kind.NUMBER,
        "kind": Kind.TEXT,
        "seen": Kind.FLAG,
    }


# --- models that are logged already ---------------------------------------------------------------


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `log_model` returned for a small model, registered too, in a store of its own."""
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.linear_model import LinearRegression

    home, here = tmp_path_factory.mktemp("logged"), Path.cwd()
    before = mlflow.get_tracking_uri()
    os.chdir(home)
    mlflow.set_tracking_uri(f"sqlite:///{home / 'mlflow.db'}")
    frame = delays(60)[0][["distance", "hour"]]
    model = LinearRegression().fit(frame, frame["hour"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mlflow.start_run():
            info = mlflow.sklearn.log_model(
                model,
                name="late",
                signature=infer_signature(frame, model.predict(frame)),
                pip_requirements=["scikit-learn"],
                registered_model_name="late",
            )
        yield model, frame, info, home
        mlflow.set_tracking_uri(before)
    os.chdir(here)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_beside_log_model_the_contract_is_logged_with_the_model(logged: Any) -> None:
    model, frame, info, home = logged
    captured = [
        capture(model, frame, frame["hour"], into=into, golden=16, label=str(at), say=quiet)
        for at, into in enumerate((info, f"runs:/{info.run_id}/late", "models:/late/1"))
    ]
    assert len({each.id for each in captured}) == 3
    # A directory of its own leaves the logged model as it is.
    other = capture(model, frame, into=info, directory=home / "mine", golden=16, say=quiet)
    assert read_bundle(home / "mine").id == other.id

    # What an endpoint is given has the newest contract, which is bound to these files.
    store = ModelStore(home / "serinus")
    tracking = f"sqlite:///{home / 'mlflow.db'}"
    ref = resolve("models:/late/1", store=store, tracking_uri=tracking, environ=os.environ)
    found = of_model(store.path(ref.digest))
    assert (found.contract.origin, found.id) == (Origin.CAPTURED, captured[-1].id)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_a_logged_model_that_is_not_there(logged: Any) -> None:
    import mlflow

    model, frame, info, home = logged
    for uri in ("models:/nobody/1", "models:/late/7", "runs:/ffff/late"):
        with pytest.raises(InvalidParameterValue, match=f"{uri} can't be reached"):
            capture(model, frame, into=uri, golden=16, say=quiet)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        copy = mlflow.artifacts.download_artifacts(info.model_uri, dst_path=str(home / "copy"))
        client = mlflow.MlflowClient()
        client.create_registered_model("copied")
        client.create_model_version("copied", copy)
    with pytest.raises(InvalidParameterValue, match="no logged model"):
        capture(model, frame, into="models:/copied/1", golden=16, say=quiet)
