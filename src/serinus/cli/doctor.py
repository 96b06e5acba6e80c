"""``serinus doctor``: looks at this machine and says how to mend what is wrong. Changes nothing."""

import os
import resource
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import uv
from rich.markup import escape
from rich.table import Table

from serinus.cli.output import Exit, Output, show_json, stdout
from serinus.server.layout import Layout
from serinus.settings import Settings

__all__ = ["Finding", "Scene", "check_all", "examine"]

#: The kernel's limit for a unix socket's path, without the closing zero byte.
_SOCKET_PATH = 103 if sys.platform == "darwin" else 107
#: The longest that a socket's name below its directory gets: ``/<replica id>.sock``.
_SOCKET_NAME = 44
_OPEN_FILES = 4096
_FREE_BYTES = 2 * 2**30
#: No right clock shows an earlier moment than this release.
_RELEASED = datetime(2026, 11, 1, tzinfo=UTC)
_SKEW_S = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check saw."""

    name: str
    ok: bool
    detail: str
    #: How to put it right; empty when nothing is wrong.
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """What the checks look at."""

    settings: Settings
    server: str
    at: datetime
    #: Headers of the server's answer to a health question; None when nothing answered.
    answer: Mapping[str, str] | None


def examine(settings: Settings, server: str, token: str | None, output: Output) -> Exit:
    """Run every check, show them, and give the exit code."""
    # The clock is what is being checked here, so this command reads it itself.
    at = datetime.now(UTC)  # noqa: TID251
    findings = check_all(Scene(settings, server, at, _ask(server, token)))
    good = all(finding.ok for finding in findings)
    if output is Output.JSON:
        show_json({"ok": good, "checks": [asdict(finding) for finding in findings]})
    else:
        table = Table("", "check", "found", "mend")
        for each in findings:
            table.add_row(
                "[green]✓[/]" if each.ok else "[red]✗[/]",
                each.name,
                escape(each.detail),
                escape(each.mend),
            )
        stdout().print(table)
    return Exit.GOOD if good else Exit.FINDING


def check_all(scene: Scene) -> list[Finding]:
    """The findings of every check, in the order in which they are worth reading."""
    return [check(scene) for check in _CHECKS]


def _ask(server: str, token: str | None) -> Mapping[str, str] | None:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        return httpx.get(f"{server.rstrip('/')}/health", headers=headers, timeout=2.0).headers
    except (httpx.HTTPError, httpx.InvalidURL):
        return None


def _python(scene: Scene) -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    return Finding("python", good, found, "" if good else "install Python 3.11 or newer")


def _uv(scene: Scene) -> Finding:
    try:
        found = shutil.which("uv") or uv.find_uv_bin()
    except FileNotFoundError:
        return Finding("uv", False, "not found", "pip install uv; it builds model environments")
    return Finding("uv", True, found)


def _home(scene: Scene) -> Finding:
    home = scene.settings.home
    there = next(each for each in (home, *home.parents) if each.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        mend = f"make {there} writable, or choose another --home"
        return Finding("home", False, f"{home} can't be written", mend)
    return Finding("home", True, f"{home}" + ("" if there == home else " (will be created)"))


def _disk(scene: Scene) -> Finding:
    home = scene.settings.home
    there = next(each for each in (home, *home.parents) if each.exists())
    free = shutil.disk_usage(there).free
    good = free >= _FREE_BYTES
    mend = "" if good else "free some space: models and their environments take gigabytes"
    return Finding("disk", good, f"{free / 2**30:.1f} GiB free at {there}", mend)


def _owner(scene: Scene) -> Finding:
    """Whether another server runs on this home, by the pid that it left there."""
    path = scene.settings.home / "serinus.pid"
    try:
        text = path.read_text().strip()
    except FileNotFoundError:
        text = ""
    except OSError as error:
        text = str(error)
    if not text:
        # A server that ended well leaves the file empty.
        return Finding("other server", True, "none uses this home")
    if not text.isdecimal():
        return Finding(
            "other server", False, f"{path} can't be read", f"look at it, then delete {path}"
        )
    pid = int(text)
    if not psutil.pid_exists(pid):
        return Finding("other server", True, f"process {pid} left its pid file, but is gone")
    if scene.answer is not None:
        return Finding("other server", True, f"process {pid} serves from this home")
    mend = f"stop process {pid}, choose another --home, or give its URL with --server"
    return Finding(
        "other server", False, f"process {pid} uses this home, not at {scene.server}", mend
    )


def _port(scene: Scene) -> Finding:
    if scene.answer is not None:
        return Finding("port", True, f"a server answers at {scene.server}")
    host, port = scene.settings.host, scene.settings.port
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            # As the server binds: a port in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        mend = "choose another --port (0 takes a free one), or end what listens there"
        return Finding("port", False, f"{host}:{port} can't be used: {error.strerror}", mend)
    return Finding("port", True, f"{host}:{port} is free")


def _store(scene: Scene) -> Finding:
    url = scene.settings.store
    if not url.startswith("sqlite:///"):
        return _reachable("store", url, "start the database, or correct SERINUS_STORE")
    path = Path(url.removeprefix("sqlite:///"))
    if not path.exists():
        return Finding("store", True, f"{path} (will be created)")
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)
        try:
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error as error:
        return Finding(
            "store", False, f"{path}: {error}", f"restore {path} from a copy, or move it away"
        )
    return Finding("store", True, f"{path}, {tables} tables and indexes")


def _tracking(scene: Scene) -> Finding:
    url = scene.settings.tracking_uri
    mend = "start the tracking server, or correct MLFLOW_TRACKING_URI"
    if url is None:
        return Finding("tracking", True, "not set: MLflow's default")
    if url.startswith(("http://", "https://", "postgresql", "mysql", "mssql")):
        return _reachable("tracking", url, mend)
    path = Path(url.removeprefix("sqlite:///").removeprefix("file://"))
    return Finding("tracking", path.exists(), f"{path}", "" if path.exists() else mend)


def _reachable(name: str, url: str, mend: str) -> Finding:
    """Whether something listens where a URL points; never shows the password in it."""
    parts = urlsplit(url)
    scheme = parts.scheme.split("+")[0]
    usual = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
    try:
        host, port = parts.hostname or "localhost", parts.port or usual.get(scheme, 0)
        with socket.create_connection((host, port), timeout=2.0):
            return Finding(name, True, f"{scheme} at {host}:{port} answers")
    except (OSError, ValueError) as error:
        return Finding(name, False, f"{scheme} at {parts.hostname}: {error}", mend)


def _open_files(scene: Scene) -> Finding:
    # The hard limit: the server raises its soft one as far as it may.
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    good = limit == resource.RLIM_INFINITY or limit >= _OPEN_FILES
    mend = "" if good else f"ulimit -Hn {_OPEN_FILES}, or LimitNOFILE= in the systemd unit"
    return Finding("open files", good, f"limit {limit}", mend)


def _socket_path(scene: Scene) -> Finding:
    length = len(os.fsencode(Layout(scene.settings.home).run)) + _SOCKET_NAME
    good = length <= _SOCKET_PATH
    mend = "" if good else "set TMPDIR to a shorter path"
    return Finding("socket path", good, f"{length} of {_SOCKET_PATH} bytes", mend)


def _clock(scene: Scene) -> Finding:
    mend = "set the clock (NTP); deadlines, journals and delayed labels rely on it"
    if scene.at < _RELEASED:
        return Finding("clock", False, f"it is not {scene.at:%Y-%m-%d}", mend)
    date = (scene.answer or {}).get("date")
    if date:
        skew = abs((parsedate_to_datetime(date) - scene.at).total_seconds())
        if skew > _SKEW_S:
            return Finding("clock", False, f"{skew:.0f} s apart from the server's", mend)
    return Finding("clock", True, f"{scene.at:%Y-%m-%d %H:%M} UTC")


_CHECKS: tuple[Callable[[Scene], Finding], ...] = (
    _python,
    _uv,
    _home,
    _disk,
    _owner,
    _port,
    _store,
    _tracking,
    _open_files,
    _socket_path,
    _clock,
)
