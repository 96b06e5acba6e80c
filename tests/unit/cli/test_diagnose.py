"""``serinus diagnose`` and ``serinus fault``: what is asked, with which table, and how it ends."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from serinus.cli.app import app
from tests.unit.cli.test_verify import report


def _said(verdict: str = "healthy", **more: Any) -> dict[str, Any]:
    """A diagnosis as the API shows it."""
    empty: dict[str, Any] = {"findings": [], "excluded": [], "missing": [], "notes": []}
    return {
        "endpoint": "m",
        "version": "m-2",
        "verdict": verdict,
        "detail": verdict,
        "confidence": "strong",
        "locus": "",
        "features": [],
        "since": None,
        "share": None,
        "event": None,
        "rows": 2000,
        "next": [],
        "do_not": [],
        **empty,
        **more,
    }


def _finding() -> dict[str, Any]:
    evidence = [{"text": "900 of 2000 values [..] are off", "rows": ["r-1", "r-2"]}]
    return {
        "verdict": "schema",
        "detail": "schema.semantics",
        "confidence": "strong",
        "pattern": "unit: x 1.609",
        "callers": ["batch"],
        "evidence": evidence,
    }


def _asked(stand_in: Any) -> dict[str, Any]:
    [body] = [
        body
        for method, path, body in stand_in.asked
        if method == "POST" and path.endswith("/diagnosis")
    ]
    return dict(body)


def test_what_is_narrowed_is_asked_so(runner: CliRunner, stand_in: Any) -> None:
    stand_in.diagnosis = _said()
    narrow = ["--window", "2h", "--version", "m-1", "--caller", "batch"]
    found = runner.invoke(app, ["diagnose", "m", *narrow])
    assert found.exit_code == 0, found.output
    assert _asked(stand_in) == {"window": "2h", "version": "m-1", "caller": "batch"}
    assert "healthy (strong), m, version m-2, 2,000 rows" in found.stdout


@pytest.mark.parametrize(("verdict", "code"), [("schema", 1), ("drift", 1), ("inconclusive", 4)])
def test_the_exit_code_says_how_it_ended(
    runner: CliRunner, stand_in: Any, verdict: str, code: int
) -> None:
    stand_in.diagnosis = _said(verdict)
    found = runner.invoke(app, ["diagnose", "m", "-o", "json"])
    assert found.exit_code == code
    assert json.loads(found.stdout) == stand_in.diagnosis


def test_a_finding_is_shown_with_its_rows_and_what_not_to_do(
    runner: CliRunner, stand_in: Any
) -> None:
    stand_in.diagnosis = _said(
        "schema",
        locus="client",
        features=["distance"],
        share=0.45,
        since="2026-11-22T05:00:00+00:00",
        event="2026-11-22T05:01:00+00:00 deploy: update by ann",
        findings=[_finding()],
        excluded=[{"class": "routing", "test": "digests (step 1)"}],
        do_not=["Do not retrain."],
    )
    shown = runner.invoke(app, ["diagnose", "m"], env={"COLUMNS": "200"}).stdout
    for each in (
        "45.0% of rows",
        "1. schema.semantics (strong), unit: x 1.609 from batch",
        "900 of 2000 values [..] are off (rows r-1, r-2)",
        "(2026-11-22T05:01:00+00:00 deploy: update by ann)",
        "routing: digests (step 1)",
        "Do not retrain.",
    ):
        assert each in shown, shown


def test_live_waits_for_the_golden_rows_first(runner: CliRunner, stand_in: Any) -> None:
    stand_in.diagnosis = _said()
    stand_in.verifications = [[report("asked", None)], [report("running", None)], [report()]]
    assert runner.invoke(app, ["diagnose", "m", "--live"]).exit_code == 0
    calls = [(method, path.rpartition("/")[2]) for method, path, _ in stand_in.asked]
    assert calls == [
        ("POST", "verification"), ("GET", "verification"), ("GET", "verification"),
        ("POST", "diagnosis"),
    ]  # fmt: skip


def test_live_gives_up_when_its_time_is_over(runner: CliRunner, stand_in: Any) -> None:
    stand_in.verifications = [[report("running", None)]]
    found = runner.invoke(app, ["diagnose", "m", "--live", "--timeout", "1"])
    assert found.exit_code == 4
    assert "not over after 1 s" in found.output


@pytest.fixture
def weather(tmp_path: Path) -> pd.DataFrame:
    """True values by place and hour, in each of the forms that are read."""
    frame = pd.DataFrame(
        {
            "place": ["JFK", "LGA", "EWR", "JFK"],
            "at": pd.to_datetime(["2026-11-01 10:00", "2026-11-01 10:00"] * 2),
            "temp": [41.5, None, 39.0, 44.0],
        }
    )
    frame.to_parquet(tmp_path / "weather.parquet")
    frame.to_csv(tmp_path / "weather.csv", index=False)
    return frame


@pytest.mark.parametrize(
    "source",
    ["weather.parquet", "weather.csv", "SELECT * FROM 'weather.parquet' WHERE temp IS NOT NULL"],
)
def test_only_rows_of_sampled_keys_are_sent(
    runner: CliRunner, stand_in: Any, weather: pd.DataFrame, source: str
) -> None:
    stand_in.diagnosis = _said()
    stand_in.keys = [{"place": "JFK"}, {"place": "LGA"}]
    options = ["--key", "place", "--time", "at", "--max-age", "3600"]
    found = runner.invoke(app, ["diagnose", "m", "--offline", source, *options])
    assert found.exit_code == 0, found.output
    table = _asked(stand_in)["offline"]
    assert (table["keys"], table["time"], table["max_age_s"]) == (["place"], "at", 3600.0)
    sql = source.startswith("SELECT")
    assert table["columns"]["place"] == (["JFK", "JFK"] if sql else ["JFK", "LGA", "JFK"])
    assert table["columns"]["temp"] == ([41.5, 44.0] if sql else [41.5, None, 44.0])
    assert {each[:13].replace(" ", "T") for each in table["columns"]["at"]} == {"2026-11-01T10"}
    keys = [path for method, path, _ in stand_in.asked if "/keys?" in path]
    assert [path.rpartition("?")[2] for path in keys] == ["fields=place"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--offline", "weather.csv"], "--offline needs --key"),
        (["--offline", "weather.csv", "--key", "airport"], "has no column 'airport'"),
        (["--offline", "nothing.csv", "--key", "place"], "There is no file nothing.csv"),
    ],
)
def test_a_source_that_can_not_be_used_is_named(
    runner: CliRunner, stand_in: Any, weather: pd.DataFrame, options: list[str], says: str
) -> None:
    found = runner.invoke(app, ["diagnose", "m", *options], env={"COLUMNS": "200"})
    assert found.exit_code == 2
    assert says in found.output


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"distance": {100 + at}, "carrier": "AA"}}\n' for at in range(20)))
    return path


def _sent(stand_in: Any) -> list[dict[str, Any]]:
    return [
        body["dataframe_records"][0]
        for _, path, body in stand_in.asked
        if path == "/serving-endpoints/m/invocations"
    ]


def test_a_fault_is_sent_in_its_share_of_right_rows(
    runner: CliRunner, stand_in: Any, rows: Path
) -> None:
    asked = ["fault", "inject", "unit:distance:2", "--share", "0.25", "--endpoint", "m"]
    options = ["--rows", str(rows), "--requests", "200", "-o", "json"]
    found = runner.invoke(app, [*asked, *options])
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert (told["requests"], told["answered"], told["refused"]) == (200, 200, 0)
    wrong = sum(each["distance"] >= 200 for each in _sent(stand_in))
    assert 25 <= wrong <= 75
    assert {each["carrier"] for each in _sent(stand_in)} == {"AA"}


def test_a_fault_of_one_caller_is_that_callers_only(
    runner: CliRunner, stand_in: Any, rows: Path
) -> None:
    asked = ["fault", "inject", "casing:carrier", "--caller", "batch", "--endpoint", "m"]
    found = runner.invoke(app, [*asked, "--rows", str(rows), "--requests", "80"])
    assert found.exit_code == 0, found.output
    touched = stand_in.callers.count("batch")
    assert f"{touched} of them with casing:carrier from batch: 80 answered" in found.stdout
    by_caller = dict[str, set[str]]()
    for caller, row in zip(stand_in.callers, _sent(stand_in), strict=True):
        by_caller.setdefault(caller, set()).add(row["carrier"])
    assert by_caller.pop("batch") == {"aa"}
    assert set(by_caller) == {"web", "app", "partner"}
    assert all(each == {"AA"} for each in by_caller.values())


@pytest.mark.parametrize(
    ("spec", "says"),
    [("unit", "unit"), ("nonsense:x", "nonsense"), ("scaler-refit", "no fault of a client's")],
)
def test_a_fault_that_can_not_be_sent_is_named(
    runner: CliRunner, stand_in: Any, rows: Path, spec: str, says: str
) -> None:
    found = runner.invoke(app, ["fault", "inject", spec, "--rows", str(rows)])
    assert found.exit_code == 2, found.output
    assert says in found.output
    assert stand_in.asked == []


def test_the_list_names_every_fault_and_its_class(runner: CliRunner) -> None:
    listed = json.loads(runner.invoke(app, ["fault", "list", "-o", "json"]).stdout)
    assert len(listed) > 20
    assert all(each["class"] and each["what"] for each in listed)
    shown = runner.invoke(app, ["fault", "list"], env={"COLUMNS": "200"}).stdout
    assert all(each["fault"].partition(":")[0] in shown for each in listed)
