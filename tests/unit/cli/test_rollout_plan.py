"""``serinus rollout plan``, which needs no server unless it is to read a policy."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from serinus.cli.app import app


def _plan(runner: CliRunner, *arguments: str) -> dict[str, Any]:
    found = runner.invoke(app, ["rollout", "plan", *arguments, "-o", "json"])
    assert found.exit_code == 0, found.output
    document: dict[str, Any] = json.loads(found.stdout)
    return document


def test_a_plan_needs_no_server(runner: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERINUS_SERVER", "http://127.0.0.1:9")
    found = _plan(runner, "--rate", "20", "--base-error", "0.5%")
    assert (found["strategy"], found["suggested"]["strategy"]) == ("canary", "canary")
    assert [each["weight_bp"] for each in found["steps"]] == [100, 500, 2500, 5000]
    assert found["seconds"] == pytest.approx(sum(each["seconds"] for each in found["steps"]), 1e-3)
    assert {each["error_rate"] for each in found["bad_versions"]} == {0.02, 0.05, 0.2, 1.0}


def test_for_people_it_is_a_table(runner: CliRunner) -> None:
    found = runner.invoke(app, ["rollout", "plan", "--rate", "20", "--bad-error", "0.9%"])
    assert found.exit_code == 0, found.output
    assert "error_rate to be safe for 5%" in found.stdout
    assert found.stdout.count("never") == 4
    assert "canary: at 100 % in" in found.stdout
    assert "suggested: canary." in found.stdout


def test_options_and_files_say_what_is_planned(runner: CliRunner) -> None:
    Path("spec.yaml").write_text("steps:\n  - set_weight: 5%\nadvance: {after: 10m}\n")
    found = _plan(runner, "--rate", "20", "-f", "spec.yaml")
    assert [(each["weight_bp"], each["seconds"]) for each in found["steps"]] == [(500, 600.0)]
    found = _plan(runner, "--rate", "20", "-f", "spec.yaml", "--steps", "1,50")
    assert [each["weight_bp"] for each in found["steps"]] == [100, 5000]
    assert _plan(runner, "--rate", "20", "--strategy", "shadow")["exposed_requests"] == 0
    switched = _plan(runner, "--rate", "20", "--one-version")
    assert switched["suggested"]["strategy"] == "blue-green"


def test_what_never_comes_is_null(runner: CliRunner) -> None:
    found = _plan(runner, "--rate", "20", "--bad-error", "0.5%", "--steps", "5")
    assert [each["seconds"] for each in found["bad_versions"]] == [None]


def test_an_endpoint_brings_its_policy(runner: CliRunner, stand_in: Any) -> None:
    stand_in.policy = {"rollout": {"steps": [{"set_weight": "10%"}], "guardrails": []}}
    found = _plan(runner, "m", "--rate", "20")
    assert [each["weight_bp"] for each in found["steps"]] == [1000]
    assert stand_in.asked == [("GET", "/api/serinus/v1/endpoints/m/policy", None)]
    found = _plan(runner, "m", "--rate", "20", "--strategy", "shadow")
    assert [each["candidate_requests"] for each in found["steps"]] == [2000]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--rate", "0"],
        ["--rate", "20", "--base-error", "5"],
        ["--rate", "20", "--bad-error", "200%"],
        ["--rate", "20", "--steps", "ten"],
        ["--rate", "20", "--strategy", "hope"],
    ],
)
def test_usage_errors(runner: CliRunner, arguments: list[str]) -> None:
    found = runner.invoke(app, ["rollout", "plan", *arguments])
    assert (found.exit_code, found.stdout) == (2, ""), found.output
