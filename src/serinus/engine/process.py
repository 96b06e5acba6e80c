"""One operating-system process of a replica: start it, find it again, end it with all it started.

A process is known by pid, creation time and boot; a pid that was given to somebody else is never
mistaken for it, and never signalled.
"""

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

__all__ = ["Identity", "Process", "boot_id", "created_at", "find", "replica_environ", "start"]

#: Where psutil must tell them, creation times move a little when the clock is set.
_CLOCK_SLACK_S = 2.0
#: Seconds within which a keeper must have ended all that it keeps.
_KEEPER_S = 6.0

_ALLOWED = re.compile(
    r"HOME|USER|LOGNAME|LANG|LANGUAGE|LC_\w+|TZ|TZDIR|TMPDIR|TMP|TEMP|LD_LIBRARY_PATH"
    r"|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    r"|OPENBLAS_CORETYPE|MKL_(CBWR|ENABLE_INSTRUCTIONS)|NPY_\w+|CUDA_\w+|NVIDIA_\w+|MLFLOW_\w+"
)
#: Of what `_ALLOWED` lets through, what may carry a credential or lead to one.
_SECRET = re.compile(r"TOKEN|PASSWORD|PASSWD|USERNAME|SECRET|CREDENTIAL|KEY|AUTH|_UR[IL]|COOKIE")
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which process it is, told apart from every other one that ever had this pid."""

    pid: int
    #: When it was made: seconds since the boot on Linux (setting the clock must not make a process
    #: look like another one), as psutil tells it elsewhere.
    created: float
    #: Empty where the system has no such thing.
    boot: str


class Process:
    """A live or ended process; ``exit_code`` is known only when we are its parent."""

    def __init__(self, identity: Identity, *, ours: bool = False, kept: bool = False) -> None:
        """``kept``: it is a `keeper`, which must outlive what it keeps."""
        self.identity = identity
        self.exit_code: int | None = None
        self._kept = kept
        #: When the keeper was asked to end all.
        self._asked_at: float | None = None
        self._ours = ours  # we are its parent, and the only one to reap it
        self._ended = False
        #: Those seen while it could still be asked for them; they may have left its group.
        self._descendants: set[psutil.Process] = set()
        self._pidfd = _pidfd(identity.pid)
        if not ours and _alive(identity) is None:
            # Gone unseen: by now even its group's number may be somebody else's.
            self._ended = True
            self._close()

    def fileno(self) -> int | None:
        """A descriptor that becomes readable when the process ends; None where there is none."""
        return self._pidfd

    def ended(self) -> bool:
        """Whether it is gone. The first True has also ended what it left behind in its group."""
        if not self._ended and self._gone():
            self._end()
        return self._ended

    def terminate(self) -> None:
        """Ask it to end."""
        self._count_descendants()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and all its descendants, now. To be called again until it has ended."""
        if self.ended() or (self._kept and self._keeper_does_it()):
            return
        self._count_descendants()
        # The pid is ours until somebody reaps it, and the group with it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.identity.pid, signal.SIGKILL)
        self._signal(signal.SIGKILL)
        self._kill_descendants()

    def _keeper_does_it(self) -> bool:
        """Whether the keeper was asked, and is not overdue."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
            self._signal(signal.SIGUSR1)
        return time.monotonic() - self._asked_at < _KEEPER_S

    def _count_descendants(self) -> None:
        with contextlib.suppress(psutil.Error):
            if not self.ended():
                self._descendants |= set(psutil.Process(self.identity.pid).children(recursive=True))

    def _kill_descendants(self) -> None:
        for each in self._descendants:
            with contextlib.suppress(psutil.Error):  # psutil never mistakes a re-used pid
                each.kill()
        self._descendants.clear()

    def _signal(self, number: signal.Signals) -> None:
        if self.ended():
            return
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number)
            else:
                os.kill(self.identity.pid, number)

    def _gone(self) -> bool:
        if self._pidfd is not None:
            poller = select.poll()
            poller.register(self._pidfd, select.POLLIN)
            return bool(poller.poll(0))
        return _alive(self.identity) is None

    def _end(self) -> None:
        """Clear its group, then reap it; in this order, since an unreaped pid can't be re-used."""
        self._ended = True
        pid = self.identity.pid
        if self._ours or not psutil.pid_exists(pid) or _is(self.identity):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        if self._ours:
            with contextlib.suppress(ChildProcessError):
                self.exit_code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        self._kill_descendants()
        self._close()

    def _close(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def start(
    command: list[str],
    *,
    directory: Path,
    environ: Mapping[str, str],
    log: Path,
    keep_open: Iterable[int] = (),
    kept: bool = False,
) -> Process:
    """Start a process in a session of its own, its output appended to ``log``; raises OSError."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        child = subprocess.Popen(
            command,
            cwd=directory,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=tuple(keep_open),
        )
    finally:
        os.close(output)
    child.returncode = 0  # it is reaped by `Process`; Popen keeps its hands off what has ended
    created = 0.0
    with contextlib.suppress(psutil.Error):  # it can be over already; then nobody will look for it
        created = created_at(child.pid)
    return Process(Identity(child.pid, created, boot_id()), ours=True, kept=kept)


def find(argument: str) -> Identity | None:
    """The process whose command line ends with this argument, if there is one; its oldest."""
    found = {
        each.pid: each
        for each in psutil.process_iter(["cmdline", "ppid"])
        if (each.info["cmdline"] or [""])[-1] == argument
    }
    for pid, each in found.items():
        if each.info["ppid"] in found:  # kept by one that is found, too
            continue
        with contextlib.suppress(psutil.Error):
            return Identity(pid, created_at(pid), boot_id())
    return None


def created_at(pid: int) -> float:
    """See `Identity.created`; raises psutil.Error when there is no such process."""
    try:
        # Fields are counted from the closing bracket, since the name may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return psutil.Process(pid).create_time()


def boot_id() -> str:
    """What tells this boot of the machine from others; empty where the system has no such thing."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def replica_environ(
    server: Mapping[str, str],
    *,
    python: str,
    runtime: Path,
    threads: int,
    env_vars: Mapping[str, str],
) -> dict[str, str]:
    """The environment of a replica: an allow-list of the server's own, then what was asked for.

    Credentials of the server stay out unless they are in ``env_vars``.
    """
    environ = {
        name: value
        for name, value in server.items()
        if _ALLOWED.fullmatch(name) and not _SECRET.search(name)
    }
    environ["PATH"] = os.pathsep.join([str(Path(python).parent), server.get("PATH", os.defpath)])
    environ |= {name: str(threads) for name in _THREADS}
    environ |= {"PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
    environ |= env_vars
    wanted = env_vars.get("PYTHONPATH", "")
    environ["PYTHONPATH"] = os.pathsep.join(each for each in (str(runtime), wanted) if each)
    return environ


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (OSError, AttributeError):  # gone already, an old kernel, or macOS
        return None


def _is(identity: Identity) -> bool:
    """Whether the process that has this pid now is the one that is meant (a zombie counts)."""
    if identity.boot != boot_id():
        return False
    try:
        created = created_at(identity.pid)
    except psutil.Error:
        return False
    return abs(created - identity.created) <= _CLOCK_SLACK_S


def _alive(identity: Identity) -> psutil.Process | None:
    if not _is(identity):
        return None
    try:
        process = psutil.Process(identity.pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.Error:
        return None
