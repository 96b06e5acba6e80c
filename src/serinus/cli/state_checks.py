"""Checks of ``serinus doctor`` that look at state: who has the home, the store, the registry."""

import fcntl
import socket
import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from serinus.cli.scene import Finding, Scene
from serinus.store.versions import REVISION

__all__ = ["owner", "store", "tracking"]


def owner(scene: Scene) -> Finding:
    """Whether another server runs on this home, by the lock that it would hold."""
    path = scene.settings.home / "serinus.pid"
    try:
        with path.open() as file:
            pid = file.read(32).strip() or "unknown"
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _owned(scene, pid)
    except FileNotFoundError:
        return Finding("other server", True, "none uses this home")
    except (OSError, UnicodeDecodeError) as error:
        mend = f"look at it, then delete {path}"
        return Finding("other server", False, f"{path} can't be read: {error}", mend)
    # Whatever has that number by now: a server holds the lock for as long as it lives.
    left = "" if pid == "unknown" else f"; process {pid} left its pid file"
    return Finding("other server", True, f"none uses this home{left}")


def _owned(scene: Scene, pid: str) -> Finding:
    if scene.answer is not None:
        return Finding("other server", True, f"process {pid} serves from this home")
    mend = f"stop process {pid}, choose another --home, or give its URL with --server"
    told = f"process {pid} uses this home, not at {scene.server}"
    return Finding("other server", False, told, mend)


def store(scene: Scene) -> Finding:
    """Whether the store can be used, and was not written by a newer version."""
    url = scene.settings.store
    if not url.startswith("sqlite:///"):
        if find_spec("psycopg") is None:
            mend = "pip install 'serinus[postgresql]'"
            return Finding("store", False, "psycopg is not installed", mend)
        return _reachable("store", url, "start the database, or correct SERINUS_STORE")
    path = Path(url.removeprefix("sqlite:///"))
    if not path.exists():
        return Finding("store", True, f"{path} (will be created)")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)) as connection:
            names = connection.execute("SELECT name FROM sqlite_master").fetchall()
            revision = ""
            if ("alembic_version",) in names:
                [(revision,)] = connection.execute("SELECT version_num FROM alembic_version")
    except (sqlite3.Error, ValueError) as error:
        mend = f"restore {path} from a copy, or move it away"
        return Finding("store", False, f"{path}: {error}", mend)
    if revision > REVISION:
        told = f"{path} was written by a newer version (revision {revision}; known are {REVISION})"
        mend = "use that version of Serinus, or another --home"
        return Finding("store", False, told, mend)
    later = f", to be migrated from {revision} to {REVISION}" if revision < REVISION else ""
    return Finding("store", True, f"{path}{later if revision else ''}")


def tracking(scene: Scene) -> Finding:
    """Whether the registry of models is there."""
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
