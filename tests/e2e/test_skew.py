"""Live values of two callers on one server: what is counted, for whom, and what is said of it."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from serinus.cli.app import app
from tests.e2e.running import Running, eventually, running
from tests.models import flights, saved

_ROWS = 100
_REQUESTS = 12


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("skew")
    model = directory / "model"
    shutil.copytree(saved("flights-1"), model)
    flights(4000, seed=1).to_parquet(directory / "sample.parquet")
    into = ("--into", str(model / "contract"))
    captured = _serinus(
        "contract", "capture", str(model), "--sample", str(directory / "sample.parquet"), *into
    )
    assert captured.exit_code == 0, captured.output
    with running(directory) as server:
        server.create("delay", {"one": (model, 100)})
        server.create("bare", {"one": (saved("flights-2"), 100)})
        yield server


def _serinus(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def _send(server: Running, endpoint: str, frame: pd.DataFrame, caller: str | None) -> None:
    headers = {} if caller is None else {"x-caller": caller}
    for begin in range(0, len(frame), _ROWS):
        split = json.loads(
            frame[begin : begin + _ROWS].to_json(orient="split", date_format="iso", index=False)
        )
        for row in split["data"]:
            row[5] = row[5].removesuffix("Z").removesuffix(".000")
        answer = server.ask(endpoint, {"dataframe_split": split}, headers=headers)
        assert answer.status_code == 200, answer.text


def _counted(server: Running, endpoint: str, rows: int, **asked: str) -> dict[str, Any]:
    """The skew once that many rows are counted."""

    def found() -> dict[str, Any] | None:
        answer = server.http.get(f"/api/serinus/v1/endpoints/{endpoint}/skew", params=asked)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        here = sum(each["rows"] for each in body["versions"])
        return body if here >= rows else None

    return eventually(found, what=f"{rows} counted rows")


def _skewed(found: dict[str, Any]) -> list[str]:
    fields = found["versions"][0]["training"]["fields"]
    return [each["field"] for each in fields if each["verdict"] == "skewed"]


def test_the_caller_who_sends_kilometres_is_told_from_the_one_who_does_not(
    server: Running,
) -> None:
    good = flights(_ROWS * _REQUESTS, seed=2)
    wrong = flights(_ROWS * _REQUESTS, seed=3)
    wrong["distance"] *= 1.609
    _send(server, "delay", good, "web")
    _send(server, "delay", wrong, "batch")
    refused = server.ask("delay", {"dataframe_records": [{"distance": "far"}]})
    assert refused.status_code == 400

    def settled() -> dict[str, Any] | None:
        """Rows, refusals and times are counted apart: each comes when it comes."""
        found = _counted(server, "delay", 2 * len(good))
        [version] = found["versions"]
        timed = [each["requests"] for each in version["stages"].values()]
        refused = sum(version["refused"].get("missing", {}).values())
        return found if refused and min(timed, default=0) >= 2 * _REQUESTS else None

    whole = eventually(settled, what="all that was sent")
    version = whole["versions"][0]
    assert version["version"] == "one"
    assert version["callers"]["web"] == version["callers"]["batch"] == len(good)
    assert sum(version["refused"]["missing"].values()) >= 1
    assert "distance" in _skewed(whole)

    # Each request's way through the replica, counted with its rows.
    assert set(version["stages"]) == {"wait", "read", "model", "write"}
    assert {each["requests"] for each in version["stages"].values()} == {2 * _REQUESTS}
    assert 0 < version["stages"]["model"]["p50_s"] <= version["stages"]["model"]["p99_s"]
    fading = _counted(server, "delay", 2 * len(good) - 100, decay="24h")
    assert fading["decay_s"] == 86_400
    assert "distance" in _skewed(fading)
    path, both = "/api/serinus/v1/endpoints/delay/skew", {"window": "1h", "decay": "24h"}
    assert server.http.get(path, params=both).status_code == 400

    batch = _counted(server, "delay", len(good), caller="batch")
    assert _skewed(batch)[0] == "distance"
    assert [each for each in _skewed(batch) if each not in ("distance", "(answers)")] == []
    web = _counted(server, "delay", len(good), caller="web")
    assert web["verdict"] == "alike", web["versions"][0]["training"]["fields"]

    shown = _serinus("skew", "delay", "--caller", "batch", "--server", server.url)
    assert shown.exit_code == 1, shown.output
    assert "distance" in shown.stdout
    assert "outside of training's range" in shown.stdout
    calm = _serinus("skew", "delay", "--caller", "web", "--server", server.url, "-o", "json")
    assert calm.exit_code == 0, calm.output
    assert json.loads(calm.stdout)["verdict"] == "alike"


def test_what_can_not_be_said_is_said_so(server: Running) -> None:
    few = _serinus("skew", "delay", "--caller", "nobody", "--server", server.url)
    assert few.exit_code == 4
    assert "not enough data" in few.stdout
    _send(server, "bare", flights(_ROWS, seed=4), None)
    found = _counted(server, "bare", _ROWS)
    assert found["verdict"] == "no training profile"
    assert "serinus contract capture" in found["versions"][0]["training"]["detail"]
    path = "/api/serinus/v1/endpoints/delay/skew"
    assert server.http.get(path, params={"window": "soon"}).status_code == 400
    assert server.http.get(path, params={"version": "two"}).status_code == 404


def test_what_is_read_as_mlflow_reads_it_is_answered_and_counted(server: Running) -> None:
    server.create("lenient", {"one": (saved("flights-2"), 100)}, intake="mlflow")
    row = json.loads(flights(1).to_json(orient="records", date_format="iso"))[0]
    row["scheduled"] = "2013-01-01T05:00:00"
    wrong = {**row, "weekend": "false", "hour": 7.9, "gate": "B12"}
    body = {"dataframe_records": [row, wrong, wrong]}
    assert server.ask("bare", body).status_code == 400
    for caller in ("web", "batch"):
        answer = server.ask("lenient", body, headers={"x-caller": caller})
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["predictions"]) == 3

    def coerced(**narrowed: str) -> dict[str, dict[str, int]]:
        found = server.http.get("/api/serinus/v1/endpoints/lenient/skew", params=narrowed).json()
        [version] = found["versions"] or [{"coerced": {}}]
        counts: dict[str, dict[str, int]] = version["coerced"]
        return counts

    expected = {"string": {"weekend": 4}, "fraction": {"hour": 4}, "extra column": {"": 2}}
    eventually(lambda: coerced() == expected, what=f"{expected}, counted")
    assert coerced(caller="web")["fraction"] == {"hour": 2}
