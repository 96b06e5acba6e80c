"""``serinus contract`` on models in directories and in a registry."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from serinus.cli.app import app


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from tests.models import flights, late, saved

    monkeypatch.chdir(tmp_path)
    for name in ("flights-1", "flights-2"):
        shutil.copytree(saved(name), tmp_path / name)
    frame = flights(1000)
    frame["late"] = late(frame)
    frame.to_parquet("sample.parquet")
    frame.to_csv("sample.csv", index=False)
    frame.to_json("sample.jsonl", orient="records", lines=True, date_format="iso")
    return tmp_path


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["contract", *arguments], env={"COLUMNS": "200"})


def files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.parametrize("sample", ["sample.parquet", "sample.csv", "sample.jsonl"])
def test_capture_writes_beside_and_leaves_the_model_alone(place: Path, sample: str) -> None:
    before = files(place / "flights-1")
    found = run("capture", "flights-1", "--sample", sample, "--label", "late", "-o", "json")
    assert found.exit_code == 0, found.output
    assert files(place / "flights-1") == before
    document = json.loads(found.stdout)
    assert document["origin"] == "captured"
    assert document["training"]["label"] == "late"
    assert "roc_auc:" in found.stderr
    shown = run("show", "flights-1-contract", "--output", "json")
    assert json.loads(shown.stdout) == document
    table = run("show", "flights-1-contract")
    assert table.exit_code == 0
    for word in (document["id"][:12], "dep_delay", "roc_auc", "golden rows", "S3"):
        assert word in table.stdout


def test_capture_into_the_model_and_show_it_from_there(place: Path) -> None:
    done = run("capture", "flights-1", "--sample", "sample.parquet", "--into", "flights-1/contract")
    assert done.exit_code == 0, done.output
    assert json.loads(run("show", "flights-1", "-o", "json").stdout)["origin"] == "captured"
    shutil.copytree(place / "flights-1/contract", place / "flights-2/contract")
    refused = run("show", "flights-2")
    assert refused.exit_code == 1
    assert "belongs to the model" in refused.stderr


def test_a_registered_model_is_captured_by_its_uri(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    uri = f"sqlite:///{place / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    client = mlflow.MlflowClient(uri, uri)
    client.create_registered_model("flights")
    client.create_model_version("flights", source=(place / "flights-1").as_uri())
    found = run("capture", "models:/flights/1", "--sample", "sample.parquet", "--label", "late")
    assert found.exit_code == 0, found.output
    assert (place / "flights-1-contract" / "contract.json").is_file()


def test_diff_ends_with_1_only_when_clients_must_care(place: Path) -> None:
    for name, unit in (("flights-1", "mi"), ("flights-2", "km")):
        (place / "declared.yaml").write_text(f"distance: {{unit: {unit}}}")
        done = run(
            "capture", name, "--sample", "sample.parquet", "--label", "late",
            "--declared", "declared.yaml", "--times", "scheduled", "--into", f"{name[-1]}",
        )  # fmt: skip
        assert done.exit_code == 0, done.output
    same = run("diff", "1", "1")
    assert (same.exit_code, same.stdout.strip()) == (0, "no difference")
    found = run("diff", "1", "2", "--output", "json")
    assert found.exit_code == 1
    changes = json.loads(found.stdout)
    assert changes[0]["severity"] == "breaking"
    assert (changes[0]["where"], changes[0]["what"]) == ("field distance", "unit")
    table = run("diff", "1", "2")
    assert table.exit_code == 1
    assert "breaking" in table.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("show", "nowhere"), 2, "nowhere"),
        (("capture", "flights-1", "--sample", "none.csv"), 2, "can't be read"),
        (("capture", "flights-1", "--sample", "x.xls"), 2, "no known kind"),
        (("capture", "flights-1", "--sample", "sample.csv", "--label", "y"), 2, "no column 'y'"),
        (("capture", "flights-1", "--sample", "sample.csv", "--stage", "S3"), 2, "STAGE=METHOD"),
        (("capture", "flights-1", "--sample", "sample.csv", "--declared", "x"), 2, "can't be read"),
        (("capture", "flights-1", "--sample", "sample.csv", "--on-leak", "x"), 2, "refuse or warn"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    place: Path, arguments: tuple[str, ...], code: int, told: str
) -> None:
    found = run(*arguments)
    assert found.exit_code == code, found.output
    assert told in found.stderr
    assert "Traceback" not in found.output
    assert not (place / "flights-1-contract").exists()
