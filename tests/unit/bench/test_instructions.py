"""Counts beside their record: what fails, what is only said, and how parts become operations."""

import json
from pathlib import Path

import pytest

from bench.instructions import __main__ as check
from bench.instructions.compare import compared, per_operation, total
from bench.instructions.drive import GROUPS

RECORD = json.loads((Path(check.__file__).parents[1] / "results/instructions.json").read_text())


def said(recorded: dict[str, int], counted: dict[str, int]) -> dict[str, str]:
    return {each.name: each.said for each in compared(recorded, counted, 0.05)}


def test_more_than_the_tolerance_fails_and_less_is_only_said():
    recorded = dict.fromkeys(("a", "b", "c", "d"), 1000)
    counted = {"a": 1050, "b": 1051, "c": 950, "d": 949}
    assert said(recorded, counted) == {"a": "same", "b": "worse", "c": "same", "d": "better"}
    assert [each.fails for each in compared(recorded, counted)] == [False, True, False, False]


def test_a_path_that_only_one_of_the_two_knows_fails():
    verdicts = compared({"gone": 5}, {"here": 7})
    assert [(each.name, each.said, each.fails) for each in verdicts] == [
        ("here", "new", True),
        ("gone", "missing", True),
    ]
    assert {each.change for each in verdicts} == {0.0}


def test_start_up_falls_out_of_the_difference():
    # Before, N, between, 2N; then what came after the last mark.
    parts = [10**9, 1_300, 777, 2_300, 5 * 10**8, 60, 3, 80, 99]
    assert per_operation([("a", 10), ("b", 2)], parts) == {"a": 100, "b": 10}
    with pytest.raises(ValueError, match="8 parts were counted for 2 paths"):
        per_operation([("a", 10), ("b", 2)], parts[:-1])


def test_the_total_of_a_part_and_none():
    assert total("events: Ir\nfn=(1)\n2 3\n\ntotals: 4711\n") == 4711
    with pytest.raises(ValueError, match="without a total"):
        total("events: Ir\n")


def test_without_valgrind_the_way_out_is_named(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.argv", ["instructions"])
    assert check.main() == 2
    assert "apt-get install valgrind" in capsys.readouterr().err


def test_every_group_is_recorded():
    assert {name.partition(".")[0] for name in RECORD["instructions"]} == set(GROUPS)
    assert min(RECORD["instructions"].values()) > 0
    assert RECORD["with"].keys() == check._with().keys()
