"""What is read from a model's own files."""

from pathlib import Path

import pytest

from serinus.engine.manifest import read_manifest

MLMODEL = """
flavors:
  python_function:
    env: {conda: conda.yaml, virtualenv: python_env.yaml}
    python_version: 3.12.1
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "MLmodel").write_text(MLMODEL)
    return tmp_path


def test_what_mlflow_writes_is_read(model):
    (model / "python_env.yaml").write_text("python: 3.11.7\ndependencies: [-r requirements.txt]\n")
    (model / "requirements.txt").write_text("mlflow==3.17.2\n\n# pinned\nnumpy==2.1.0 # why\n")
    manifest = read_manifest(model)
    assert manifest.requirements == ("mlflow==3.17.2", "numpy==2.1.0")
    assert manifest.python_version == "3.11.7"


def test_without_other_files_the_manifest_alone_speaks(model):
    manifest = read_manifest(model)
    assert (manifest.requirements, manifest.python_version) == ((), "3.12.1")


def test_conda_is_the_last_resort(model):
    (model / "MLmodel").write_text("flavors: {python_function: {env: conda.yaml}}")
    (model / "conda.yaml").write_text(
        "dependencies: [python=3.10.4, pip<=23, {pip: [six==1.16.0, pandas]}]"
    )
    manifest = read_manifest(model)
    assert (manifest.requirements, manifest.python_version) == (("six==1.16.0", "pandas"), "3.10.4")


def test_files_that_lines_refer_to_are_read_in_place(model):
    (model / "requirements.txt").write_text("-r more.txt\n-c limits.txt\nsix==1.16.0\n")
    (model / "more.txt").write_text("attrs==25.1.0 \\\n  --hash=sha256:00\n")
    (model / "limits.txt").write_text("numpy<3\n")
    assert read_manifest(model).requirements == (
        "attrs==25.1.0    --hash=sha256:00",
        "--constraint numpy<3",
        "six==1.16.0",
    )


def test_nothing_outside_of_the_model_is_read(model, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.txt"
    outside.write_text("secret")
    (model / "requirements.txt").write_text(f"-r {outside}\n-r ../../x\n-r self.txt\n")
    (model / "self.txt").write_text("-r self.txt\n")
    lines = read_manifest(model).requirements
    assert lines == (f"-r {outside}", "-r ../../x", "-r self.txt")
