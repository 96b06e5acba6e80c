"""One replica as its files and its process tell it; a new controller reads it back from there.

``run/replicas/<id>/`` holds ``spec.json`` and ``launch.json`` (the wish), ``kept.json`` (the same
for its keeper), ``process.json`` (which process), ``status.json`` (written by the replica),
``stop.json`` (asked to go), ``cause.json`` (written by the keeper) and ``exit.json`` (how it
ended). Values of environment variables are in there: all is readable by the owner alone.
"""

import contextlib
import errno
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from serinus.engine import keeper
from serinus.engine import process as processes
from serinus.engine.engine import ReplicaPhase, ReplicaSpec, ReplicaStatus
from serinus.engine.keeper import CAUSE_FILE, KEPT_FILE
from serinus.engine.limits import Limits
from serinus.engine.output import ReplicaLogs
from serinus.engine.process import Identity, Process
from serinus.replica.launch import (
    LAUNCH_FILE,
    Launch,
    Phase,
    Status,
    read_launch,
    read_status,
    write_launch,
)

__all__ = ["Replica", "create_directory", "write_private"]

_T = TypeVar("_T")

#: Whether replicas run under a keeper, which needs Linux.
KEPT = sys.platform == "linux"

#: How long a directory without ``process.json`` may be one that is just being started elsewhere.
_BEING_STARTED_S = 2.0


@dataclass(frozen=True, slots=True)
class _Started:
    identity: Identity
    at: datetime


@dataclass(frozen=True, slots=True)
class _Exit:
    code: int | None
    message: str


@dataclass(frozen=True, slots=True)
class _Stop:
    at: datetime
    grace_s: float


@dataclass(frozen=True, slots=True)
class _Cause:
    cause: str
    message: str


