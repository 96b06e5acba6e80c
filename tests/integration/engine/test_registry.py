"""Model URIs against a real mlflow store in a SQLite file."""

import os
import time
import warnings
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from serinus.engine import fetch
from serinus.engine.artifacts import ModelStore, digest_of
from serinus.engine.registry import default_tracking_uri, failure, resolve
from serinus.errors import InvalidParameterValue, ResourceDoesNotExist, TemporarilyUnavailable

MLMODEL = "flavors:\n  python_function:\n    loader_module: none\n"


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """(tracking URI, run id) of a store with the model ``flights``, two versions, one alias."""
    root = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{root / 'mlflow.db'}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mlflow's own, about its own tables
        return uri, _fill(root, MlflowClient(tracking_uri=uri, registry_uri=uri)), root


def _fill(root, client):
    experiment = client.create_experiment("e", artifact_location=(root / "artifacts").as_uri())
    run = client.create_run(experiment).info.run_id
    client.create_registered_model("flights")
    for number in (1, 2):
        directory = root / f"v{number}"
        directory.mkdir()
        (directory / "MLmodel").write_text(MLMODEL)
        (directory / "requirements.txt").write_text(f"six==1.{number}.0\n")
        (directory / "python_env.yaml").write_text("python: 3.11.7\n")
        client.log_artifacts(run, str(directory), f"model{number}")
        source = f"{client.get_run(run).info.artifact_uri}/model{number}"
        client.create_model_version("flights", source, run)
    client.set_registered_model_alias("flights", "champion", "2")
    return run


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home")


def test_a_version_is_fetched_and_pinned(registry, store):
    uri, _, root = registry
    ref = resolve("models:/flights/1", store=store, tracking_uri=uri, environ=os.environ)
    assert (ref.uri, ref.resolved) == ("models:/flights/1", "models:/flights/1")
    assert ref.digest == digest_of(root / "v1")
    assert (ref.requirements, ref.python_version) == (("six==1.1.0",), "3.11.7")
    store.verify(ref.digest)


def test_an_alias_is_pinned_to_its_version(registry, store):
    uri, _, root = registry
    ref = resolve("models:/flights@champion", store=store, tracking_uri=uri, environ=os.environ)
    assert (ref.uri, ref.resolved) == ("models:/flights@champion", "models:/flights/2")
    assert ref.digest == digest_of(root / "v2")


def test_a_run_is_fetched(registry, store):
    uri, run, root = registry
    ref = resolve(f"runs:/{run}/model1", store=store, tracking_uri=uri, environ=os.environ)
    assert ref.digest == digest_of(root / "v1")
    assert [each.name for each in store.root.iterdir()] == [ref.digest]


def test_a_version_that_is_not_there_is_said_to_be_missing(registry, store):
    uri = "models:/flights/99"
    with pytest.raises(ResourceDoesNotExist) as caught:
        resolve(uri, store=store, tracking_uri=registry[0], environ=os.environ)
    assert uri in caught.value.message
    assert "\n" not in caught.value.message
    assert list(store.root.iterdir()) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "uri", ["models:/nobody/1", "models:/nobody@x", "models:/flights@loser", f"runs:/{'0' * 32}/m"]
)
def test_all_that_can_be_missing_has_the_code_for_it(registry, tmp_path, monkeypatch, uri):
    # In this process, since importing mlflow once more for each would take seconds.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry[0])
    answer = fetch.main(uri, str(tmp_path))
    assert isinstance(failure(uri, registry[0], answer), ResourceDoesNotExist)


def test_a_path_in_a_run_that_is_no_model_is_refused(registry, store):
    uri, run, _ = registry
    with pytest.raises((InvalidParameterValue, ResourceDoesNotExist), match="runs:/"):
        resolve(f"runs:/{run}/nothing", store=store, tracking_uri=uri, environ=os.environ)


def test_a_registry_that_is_down_is_named(store):
    environ = {**os.environ, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    with pytest.raises(TemporarilyUnavailable, match="models:/m/1") as caught:
        resolve(
            "models:/m/1",
            store=store,
            tracking_uri="http://someone:secret@127.0.0.1:9",
            environ=environ,
        )
    assert "127.0.0.1:9" in caught.value.message
    assert "secret" not in caught.value.message


def test_a_registry_that_hangs_is_left_in_time(store, tmp_path):
    sleeper = tmp_path / "python"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    began = time.monotonic()
    with pytest.raises(TemporarilyUnavailable, match=r"within 0\.5 s"):
        resolve(
            "models:/m/1",
            store=store,
            tracking_uri="http://h",
            environ=os.environ,
            timeout_s=0.5,
            python=str(sleeper),
        )
    assert time.monotonic() - began < 5


def test_the_default_store_is_the_one_that_mlflow_takes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow.set_tracking_uri(None)
    assert default_tracking_uri(tmp_path) == mlflow.get_tracking_uri()
    (tmp_path / "mlruns" / "0").mkdir(parents=True)
    (tmp_path / "mlruns" / "0" / "meta.yaml").touch()
    assert default_tracking_uri(tmp_path) == mlflow.get_tracking_uri()
