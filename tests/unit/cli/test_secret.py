"""Secrets from the command line: put from standard input, listed without values, deleted."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from serinus.cli.app import app


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SERINUS_HOME", "SERINUS_SECRETS"):
        monkeypatch.delenv(name, raising=False)


def run(*words: str, given: str = "") -> Result:
    return CliRunner().invoke(app, ["secret", *words], input=given)


def test_a_secret_is_put_listed_and_deleted_and_never_shown(tmp_path: Path) -> None:
    put = run("put", "shop", "key", given="sesame\n")
    assert (put.exit_code, put.stdout) == (0, "")
    assert "{{secrets/shop/key}}" in put.stderr
    assert (tmp_path / ".serinus" / "secrets" / "shop" / "key").read_text() == "sesame"
    assert json.loads(run("put", "shop", "two", "-o", "json", given="x").stdout)["key"] == "two"
    listed = run("list", "--output", "json")
    found = json.loads(listed.stdout)["secrets"]
    assert [(each["scope"], each["key"]) for each in found] == [("shop", "key"), ("shop", "two")]
    table = run("list")
    assert "shop" in table.stdout
    assert "sesame" not in put.output + listed.output + table.output
    assert run("delete", "shop", "key").exit_code == 0
    assert json.loads(run("delete", "shop", "two", "-o", "json").stdout)["scope"] == "shop"
    assert "no secrets yet" in run("list").stderr


def test_another_directory_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERINUS_SECRETS", "elsewhere")
    assert run("put", "shop", "key", "--home", "home", given="x").exit_code == 0
    assert (tmp_path / "elsewhere" / "shop" / "key").is_file()


@pytest.mark.parametrize(
    ("words", "given", "code", "said"),
    [
        (("put", "../x", "key"), "x", 2, "scope of a secret"),
        (("put", "shop", "key"), "\n", 2, "value of a secret"),
        (("delete", "shop", "key"), "", 2, "no secret shop/key"),
    ],
)
def test_a_slip_is_explained(words: tuple[str, ...], given: str, code: int, said: str) -> None:
    done = run(*words, given=given)
    assert (done.exit_code, said in done.output) == (code, True), done.output


def test_a_directory_that_can_not_be_written_is_a_slip_too(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("put", "shop", "key", "--home", str(tmp_path / "file"), given="x")
    assert done.exit_code == 2, done.output
    assert "can't be kept" in done.output
