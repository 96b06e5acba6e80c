import json
import os
import socket
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from serinus.cli.app import app
from serinus.cli.doctor import Finding, Scene, check_all
from serinus.settings import load_settings

AT = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
NOWHERE = "http://127.0.0.1:9"


def findings(
    home: Path,
    *,
    at: datetime = AT,
    answer: dict[str, str] | None = None,
    **overrides: object,
) -> dict[str, Finding]:
    settings = load_settings(None, {}, {"home": home, "port": 0, **overrides})
    return {each.name: each for each in check_all(Scene(settings, NOWHERE, at, answer))}


def test_a_healthy_machine_has_nothing_to_mend(tmp_path: Path) -> None:
    found = findings(tmp_path / "new")
    assert [name for name, each in found.items() if not each.ok] == []
    assert {each.mend for each in found.values()} == {""}
    assert not (tmp_path / "new").exists()


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    assert "another --home" in findings(tmp_path / "home")["home"].mend


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = findings(tmp_path, port=port)["port"]
    assert not found.ok
    assert str(port) in found.detail
    assert "--port" in found.mend


def test_a_broken_store(tmp_path: Path) -> None:
    (tmp_path / "serinus.db").write_bytes(b"this is no database at all" * 100)
    found = findings(tmp_path)["store"]
    assert not found.ok
    assert "serinus.db" in found.mend


def test_a_good_store(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "serinus.db")
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()
    assert findings(tmp_path)["store"].ok


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "postgresql://u:secret@127.0.0.1:9/db"])
def test_unreachable_databases_and_trackers(tmp_path: Path, url: str) -> None:
    found = findings(tmp_path, tracking_uri=url, store=url)
    for name in ("store", "tracking"):
        assert not found[name].ok
        assert "127.0.0.1" in found[name].detail
        assert "secret" not in found[name].detail + found[name].mend


def test_a_missing_tracking_file(tmp_path: Path) -> None:
    found = findings(tmp_path, tracking_uri=f"sqlite:///{tmp_path}/absent.db")["tracking"]
    assert not found.ok
    assert "MLFLOW_TRACKING_URI" in found.mend


def test_another_server_on_the_home(tmp_path: Path) -> None:
    pid = tmp_path / "serinus.pid"
    pid.write_text(str(os.getpid()))
    assert str(os.getpid()) in findings(tmp_path)["other server"].mend
    assert findings(tmp_path, answer={})["other server"].ok
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    pid.write_text(str(ended.pid))
    assert findings(tmp_path)["other server"].ok
    pid.write_text("")
    assert findings(tmp_path)["other server"].ok
    pid.write_text("not a pid")
    assert not findings(tmp_path)["other server"].ok


def test_a_wrong_clock(tmp_path: Path) -> None:
    assert not findings(tmp_path, at=datetime(1970, 1, 1, tzinfo=UTC))["clock"].ok
    assert findings(tmp_path, answer={"date": "Sat, 02 Jan 2027 03:04:03 GMT"})["clock"].ok
    apart = findings(tmp_path, answer={"date": "Sat, 02 Jan 2027 04:04:05 GMT"})["clock"]
    assert not apart.ok
    assert "3600 s" in apart.detail


def test_json_and_exit_codes(runner: CliRunner, stand_in: Any) -> None:
    good = runner.invoke(app, ["doctor", "--output", "json"])
    assert good.exit_code == 0, good.output
    assert json.loads(good.stdout)["ok"] is True
    Path(".serinus").mkdir()
    Path(".serinus/serinus.db").write_bytes(b"no database" * 100)
    bad = runner.invoke(app, ["doctor", "--output", "json"])
    assert bad.exit_code == 1
    checks = json.loads(bad.stdout)["checks"]
    assert [each["name"] for each in checks if not each["ok"]] == ["store"]
    table = runner.invoke(app, ["doctor"])
    assert (table.exit_code, "✗ │ store" in table.stdout) == (1, True)
