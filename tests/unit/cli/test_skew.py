"""``serinus skew``: what is not in the counts of the fields is told beside them."""

from typing import Any

import pytest
from typer.testing import CliRunner

from serinus.cli.app import app
from serinus.client import Client


def _found(**version: Any) -> dict[str, Any]:
    seen = {
        "version": "m-1",
        "rows": 2000,
        "callers": {"web": 2000},
        "refused": {"type": {"age": 3}},
        "training": {"against": "training", "verdict": "alike", "detail": "", "fields": []},
        "between": [],
        **version,
    }
    return {
        "endpoint": "m", "caller": None, "since": "2026-11-20", "verdict": "alike",
        "versions": [seen],
    }  # fmt: skip


def _told(monkeypatch: pytest.MonkeyPatch, runner: CliRunner, found: dict[str, Any]) -> str:
    monkeypatch.setattr(Client, "skew", lambda self, name, **asked: found)
    result = runner.invoke(app, ["skew", "m"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_what_was_let_pass_skipped_nulled_and_lost_is_told(
    monkeypatch: pytest.MonkeyPatch, runner: CliRunner, stand_in: Any
) -> None:
    told = _told(
        monkeypatch,
        runner,
        _found(
            coerced={"text for a number": {"age": 1200, "fare": 30}, "nan": {"": 4}},
            skipped_rows=500,
            answer_nulls={"nan": 7, "infinity": 0},
            lost={"rows": 9, "slices": 1, "requests": 0},
        ),
    )
    assert "refused (type): 3 requests" in told
    assert "(text for a number): 1,230 values (age 1,200, fare 30)" in told
    assert "(nan): 4 values" in told
    assert "answered and not counted: 500 rows" in told
    assert "7 NaN, 0 infinite" in told
    assert "9 rows without room, 1 slices given up for memory" in told


def test_what_is_not_there_is_not_told(
    monkeypatch: pytest.MonkeyPatch, runner: CliRunner, stand_in: Any
) -> None:
    quiet = {"nan": 0, "infinity": 0}
    for more in ({}, {"coerced": {}, "skipped_rows": 0, "answer_nulls": quiet, "lost": None}):
        told = _told(monkeypatch, runner, _found(**more))
        assert "let pass" not in told
        assert "not counted" not in told
        assert "since the replicas" not in told
