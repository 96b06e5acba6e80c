"""The supervisor: owns the listening socket, starts the other processes and starts them again.

It must stay small and never do a request's or a rollout's work: while it lives, the unit lives.
"""

import ctypes
import fcntl
import ipaddress
import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import structlog

from serinus.server.child import CONFIG_FAULT, Inheritance, configure_logging
from serinus.server.layout import Layout
from serinus.settings import Settings

__all__ = ["StartRefused", "Supervisor", "serve"]

_log = structlog.get_logger("serinus.supervisor")
_BACKLOG = 2048
_SETTLED_S = 10.0
#: A gateway that says nothing for this long is replaced.
_LEASE_S = 10.0
_BACKOFF_S = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_PR_SET_CHILD_SUBREAPER = 36


class StartRefused(Exception):
    """The server can't start; the message says why and what to do."""


def serve(settings: Settings) -> int:
    """Run the server until it is told to end; returns an exit code (2: it could not start)."""
    configure_logging(settings, "supervisor")
    try:
        supervisor = Supervisor(settings)
    except StartRefused as refusal:
        print(f"serinus: {refusal}", file=sys.stderr)  # noqa: T201 - for the person who started it
        return 2
    return supervisor.run()


@dataclass(slots=True)
class _Child:
    """One process that must always run."""

    name: str
    module: str
    pid: int = 0
    started_at: float = 0.0
    failures: int = 0
    #: Monotonic time before which it is not started again.
    not_before: float = 0.0
    ready: bool = False
    #: Monotonic time of its last sign of life.
    heard_at: float = 0.0


