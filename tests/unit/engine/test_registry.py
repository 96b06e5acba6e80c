"""Model URIs that need no registry: local paths, and those that are refused at sight."""

import sys
from pathlib import Path

import pytest

from serinus.engine.artifacts import ModelStore, digest_of
from serinus.engine.registry import check_uri, resolve
from serinus.errors import InvalidParameterValue, ResourceDoesNotExist


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "home")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "a model"
    directory.mkdir()
    (directory / "MLmodel").write_text("flavors: {}\n")
    (directory / "requirements.txt").write_text("six==1.16.0\n")
    return directory


@pytest.mark.parametrize("spell", [str, Path.as_uri, lambda path: f"file:{path}"])
def test_a_directory_is_pinned_without_a_child_process(model, store, spell):
    uri = spell(model)
    ref = resolve(uri, store=store, tracking_uri="", environ={}, python="/no/such/python")
    assert ref.digest == digest_of(model)
    assert (ref.uri, ref.resolved) == (uri, str(model))
    assert ref.requirements == ("six==1.16.0",)


def test_a_directory_that_is_not_there_is_named(store):
    with pytest.raises(ResourceDoesNotExist, match="no/such/model"):
        resolve("no/such/model", store=store, tracking_uri="", environ={})


@pytest.mark.parametrize(
    "uri",
    [
        "models:/flights/1",
        "models:/flights@champion",
        "models:/main.ml.fraud/12",
        "models:/m-0123456789abcdef0123456789abcdef",
        "runs:/0123/model",
        "runs:/0123/a/b",
        "file:///somewhere",
        "./model",
        "../model",
        "C",
    ],
)
def test_good_uris_pass(uri):
    assert check_uri(f" {uri}\n") == uri


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("", "empty"),
        ("models:/../../etc/1", r"'\.\.'"),
        ("models:/a%2F..%2Fb/1", r"'\.\.'"),
        ("models:/..@champion/x", "version or an alias"),
        ("models:/m/../1", r"'\.\.'"),
        ("models:/m\0/1", "control character"),
        ("m\x1b[31m", "control character"),
        ("models:/" + "m" * 3000 + "/1", "3010 characters"),
        ("models:/" + "m" * 300 + "/1", "more than 256"),
        ("models:/m", "version or an alias"),
        ("models:/m/latest/x", "version or an alias"),
        ("models:/m/Production", "version or an alias"),
        ("models://m/1", "one slash"),
        ("models:m/1", "one slash"),
        ("runs:/0123", "lacks its path"),
        ("runs:/0123/../x", r"'\.\.'"),
        ("s3://bucket/model", "no known kind"),
        ("ftp://host/model", "no known kind"),
    ],
)
def test_bad_uris_are_refused_with_a_reason(uri, words):
    with pytest.raises(InvalidParameterValue, match=words) as caught:
        check_uri(uri)
    assert len(caught.value.message) < 400


def test_another_machine_is_refused(store):
    with pytest.raises(InvalidParameterValue, match="another machine"):
        resolve("file://host/model", store=store, tracking_uri="", environ={})


def test_the_server_itself_never_imports_mlflow():
    import subprocess

    script = (
        "import serinus.engine.local, serinus.engine.registry, sys; print('mlflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
