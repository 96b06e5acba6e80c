"""Between an engine and one replica: ends with it all that it started, and holds it to its limits.

Run as a script by the server's own Python, without packages: ``keeper.py REPLICA_DIR``. Linux only.
It must never read what the model writes, nor answer for it: a replica is asked, never its keeper.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["CAUSE_FILE", "KEPT_FILE", "main", "oom_kills"]

#: What to start and within which limits; written by the engine.
KEPT_FILE = "kept.json"
#: Why the keeper ended the replica, or what did; written by the keeper.
CAUSE_FILE = "cause.json"

_TURN_S = 0.25
#: A replica ends by itself when nobody wants it any more; one that can't is ended this much later.
_GRACE_S = 3.0
#: It may take seconds from the kernel's choice to the end of a large process.
_LOOK_S = 5.0
_SET_PDEATHSIG, _SET_SUBREAPER = 1, 36
#: Chosen before the server when memory runs out, for it can be started again.
_OOM_SCORE = "500"
_PAGE = os.sysconf("SC_PAGE_SIZE")
#: `os.kill` with it ends the replica at once.
_AT_ONCE = signal.SIGUSR1
_HEARD = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, _AT_ONCE}


class Keeper:
    """One replica, its descendants, its limits."""

    def __init__(self, directory: Path, kept: dict[str, Any]) -> None:
        self._directory = directory
        self._command: list[str] = kept["command"]
        self._limits: dict[str, int] = kept["limits"]
        self._lifeline: int | None = kept.get("lifeline")
        self._drain_s: float = kept.get("drain_s", 0.0)
        self._alone_since: float | None = None
        #: How often the kernel had chosen somebody, by two looks some seconds apart.
        self._kills = [oom_kills() or 0] * 2
        self._looked_at = time.monotonic()
        self._said = False
        self._prctl = ctypes.CDLL(None, use_errno=True).prctl
        # Whatever loses its parent becomes a child of this process, wherever it has moved to.
        self._prctl(_SET_SUBREAPER, 1, 0, 0, 0)
        # Heard one by one in `run`.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        me = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            self._become(me)

    def run(self) -> int:
        """Keep it until it ends; its wait status."""
        due = time.monotonic() + _TURN_S
        while True:
            heard = signal.sigtimedwait(_HEARD, _TURN_S)
            status = self._reap()
            if status is not None:
                if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
                    self._ask_the_kernel()
                return status
            # Stopped and continued while it waited, Python makes up what it has heard.
            if heard is not None and heard.si_signo in _HEARD - {signal.SIGCHLD}:
                number = signal.SIGKILL if heard.si_signo == _AT_ONCE else heard.si_signo
                os.kill(self._pid, number)
            if time.monotonic() >= due:  # however many signals keep it awake
                due = time.monotonic() + _TURN_S
                self._check()
                self._look()
                self._follow()

    def clear(self, within_s: float = 5.0) -> None:
        """End all that the replica started and left; they are children of this process by now."""
        give_up_at = time.monotonic() + within_s
        while time.monotonic() < give_up_at:
            # First none of them may start another one, then they go.
            for number in (signal.SIGSTOP, signal.SIGKILL):
                for pid in _below(os.getpid()):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    continue
            except ChildProcessError:
                return
            time.sleep(0.005)

    def _become(self, keeper: int) -> None:
        """Turn into the replica."""
        try:
            os.setsid()
            self._prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != keeper:  # it was gone before that held
                os._exit(1)
            with contextlib.suppress(OSError):
                Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
            _limit(resource.RLIMIT_CORE, 0)
            _limit(resource.RLIMIT_NOFILE, self._limits["files"])
            _limit(resource.RLIMIT_FSIZE, self._limits["file_bytes"])
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
            os.execv(self._command[0], self._command)  # noqa: S606 - the engine's own list
        except OSError as error:
            self._say("START", f"{self._command[0]} can't be started: {error.strerror}.")
        finally:
            os._exit(127)

    def _reap(self) -> int | None:
        """Bury who has died; the replica's wait status if it is among them."""
        found = None
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == self._pid:
                    found = status
                if pid == 0:
                    break
        return found

    def _check(self) -> None:
        """End it if it has taken more than it may."""
        most = self._limits["tasks"]
        tasks, pids = _tasks(self._pid), [self._pid]
        if tasks <= most:  # else there are too many to ask for their children
            pids += _below(self._pid)
            tasks = sum(map(_tasks, pids))
        if tasks > most:
            self._say("TASKS", f"The replica had {tasks} threads, more than its limit of {most}.")
            os.kill(self._pid, signal.SIGKILL)
        room = self._limits["memory_bytes"]
        if room and (used := sum(map(_private, pids))) > room:
            self._say(
                "OOM",
                f"OOM: the replica used {used >> 20} MiB of memory, more than its limit of "
                f"{room >> 20} MiB (replica_memory).",
            )
            os.kill(self._pid, signal.SIGKILL)

    def _follow(self) -> None:
        """End a replica that has outlived the supervisor: its model may not let it notice."""
        if self._lifeline is None or not _hung_up(self._lifeline):
            return
        now = time.monotonic()
        if self._alone_since is None:
            self._alone_since = now
        if now - self._alone_since > self._drain_s + _GRACE_S:
            self._say("ALONE", "The supervisor was gone and the model went on working.")
            os.kill(self._pid, signal.SIGKILL)

    def _look(self) -> None:
        """Remember how it was lately: what was killed long ago explains no end of today."""
        if time.monotonic() - self._looked_at > _LOOK_S:
            self._looked_at = time.monotonic()
            self._kills = [self._kills[1], oom_kills() or 0]

    def _ask_the_kernel(self) -> None:
        if (oom_kills() or 0) > self._kills[0]:
            self._say("OOM", "OOM: the system ended the replica because memory ran out.")

    def _say(self, cause: str, message: str) -> None:
        if self._said:
            return
        self._said = True
        with contextlib.suppress(OSError):
            whole = self._directory / f"{CAUSE_FILE}.tmp"
            whole.write_text(json.dumps({"cause": cause, "message": message}))
            whole.replace(self._directory / CAUSE_FILE)