class Supervisor:
    """Takes the home and the port at once; raises StartRefused when either is not to be had."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._signals: list[int] = []
        self._ending = False
        self._layout = Layout(settings.home)
        _refuse_open_door(settings.host)
        try:
            self._layout.make()
        except OSError as error:
            raise StartRefused(f"the home can't be used: {error}") from error
        self._lock = _take_home(self._layout.lock)
        self._listener = _listen(settings.host, settings.port)
        self._lifeline_read, self._lifeline_write = os.pipe()
        self._voice_read, self._voice_write = os.pipe()
        self._children = [_Child("controller", "serinus.server.controller")]
        self._children += [
            _Child(f"gateway-{number}", "serinus.server.gateway")
            for number in range(settings.gateways)
        ]

    @property
    def url(self) -> str:
        """Where clients reach this server."""
        host, port = self._listener.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def run(self) -> int:
        """Supervise until SIGTERM or SIGINT; then drain. Returns the exit code."""
        _raise_file_limit()
        _adopt_orphans()
        wakeup_read, wakeup_write = os.pipe()
        for end in (wakeup_read, wakeup_write):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wakeup_write)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: self._signals.append(number))
        signal.signal(signal.SIGCHLD, lambda *_: None)
        announced = False
        code = 0
        while not self._signals:
            self._reap()
            if any(child.pid < 0 for child in self._children):
                code = 2  # it said why itself
                break
            self._start_due()
            readable, _, _ = select.select([wakeup_read, self._voice_read], [], [], 0.25)
            if wakeup_read in readable:
                with suppress(BlockingIOError):
                    os.read(wakeup_read, 4096)
            if self._voice_read in readable:
                self._hear(os.read(self._voice_read, 65536).decode())
            self._end_silent()
            if not announced and all(child.ready for child in self._children):
                announced = True
                _log.info("listening", url=self.url, home=str(self._layout.home), pid=os.getpid())
        self._shut_down()
        return code

    def _hear(self, names: str) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.name in names.split():
                child.ready, child.heard_at = True, now

    def _end_silent(self) -> None:
        """Kill a gateway that gives no sign of life: it may be serving by routes of long ago.

        Only its death lets the controller count a generation as acknowledged without it.
        """
        now = time.monotonic()
        for child in self._children:
            spoken = child.heard_at > child.started_at
            if child.pid > 0 and spoken and _speaks(child) and now - child.heard_at > _LEASE_S:
                _log.error("gateway_silent", name=child.name, pid=child.pid, lease_s=_LEASE_S)
                os.kill(child.pid, signal.SIGKILL)
                child.heard_at = 0.0

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.pid == 0 and now >= child.not_before:
                self._start(child, now)

    def _start(self, child: _Child, now: float) -> None:
        listen_fd = self._listener.fileno() if _speaks(child) else -1
        told = Inheritance(
            child.name, self.settings, self._lifeline_read, self._voice_write, listen_fd
        )
        passed = [fd for fd in (self._lifeline_read, self._voice_write, listen_fd) if fd >= 0]
        process = subprocess.Popen(
            [sys.executable, "-m", child.module],
            stdin=subprocess.PIPE,
            pass_fds=passed,
            start_new_session=True,  # Ctrl-C in a terminal reaches the supervisor alone
        )
        if process.stdin is not None:
            with suppress(BrokenPipeError):  # it died at once; `_reap` will say so
                process.stdin.write(told.encode())
                process.stdin.close()
        child.pid, child.started_at = process.pid, now
        # The supervisor waits for any child itself; Popen must not wait for this one again.
        process.returncode = 0

    def _reap(self) -> None:
        """Take note of every process that ended, adopted orphans included."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self._children:
                if child.pid == pid:
                    self._note_end(child, os.waitstatus_to_exitcode(status))

    def _note_end(self, child: _Child, code: int) -> None:
        now = time.monotonic()
        if code == CONFIG_FAULT and not child.ready:
            child.pid = -1
            return
        lived = now - child.started_at
        child.failures = 0 if lived > _SETTLED_S else child.failures + 1
        pause = _BACKOFF_S[min(child.failures, len(_BACKOFF_S) - 1)]
        child.pid, child.not_before = 0, now + pause
        if not self._ending:
            _log.warning("process_ended", name=child.name, code=code, restart_in_s=pause)

    def _shut_down(self) -> None:
        """Gateways finish what they have, then the controller ends, then the replicas."""
        _log.info("draining", limit_s=self.settings.drain)
        self._ending = True
        self._signals.clear()
        self._listener.close()
        gateways = [child for child in self._children if _speaks(child)]
        self._end(gateways, self.settings.drain + 1)
        self._end([child for child in self._children if child not in gateways], 10.0)
        os.close(self._lifeline_write)  # replicas end when nothing holds this any more
        self._wait_for_descendants(self.settings.drain)
        self._layout.lock.write_text("")
        _log.info("ended")

    def _end(self, children: list[_Child], patience_s: float) -> None:
        for child in children:
            if child.pid > 0:
                os.kill(child.pid, signal.SIGTERM)
        give_up_at = time.monotonic() + patience_s
        while any(child.pid > 0 for child in children):
            self._reap()
            if self._signals or time.monotonic() > give_up_at:  # asked twice means now
                for child in children:
                    if child.pid > 0:
                        with suppress(ProcessLookupError):
                            os.kill(child.pid, signal.SIGKILL)
            time.sleep(0.02)

    def _wait_for_descendants(self, patience_s: float) -> None:
        give_up_at = time.monotonic() + patience_s
        myself = psutil.Process()
        while left := myself.children(recursive=True):
            if self._signals or time.monotonic() > give_up_at:
                for process in left:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
            self._reap()
            time.sleep(0.02)


def _speaks(child: _Child) -> bool:
    """True for gateways: they hold the socket, and they must go on giving signs of life."""
    return child.name.startswith("gateway")


def _refuse_open_door(host: str) -> None:
    """Nobody but this machine may reach a server that asks nobody who they are."""
    try:
        closed = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        closed = False
    if not closed:
        raise StartRefused(
            f"--host {host} is not a loopback address, and this version has no access control; "
            "listen on 127.0.0.1 and put an authenticating proxy in front"
        )


def _take_home(path: Path) -> int:
    """Lock the home for this process; the lock ends with it, however it ends."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.read(lock, 32).decode().strip() or "unknown"
        raise StartRefused(
            f"another server (pid {pid}) uses the home {path.parent}; "
            "end that one, or give this one another --home"
        ) from error
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for attempt in range(6):
        try:
            listener.bind((host, port))
        except OSError as error:
            # Gateways of a server that was just killed need a moment to let go of the port.
            if attempt < 5:
                time.sleep(0.1)
                continue
            raise StartRefused(
                f"port {port} on {host} is not to be had ({error.strerror}); "
                "choose another one with --port, or --port 0 for any free one"
            ) from error
        break
    listener.listen(_BACKLOG)
    return listener


def _raise_file_limit() -> None:
    """One connection is one file; the default limit of 1024 is for people, not for servers."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415 - not on every platform

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = hard if hard != resource.RLIM_INFINITY else 65536
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _adopt_orphans() -> None:
    """On Linux, processes whose parent dies (replicas of a killed controller) become ours."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
