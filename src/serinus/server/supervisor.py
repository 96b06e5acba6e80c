"""The supervisor: owns the listening socket, starts the other processes and starts them again.

It must stay small and never do a request's or a rollout's work: while it lives, the unit lives.
"""

import ctypes
import fcntl
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

if __name__ == "__main__":
    # Libraries load it for its colours where they find it: 5 MB that nobody here looks at.
    sys.modules["rich"] = None  # type: ignore[assignment]

import msgspec
import psutil
import structlog

from serinus.gateway.bounds import HEAP
from serinus.gateway.hosts import is_loopback
from serinus.server.child import CONFIG_FAULT, Inheritance, configure_logging
from serinus.server.children import Child
from serinus.server.layout import Layout
from serinus.server.reload import Reload, ReloadStatus
from serinus.server.start import told_settings
from serinus.server.tls import tls_context
from serinus.settings import Settings

__all__ = ["StartRefused", "Supervisor", "serve"]

_log = structlog.get_logger("serinus.supervisor")
_BACKLOG = 2048
_SETTLED_S = 10.0
#: A gateway that says nothing for this long is replaced.
_LEASE_S = 10.0
#: Longer between two looks, and the supervisor itself stood still: a silence then says nothing.
_LATE_S = 2.0
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


class Supervisor:
    """Takes the home and the port at once; raises StartRefused when either is not to be had."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._signals: list[int] = []
        self._ending = False
        self._layout = Layout(settings.home)
        _refuse_open_door(settings)
        try:
            self._layout.make()
        except OSError as error:
            raise StartRefused(f"the home can't be used: {error}") from error
        if settings.tls_cert:
            _refuse_bad_certificate(settings)
        self._lock = _take_home(self._layout.lock)
        self._listener = _listen(settings.host, settings.port)
        self._lifeline_read, self._lifeline_write = os.pipe()
        self._voice_read, self._voice_write = os.pipe()
        self._children = [Child("controller", "serinus.server.controller")]
        #: Gateways so far: none ever has the name of another one.
        self._count = 0
        for _ in range(settings.gateways):
            self.add_gateway()
        self._reload = Reload(self, self._show_reload, drain_s=settings.drain)
        self._reload_wanted = False
        #: Monotonic time of the last look for gateways that are silent.
        self._looked_at = time.monotonic()
        self._layout.reload.unlink(missing_ok=True)  # an earlier server's

    @property
    def url(self) -> str:
        """Where clients reach this server."""
        host, port = self._listener.getsockname()[:2]
        scheme = "https" if self.settings.tls_cert else "http"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

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
        signal.signal(signal.SIGUSR1, lambda *_: self._want_reload())
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
                self._hear(os.read(self._voice_read, 65536).decode(), time.monotonic())
            self._end_silent(time.monotonic())
            self._replace()
            if not announced and all(child.ready for child in self._children):
                announced = True
                self._reload.announce()
                _log.info("listening", url=self.url, home=str(self._layout.home), pid=os.getpid())
        self._shut_down()
        return code

    # What a reload asks for

    def gateways(self) -> list[Child]:
        """All gateways, also those that start or end."""
        return [child for child in self._children if child.speaks]

    def add_gateway(self) -> Child:
        """One more gateway, which is started at once and started again if it ends."""
        child = Child(f"gateway-{self._count}", "serinus.server.gateway")
        self._count += 1
        self._children.append(child)
        return child

    def forget(self, child: Child) -> None:
        """Keep it no longer. A process that is still there is killed."""
        self._children.remove(child)
        self.tell(child, signal.SIGKILL)

    def tell(self, child: Child, number: signal.Signals) -> None:
        """Signal its process."""
        if child.pid > 0:
            with suppress(ProcessLookupError):
                os.kill(child.pid, number)

    def _want_reload(self) -> None:
        self._reload_wanted = True

    def _show_reload(self, status: ReloadStatus) -> None:
        self._layout.write_reload(msgspec.json.encode(status))

    def _replace(self) -> None:
        if self._reload_wanted:
            self._reload_wanted = False
            self._reload.ask()
        self._reload.turn(time.monotonic())

    def _hear(self, names: str, now: float) -> None:
        for child in self._children:
            if child.name in names.split():
                child.ready, child.heard_at = True, now

    def _end_silent(self, now: float) -> None:
        """Kill a gateway that gives no sign of life: it may be serving by routes of long ago.

        Only its death lets the controller count a generation as acknowledged without it.
        """
        late = now - self._looked_at
        self._looked_at = now
        for child in self._children:
            spoken = child.heard_at > child.started_at
            if spoken and late > _LATE_S:  # all was stopped, them included: nobody could speak
                child.heard_at += late
            if child.pid > 0 and spoken and child.speaks and now - child.heard_at > _LEASE_S:
                _log.error("gateway_silent", name=child.name, pid=child.pid, lease_s=_LEASE_S)
                os.kill(child.pid, signal.SIGKILL)
                child.heard_at = 0.0

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.pid == 0 and now >= child.not_before and not child.retired_at:
                self._start(child, now)

    def _start(self, child: Child, now: float) -> None:
        listen_fd = self._listener.fileno() if child.speaks else -1
        told = Inheritance(
            child.name, self.settings, self._lifeline_read, self._voice_write, listen_fd
        )
        passed = [fd for fd in (self._lifeline_read, self._voice_write, listen_fd) if fd >= 0]
        process = subprocess.Popen(
            [sys.executable, "-m", child.module],
            stdin=subprocess.PIPE,
            pass_fds=passed,
            start_new_session=True,  # Ctrl-C in a terminal reaches the supervisor alone
            env={**HEAP, **os.environ} if child.speaks else None,
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

    def _note_end(self, child: Child, code: int) -> None:
        now = time.monotonic()
        if code == CONFIG_FAULT and not child.ready:
            child.pid = -1
            return
        lived = now - child.started_at
        child.failures = 0 if lived > _SETTLED_S else child.failures + 1
        pause = _BACKOFF_S[min(child.failures, len(_BACKOFF_S) - 1)]
        child.pid, child.not_before = 0, now + pause
        if not (self._ending or child.retired_at):
            _log.warning("process_ended", name=child.name, code=code, restart_in_s=pause)

    def _shut_down(self) -> None:
        """Gateways finish what they have, then the controller ends, then the replicas."""
        _log.info("draining", limit_s=self.settings.drain)
        self._ending = True
        self._signals.clear()
        self._listener.close()
        gateways = [child for child in self._children if child.speaks]
        self._end(gateways, self.settings.drain + 1)
        self._end([child for child in self._children if child not in gateways], 10.0)
        os.close(self._lifeline_write)  # replicas end when nothing holds this any more
        self._wait_for_descendants(self.settings.drain)
        self._layout.lock.write_text("")
        _log.info("ended")

    def _end(self, children: list[Child], patience_s: float) -> None:
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


def _refuse_open_door(settings: Settings) -> None:
    """Nobody but this machine may reach a server that asks nobody who they are."""
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise StartRefused("SERINUS_TLS_CERT and SERINUS_TLS_KEY go together; set both or neither")
    if is_loopback(settings.host):
        return
    where = f"--host {settings.host} can be reached from other machines"
    if settings.auth != "required":
        raise StartRefused(
            f"{where}, so callers must have tokens: add --auth (and make the first token with "
            "`serinus token create --name me --admin`), or listen on 127.0.0.1"
        )
    if not (settings.tls_cert or settings.behind_tls_proxy):
        raise StartRefused(
            f"{where}, and tokens must not travel in the clear: set SERINUS_TLS_CERT and "
            "SERINUS_TLS_KEY, or put a proxy that speaks TLS in front and say --behind-tls-proxy"
        )


def _refuse_bad_certificate(settings: Settings) -> None:
    """Say so now, not in a gateway that starts again and again."""
    try:
        tls_context(settings)
    except (OSError, ssl.SSLError) as error:
        raise StartRefused(
            f"TLS can't be spoken with {settings.tls_cert} and {settings.tls_key}: {error}; give "
            "a certificate and its key, both as PEM"
        ) from error


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


if __name__ == "__main__":
    sys.exit(serve(told_settings(int(sys.argv[1]))))
