"""A server as a tree of processes: start it, wait for its first right answer, weigh it, end it.

Ends only what it started, by pid.
"""

import http.client
import os
import re
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.answers import AnswerCheck, Payload

__all__ = [
    "DidNotStart",
    "Memory",
    "ProcessTree",
    "ask",
    "free_port",
    "limited_environment",
    "role",
]

_POLL_S = 0.02
#: Seconds that descendants have to follow their root.
_FOLLOW_S = 3.0
_MIB = 1024 * 1024
_ROLE = re.compile(r"serinus[\w./-]*[./](gateway|controller|replica)\b")


class DidNotStart(Exception):
    """The server ended, or gave no right answer within its deadline."""


@dataclass(frozen=True, slots=True)
class Memory:
    """One process, in MiB. `pss` shares what is shared fairly; `uss` is its own alone."""

    role: str
    pss: float
    uss: float
    rss: float


def free_port() -> int:
    """A port on the loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def ask(port: int, payload: Payload, timeout: float = 60.0) -> tuple[int, bytes]:
    """Send one payload as it is; status and body. Raises OSError or http.client.HTTPException."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.sendall(payload.request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return response.status, response.read()


class ProcessTree:
    """A started command with all its descendants, in a session of its own."""

    def __init__(
        self, command: list[str], *, env: dict[str, str], cwd: Path, log: Path, port: int
    ) -> None:
        self.port = port
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._began = time.perf_counter()
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                command,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._root = psutil.Process(self._popen.pid)

    def wait_ready(self, payload: Payload, deadline: float) -> float:
        """Seconds from the start of the process to its first right answer.

        Raises DidNotStart with the end of its log.
        """
        check = AnswerCheck([payload])
        last = "no connection"
        while time.perf_counter() - self._began < deadline:
            if self.ended:
                raise DidNotStart(self.ended)
            try:
                status, body = ask(self.port, payload)
            except (OSError, http.client.HTTPException) as error:
                last = f"{type(error).__name__}: {error}"
            else:
                if status == 200 and check.right(0, body):
                    return time.perf_counter() - self._began
                last = f"status {status}: {body[:300]!r}"
            time.sleep(_POLL_S)
        raise DidNotStart(f"no right answer in {deadline:.0f} s; last: {last}. {self._tail()}")

    @property
    def ended(self) -> str:
        """What the root said last, if it has ended; else empty."""
        code = self._popen.poll()
        return "" if code is None else f"ended with code {code}. {self._tail()}"

    def processes(self) -> list[psutil.Process]:
        """The root and all its descendants that live."""
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_seconds(self) -> dict[int, float]:
        """CPU used so far, by pid."""
        used = {}
        for process in self.processes():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            used[process.pid] = times.user + times.system
        return used

    def memory(self) -> list[Memory]:
        """Each process of the tree."""
        found = []
        for process in self.processes():
            try:
                info = process.memory_full_info()
                name = role(process.cmdline(), is_root=process.pid == self._root.pid)
            except psutil.NoSuchProcess:
                continue
            pss = getattr(info, "pss", info.uss)
            found.append(Memory(name, pss / _MIB, info.uss / _MIB, info.rss / _MIB))
        return found

    def roles(self) -> dict[int, str]:
        """Pid → role."""
        names = {}
        for process in self.processes():
            try:
                names[process.pid] = role(process.cmdline(), is_root=process.pid == self._root.pid)
            except psutil.NoSuchProcess:
                continue
        return names

    def stop(self, grace: float = 15.0) -> int:
        """End the tree: the root is asked, the rest follows or is killed.

        How many processes had to be killed because the root did not see to them.
        """
        members = self.processes()
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
        # The root is our child: it must be reaped here, psutil only watches the others.
        try:
            self._popen.wait(grace)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        others = [process for process in members if process.pid != self._root.pid]
        left = _outliving(others, _FOLLOW_S)
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        _outliving(left, _FOLLOW_S)
        return len(left)

    def _tail(self) -> str:
        text = self._log.read_text(encoding="utf-8", errors="replace").strip()
        return f"It said: {text[-1500:]}" if text else "It said nothing."


def _outliving(processes: list[psutil.Process], grace: float) -> list[psutil.Process]:
    """Those that still run after `grace` seconds; one that merely waits to be reaped does not."""
    deadline = time.monotonic() + grace
    while (left := [p for p in processes if _runs(p)]) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return left


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def role(command: list[str], *, is_root: bool) -> str:
    """What a process of a server does, by its command line."""
    found = _ROLE.search(" ".join(command))
    if found:
        return found[1]
    return "root" if is_root else "child"


def limited_environment(extra: dict[str, str]) -> dict[str, str]:
    """Ours, with one BLAS/OpenMP thread: the same for everybody."""
    names = ("OMP", "OPENBLAS", "MKL", "NUMEXPR")
    return os.environ | {f"{name}_NUM_THREADS": "1" for name in names} | extra