def _hung_up(pipe: int) -> bool:
    """Whether nobody holds the other end any more."""
    poller = select.poll()
    poller.register(pipe, 0)  # nothing else is asked for, and the end is always told
    return bool(poller.poll(0))


def _limit(what: int, most: int) -> None:
    """A limit that can't be raised again; one that is lower already stays."""
    hard = resource.getrlimit(what)[1]
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(what, (most, most))


def _below(pid: int) -> list[int]:
    """The descendants of a process."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{each}/task"):
                children = Path(f"/proc/{each}/task/{task}/children").read_text().split()
                found += map(int, children)
                waiting += map(int, children)
    return found


def _tasks(pid: int) -> int:
    try:
        return os.stat(f"/proc/{pid}/task").st_nlink - 2
    except OSError:
        return 0


def _private(pid: int) -> int:
    """Bytes that would be free without it."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_bytes().split()
        return (int(fields[1]) - int(fields[2])) * _PAGE
    except (OSError, IndexError):
        return 0


def oom_kills(
    groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """How often memory ran out in our control group; None when the kernel won't tell."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, names, path = line.split(":", 2)
        if "memory" in names.split(","):
            top, name = root / "memory", "memory.oom_control"
        elif names:
            continue
        else:  # version 2 has one tree for all
            top, name = root, "memory.events"
        # In a container the path may be that of the host, and ours is at the top.
        for place in (top / path.lstrip("/"), top):
            with contextlib.suppress(OSError, ValueError):
                counts = dict(pair.split() for pair in (place / name).read_text().splitlines())
                if "oom_kill" in counts:
                    return int(counts["oom_kill"])
    return None


def main(directory: Path) -> int:
    """Keep the replica of that directory, then end as it did."""
    keeper = Keeper(directory, json.loads((directory / KEPT_FILE).read_bytes()))
    status = keeper.run()
    keeper.clear()
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
