"""``serinus fault``: what it says before and after it sends anything."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from serinus.cli.app import app

ROWS = '{"distance": 100.0, "carrier": "AA"}\n{"distance": 250.0, "carrier": "UA"}\n'


def inject(runner: CliRunner, spec: str, *options: str) -> Any:
    Path("rows.jsonl").write_text(ROWS)
    sent = ["--rows", "rows.jsonl", "--requests", "8", *options]
    return runner.invoke(app, ["fault", "inject", spec, *sent])


def test_how_a_fault_is_written_is_shown_whole(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    shown = runner.invoke(app, ["fault", "list"]).stdout
    assert "…" not in shown
    assert "padding:FIELD" in shown


def test_a_fault_that_touches_no_row_is_a_mistake_and_sends_nothing(
    runner: CliRunner, stand_in: Any
) -> None:
    found = inject(runner, "unit:distanze:1.6", "--endpoint", "m")
    assert found.exit_code == 2
    assert "changes none of 8 rows" in found.stderr
    assert "distance, carrier" in found.stderr
    assert stand_in.asked == []


def test_an_endpoint_that_is_not_there_is_a_mistake(runner: CliRunner, stand_in: Any) -> None:
    found = inject(runner, "unit:distance:1.6", "--endpoint", "absent")
    assert found.exit_code == 2, found.output
    assert found.stderr == "error: Endpoint with name 'absent' does not exist. (404)\n"


def test_it_counts_what_was_touched(runner: CliRunner, stand_in: Any) -> None:
    stand_in.endpoints["m"] = {"name": "m"}
    found = inject(
        runner, "unit:distance:1.6", "--endpoint", "m", "--caller", "batch", "-o", "json"
    )
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert told["touched"] == stand_in.callers.count("batch") > 0
    assert told["answered"] == told["requests"] == 8
