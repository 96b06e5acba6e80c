"""``serinus contract`` where there is nothing to work on, or nothing whole."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from serinus.cli.app import app


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "./nothing"], "There is no directory ./nothing"),
        (["diff", "./nothing", "./nowhere"], "There is no directory ./nothing"),
        (["show", "nothing-of-the-kind://m"], "is of no known kind"),
    ],
)
def test_a_model_that_is_not_there_is_a_wrong_command(
    runner: CliRunner, arguments: list[str], said: str
) -> None:
    found = runner.invoke(app, ["contract", *arguments])
    assert (found.exit_code, found.stdout) == (2, ""), found.output
    assert said in found.stderr


def test_a_contract_that_is_broken_is_a_finding(runner: CliRunner) -> None:
    Path("whole").mkdir()
    Path("whole/contract.json").write_text("{}")
    found = runner.invoke(app, ["contract", "show", "whole"])
    assert (found.exit_code, found.stdout) == (1, ""), found.output
    assert "contract.json" in found.stderr
