import fcntl
import json
import os
import re
import socket
import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from serinus.cli.app import app
from serinus.cli.doctor import check_all
from serinus.cli.scene import Finding, Machine, Scene
from serinus.settings import load_settings

AT = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)
NOWHERE = "http://127.0.0.1:9"


def findings(
    home: Path,
    *,
    at: datetime = AT,
    answer: dict[str, str] | None = None,
    status: int = 0,
    machine: Machine | None = None,
    **overrides: object,
) -> dict[str, Finding]:
    settings = load_settings(None, {}, {"home": home, "port": 0, **overrides})
    scene = Scene(settings, NOWHERE, at, answer, status, machine or Machine())
    return {each.name: each for each in check_all(scene)}


def _same(kind: str, _: Path) -> str:
    return kind


def faulty(found: Finding, detail: str, mend: str) -> None:
    """It is a fault, and says what and how to put it right."""
    assert not found.ok
    assert detail in found.detail
    assert mend in found.mend


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
    pid.write_text("4711")
    with pid.open() as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        faulty(findings(tmp_path)["other server"], "4711 uses this home", "stop process 4711")
        assert findings(tmp_path, answer={})["other server"].ok
    pid.write_text("")
    assert findings(tmp_path)["other server"].ok


def test_a_pid_file_that_was_left_behind_stops_nobody(tmp_path: Path) -> None:
    # The number is somebody else's by now: this test's own.
    (tmp_path / "serinus.pid").write_text(str(os.getpid()))
    found = findings(tmp_path)["other server"]
    assert found.ok
    assert f"{os.getpid()} left its pid file" in found.detail


def test_a_pid_file_that_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "serinus.pid").mkdir()
    faulty(findings(tmp_path)["other server"], "can't be read", "delete")


def test_a_store_of_a_newer_and_of_an_older_version(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "serinus.db")) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num)")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
        connection.commit()
        faulty(findings(tmp_path)["store"], "newer version (revision 9999", "another --home")
        connection.execute("UPDATE alembic_version SET version_num = '0003'")
        connection.commit()
    older = findings(tmp_path)["store"]
    assert older.ok
    assert "to be migrated from 0003" in older.detail


def test_uv_that_is_missing_or_can_not_be_used(tmp_path: Path) -> None:
    broken = tmp_path / "uv"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    for there, detail in (
        (None, "not found"),
        (str(broken), "ends with 3"),
        (str(tmp_path / "gone"), "can't be run"),
    ):
        machine = Machine(uv=partial(str, there) if there else lambda: None)
        faulty(findings(tmp_path, machine=machine)["uv"], detail, "pip install")


def test_a_full_disk(tmp_path: Path) -> None:
    machine = Machine(free=lambda _: 2**20)
    faulty(findings(tmp_path, machine=machine)["disk"], "0.0 GiB free", "free some space")


def test_too_few_open_files(tmp_path: Path) -> None:
    machine = Machine(open_files=lambda: 256)
    faulty(findings(tmp_path, machine=machine)["open files"], "limit 256", "ulimit -Hn 4096")


def test_a_home_on_another_machines_disk(tmp_path: Path) -> None:
    for kind in ("nfs4", "cifs", "fuse.sshfs"):
        machine = Machine(filesystem=partial(_same, kind))
        faulty(findings(tmp_path, machine=machine)["filesystem"], f"is on {kind}", "--home")
    for kind in ("ext4", "xfs", ""):
        machine = Machine(filesystem=partial(_same, kind))
        assert findings(tmp_path, machine=machine)["filesystem"].ok
    assert Machine().filesystem(Path("/proc/self")) in ("proc", "")


def test_a_home_whose_path_is_too_long_for_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    found = findings(long)["socket path"]
    faulty(found, "of 107 bytes", "TMPDIR")


def test_who_may_come_in(tmp_path: Path) -> None:
    faulty(findings(tmp_path, host="0.0.0.0")["access"], "nobody is asked", "SERINUS_AUTH=required")
    asked = findings(tmp_path, host="0.0.0.0", auth="required")["access"]
    faulty(asked, "in the clear", "SERINUS_TLS_CERT")
    behind = findings(tmp_path, host="0.0.0.0", auth="required", behind_tls_proxy=True)
    assert behind["access"].ok
    refused = findings(tmp_path, answer={}, status=401)["access"]
    faulty(refused, "asks for a token", "serinus token create")


def test_every_check_is_in_the_how_to(tmp_path: Path) -> None:
    page = Path(__file__).parents[3] / "docs" / "how-to" / "check-a-set-up.md"
    rows = re.findall(r"^\| `([^`]+)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == list(findings(tmp_path))


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
