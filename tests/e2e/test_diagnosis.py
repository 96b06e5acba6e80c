"""One caller's fault on a running server: found, told to whom it concerns, and over again."""

import json
import shutil
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from serinus.cli.app import app
from serinus.testing.faults import ClientFault, fault
from tests.e2e.running import Running, eventually, running
from tests.models import flights, saved

_ROWS = 100
_REQUESTS = 12
_OURS = "/api/serinus/v1/endpoints/delay"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("diagnosis")
    model = directory / "model"
    shutil.copytree(saved("flights-1"), model)
    flights(4000, seed=1).to_parquet(directory / "sample.parquet")
    captured = _serinus(
        "contract", "capture", str(model), "--sample", str(directory / "sample.parquet"),
        "--into", str(model / "contract"),
    )  # fmt: skip
    assert captured.exit_code == 0, captured.output
    with running(directory) as server:
        server.create("delay", {"one": (model, 100)})
        yield server


def _serinus(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})


def _send(server: Running, frame: pd.DataFrame, caller: str, spec: str | None = None) -> None:
    text = frame.assign(scheduled=frame["scheduled"].dt.strftime("%Y-%m-%dT%H:%M:%S"))
    rows = text.astype(object).where(text.notna(), None).to_dict(orient="records")
    if spec is not None:
        wrong = fault(spec)
        assert isinstance(wrong, ClientFault)
        rows = wrong.applied(rows)
    for begin in range(0, len(rows), _ROWS):
        body = {"dataframe_records": rows[begin : begin + _ROWS]}
        answer = server.ask("delay", body, headers={"x-caller": caller})
        assert answer.status_code == 200, answer.text


def _diagnosed(server: Running, rows: int, *more: str) -> tuple[dict[str, Any], int]:
    """The diagnosis once that many rows are counted, and the command's exit code."""

    def found() -> tuple[dict[str, Any], int] | None:
        told = _serinus("diagnose", "delay", "--server", server.url, "-o", "json", *more)
        assert told.exit_code in (0, 1, 4), told.output
        body = json.loads(told.stdout)
        # Samples come a little later than counts; until then nothing can be concluded.
        waits = rows > 0 and body["verdict"] == "inconclusive"
        return None if waits or body["rows"] < rows else (body, told.exit_code)

    return eventually(found, what=f"{rows} counted rows")


def test_a_callers_fault_is_found_and_ci_may_not_retrain(server: Running) -> None:
    asked = f"{_OURS}/diagnosis"
    assert server.http.get(asked).status_code == 404
    assert server.http.get(f"{asked}/may-retrain").json()["allowed"] is False
    few, code = _diagnosed(server, 0)
    assert (few["detail"], code) == ("inconclusive.not_enough_data", 4)

    count = _ROWS * _REQUESTS
    _send(server, flights(count, seed=2), "web")
    healthy, code = _diagnosed(server, count, "--live")
    assert (healthy["verdict"], code) == ("healthy", 0), json.dumps(healthy["findings"])
    assert {each["class"] for each in healthy["excluded"]} >= {"routing", "preprocessing", "drift"}

    def apart() -> list[str]:
        later, _ = _diagnosed(server, count, "--live")
        return [each for each in later["notes"] if "taken apart alone" in each]

    # Replicas took sampled requests apart when they came, and once more now; samples come a
    # little later than counts.
    assert eventually(apart, what="sampled rows taken apart again")
    assert server.http.get(f"{asked}/may-retrain").json()["allowed"] is True

    _send(server, flights(count, seed=3), "batch", "casing:carrier")
    found, code = _diagnosed(server, 2 * count)
    assert (found["detail"], code) == ("schema.semantics", 1), found
    assert found["features"] == ["carrier"]
    assert found["findings"][0]["callers"] == ["batch"]
    assert found["share"] == pytest.approx(0.5, abs=0.1)

    def rows() -> list[str]:
        later, _ = _diagnosed(server, 2 * count)
        return [row for each in later["findings"][0]["evidence"] for row in each.get("rows", ())]

    # Sampled requests come a little later than the counts: they are taken apart first.
    assert eventually(rows, what="rows as evidence")
    answer = server.http.get(f"{asked}/may-retrain").json()
    assert answer["allowed"] is False
    assert "schema.semantics" in answer["reason"]

    shown = _serinus("diagnose", "delay", "--server", server.url)
    assert shown.exit_code == 1
    assert "letter case" in shown.stdout
    assert "Do not retrain" in shown.stdout
    web, code = _diagnosed(server, count, "--caller", "web")
    assert (web["verdict"], code) == ("healthy", 0)

    assert server.http.get(asked).json()["detail"] == "schema.semantics"
    assert server.http.post(asked, json={"windw": "1h"}).status_code == 400