class Replica:
    """Not safe for threads: its engine calls it under one lock. ``now`` is monotonic seconds."""

    def __init__(self, directory: Path, logs: ReplicaLogs, *, now: float, at: datetime) -> None:
        """Read a replica back; raises OSError or msgspec.DecodeError."""
        self.directory = directory
        self.spec = msgspec.json.decode((directory / "spec.json").read_bytes(), type=ReplicaSpec)
        self.launch: Launch = read_launch(directory)
        self.process: Process | None = None
        self._logs = logs
        self._started: _Started | None = None
        self._exit: _Exit | None = _read(directory / "exit.json", _Exit)
        self._status: Status | None = None
        self._status_seen = (0, 0)
        self._listened = False
        self._doom = ""
        self._known_since = now
        self._deadline = now + self.spec.start_deadline_s
        self._kill_at: float | None = None
        if stop := _read(directory / "stop.json", _Stop):
            self._kill_at = now + max(0.0, stop.grace_s - (at - stop.at).total_seconds())
        self._find_process()
        if self._started is not None:
            self._deadline -= max(0.0, (at - self._started.at).total_seconds())
        self.refresh(now)

    def start(
        self, command: list[str], environ: dict[str, str], limits: Limits, *, at: datetime
    ) -> None:
        """Start its process; that it can't be started is an exit like any other."""
        lifeline = self.launch.lifeline_fd
        try:
            self.process = processes.start(
                self._kept(command, limits),
                directory=self.directory,
                environ=environ,
                log=Path(self.launch.log_path),
                keep_open=() if lifeline is None else (lifeline,),
                kept=KEPT,
            )
        except OSError as error:
            self.not_started(f"{command[0]} can't be started: {error.strerror or error}.")
            return
        self._started = _Started(self.process.identity, at)
        write_private(self.directory / "process.json", msgspec.json.encode(self._started))

    def not_started(self, why: str) -> None:
        """It has ended before it began."""
        self._note_exit(None, why)

    def _kept(self, command: list[str], limits: Limits) -> list[str]:
        """What starts that command under a keeper; raises OSError when it is no program."""
        if not KEPT:
            return command
        if shutil.which(command[0]) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
        wish = {
            "command": command,
            "limits": limits,
            "lifeline": self.launch.lifeline_fd,
            "drain_s": self.launch.drain_s,
        }
        write_private(self.directory / KEPT_FILE, msgspec.json.encode(wish))
        # Of the server's Python it needs the standard library alone.
        return [sys.executable, "-I", "-S", keeper.__file__, str(self.directory)]

    def request_stop(self, grace_s: float, *, now: float, at: datetime) -> None:
        """Ask it to end, and have it killed ``grace_s`` later. A shorter grace wins."""
        kill_at = now + grace_s
        if self._kill_at is not None and self._kill_at <= kill_at:
            return
        first = self._kill_at is None
        self._kill_at = kill_at
        write_private(self.directory / "stop.json", msgspec.json.encode(_Stop(at, grace_s)))
        if first and self.process is not None:
            self.process.terminate()

    def refresh(self, now: float) -> bool:
        """Look at process and files; enforce deadlines. True when something changed."""
        before = (self.phase, self._status)
        self._read_status()
        if self._exit is None:
            self._look(now)
        return before != (self.phase, self._status)

    @property
    def phase(self) -> ReplicaPhase:
        if self._exit is not None:
            return ReplicaPhase.EXITED
        told = self._status.phase if self._status else None
        if self._kill_at is not None or told is Phase.DRAINING:
            return ReplicaPhase.DRAINING
        if told is None:
            return ReplicaPhase.STARTING
        return ReplicaPhase.READY if told is Phase.READY else ReplicaPhase.LOADING

    @property
    def over(self) -> bool:
        """True when it was asked to go and is gone."""
        return self._kill_at is not None and self._exit is not None

    def status(self) -> ReplicaStatus:
        told, phase = self._status, self.phase
        message = told.message if told else ""
        return ReplicaStatus(
            spec=self.spec,
            phase=phase,
            address=self.launch.socket_path if self._listened and self._exit is None else "",
            pid=self._pid() if self._exit is None else None,
            exit_code=self._exit.code if self._exit else None,
            message=self._exit.message if self._exit else message,
            batched=told.batched if told else False,
            batching=told.batching if told else "",
            form=told.form if told else "",
            form_reason=told.form_reason if told else "",
            form_report=told.form_report if told else (),
            started_at=self._started.at if self._started else None,
        )

    def _pid(self) -> int | None:
        """That of the replica itself, once it has said so, rather than its keeper's."""
        if self._started is None:
            return None
        return (self._status.pid if self._status else 0) or self._started.identity.pid

    def _look(self, now: float) -> None:
        process = self.process
        if process is None:
            self._find_process()
            if self.process is None and now - self._known_since > _BEING_STARTED_S:
                self._search()
        elif process.ended():
            self._read_status()  # FAILED is written just before the end
            # Another controller that was its parent may know more than we do.
            self._exit = _read(self.directory / "exit.json", _Exit)
            if self._exit is None:
                self._note_exit(process.exit_code, self._epitaph(process.exit_code))
        elif self._kill_at is not None and now >= self._kill_at:
            process.kill()
        elif self._kill_at is None and now >= self._deadline and not self._listened:
            self._doom = (
                f"The model was not ready {self.spec.start_deadline_s:g} s after the start and its "
                "process was killed; raise the start deadline if it needs longer."
            )
            process.kill()

    def _find_process(self) -> None:
        started = _read(self.directory / "process.json", _Started)
        if started is not None and self._exit is None:
            self._take_over(started)

    def _search(self) -> None:
        """No ``process.json``: the server ended between the start and the writing of it."""
        identity = processes.find(str(self.directory))
        if identity is None:
            self._note_exit(None, "The server ended while it was starting this replica.")
            return
        wished = (self.directory / "spec.json").stat().st_mtime
        started = _Started(identity, datetime.fromtimestamp(wished, UTC))
        write_private(self.directory / "process.json", msgspec.json.encode(started))
        self._take_over(started)

    def _take_over(self, started: _Started) -> None:
        self._started = started
        self.process = Process(started.identity, kept=(self.directory / KEPT_FILE).exists())
        if self._kill_at is not None:  # whoever was asked to stop it may not have come to it
            self.process.terminate()

    def _note_exit(self, code: int | None, message: str) -> None:
        self._exit = _Exit(code, message)
        with contextlib.suppress(FileNotFoundError):  # another engine has forgotten it already
            write_private(self.directory / "exit.json", msgspec.json.encode(self._exit))

    def _epitaph(self, code: int | None) -> str:
        """Why it ended: its own words, else ours, else the last lines that it printed."""
        told = self._status
        cause = _read(self.directory / CAUSE_FILE, _Cause)
        if cause is not None and not self._doom:
            return self._with_last_words(cause.message)
        if self._doom or (told is not None and told.phase is Phase.FAILED and told.message):
            reason = self._doom or (told.message if told else "")
            return reason if not self._doom else self._with_last_words(reason)
        if code == 0:
            return "" if self._kill_at is not None else "The replica ended by itself (exit code 0)."
        return self._with_last_words(_how(code))

    def _with_last_words(self, reason: str) -> str:
        words = self._logs.last_words(self.spec.replica_id)
        return f"{reason} Its last lines:\n{words}" if words else reason

    def _read_status(self) -> None:
        path = Path(self.launch.status_path)
        try:
            found = path.stat()
        except FileNotFoundError:
            return
        seen = (found.st_mtime_ns, found.st_ino)
        if seen == self._status_seen:
            return
        self._status_seen = seen
        try:
            self._status = read_status(path)
        except msgspec.DecodeError:  # the model's own code may have scribbled on it
            return
        if self._status is not None and self._status.phase in (Phase.READY, Phase.DRAINING):
            self._listened = True


def create_directory(directory: Path, spec: ReplicaSpec, launch: Launch) -> bool:
    """Make a replica's directory, whole or not at all; False when somebody else made it first."""
    temporary = Path(tempfile.mkdtemp(prefix=f".new-{directory.name}-", dir=directory.parent))
    write_private(temporary / "spec.json", msgspec.json.encode(spec))
    write_launch(temporary, launch)
    (temporary / LAUNCH_FILE).chmod(0o600)
    try:
        temporary.rename(directory)
    except OSError:
        for each in temporary.iterdir():
            each.unlink()
        temporary.rmdir()
        if directory.is_dir():
            return False
        raise
    return True


def write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step; only the owner can ever read it."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    with open(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)


def _read(path: Path, kind: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None


def _how(code: int | None) -> str:
    if code is None:
        return "The replica's process is gone."
    if code >= 0:
        return f"The replica's process ended with exit code {code}."
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (perhaps for want of memory)" if name == "SIGKILL" else ""
    return f"The replica's process was ended by {name}{hint}."
