"""A peer on its stand: started alone, proved right, frozen while others are measured.

The machine is small: whatever is not being measured is stopped (SIGSTOP), so that no peer pays
for another's housekeeping. One that does not come back from that is started again.
"""

import http.client
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.answers import AnswerCheck, Payload
from bench.peers.catalogue import Peer, Seat, payloads, variables
from bench.peers.environments import ENVIRONMENTS
from bench.peers.models import Case
from bench.peers.serinus import NotOffered, form
from bench.processes import DidNotStart, ProcessTree, ask, free_port, limited_environment
from bench.servers import health_payloads

__all__ = ["LeftOut", "Solo", "Stand"]

_IDLE_S = 2.0
_AWAKE_S = 20.0
_POLL_S = 0.02
#: Connections of the last load must be seen to be gone before a server is frozen.
_SETTLE_S = 0.15
_FAILURES = (OSError, http.client.HTTPException)


class LeftOut(Exception):
    """The peer can't be measured; the text says why."""


@dataclass(slots=True)
class Solo:
    """A peer alone on the machine."""

    cold_starts_s: list[float] = field(default_factory=list)
    pss_mib: float = 0.0
    processes: int = 0
    idle_cores: float = 0.0
    #: How often it had to be started again, since it did not wake up.
    restarts: int = 0
    #: Serinus: how its replica asks the model.
    form: str = ""


class Stand:
    """One peer with one model. The owner ends it with `stop`."""

    def __init__(self, peer: Peer, case: Case, work: Path) -> None:
        self.peer = peer
        self.solo = Solo()
        self.asked: list[Payload] = []
        self._case = case
        self._home = work / "run" / f"{peer.name}-{case.name.lower()}"
        self._tree: ProcessTree | None = None
        self._frozen = False

    @property
    def tree(self) -> ProcessTree:
        """Its processes. Raises RuntimeError before the start."""
        if self._tree is None:
            raise RuntimeError(f"{self.peer.name} does not run")
        return self._tree

    def begin(self, starts: int) -> None:
        """Cold starts, all but the last ended again; then the proof. Raises LeftOut."""
        if self.peer.caches:
            shutil.rmtree(self._home, ignore_errors=True)
            self._start()
            self.stop()
        for number in range(starts):
            self.solo.cold_starts_s.append(self._start())
            if number < starts - 1:
                self.stop()
        self._prepare()

    def stop(self) -> None:
        """End it, frozen or not."""
        if self._tree is not None:
            self.wake_processes()
            self._tree.stop()
            self._tree = None

    def freeze(self) -> None:
        """It takes no CPU from here on."""
        if self.peer.kind == "serinus":
            # Its supervision takes a process that stands still for one that hangs, and ends it.
            # Left as it is, it takes a hundredth of a core: its own figure says so.
            return
        time.sleep(_SETTLE_S)
        # Parents first: they must not see their children stand still.
        for process in self.tree.processes():
            _signal(process, stop=True)
        self._frozen = True

    def wake_processes(self) -> None:
        """Children first."""
        if self._frozen and self._tree is not None:
            for process in reversed(self._tree.processes()):
                _signal(process, stop=False)
        self._frozen = False

    def wake(self) -> None:
        """Runs again and answers rightly. Raises LeftOut when it does not even after a restart."""
        self.wake_processes()
        if self._answers(self.asked[0], _AWAKE_S):
            return
        self.solo.restarts += 1
        self.stop()
        self._start()
        self._prepare()

    def weigh(self) -> None:
        """Memory, after work: what was never used is not in memory yet."""
        memory = self.tree.memory()
        self.solo.pss_mib = sum(each.pss for each in memory)
        self.solo.processes = len(memory)

    def idle(self) -> None:
        """CPU while nobody asks."""
        before = self.tree.cpu_seconds()
        time.sleep(_IDLE_S)
        after = self.tree.cpu_seconds()
        used = sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
        self.solo.idle_cores = used / _IDLE_S

    def _start(self) -> float:
        self._home.mkdir(parents=True, exist_ok=True)
        home = self._home
        name = self.peer.environment_for(self._case.name)
        bin_ = ENVIRONMENTS[name].bin if name else Path()
        seat = Seat(free_port(), self._case, home, bin_)
        tracking = {"MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}"}
        extra = variables(seat) | self.peer.env | tracking
        self._tree = ProcessTree(
            self.peer.command(seat),
            env=limited_environment(extra),
            cwd=home,
            log=home / "output.log",
            port=seat.port,
        )
        first = payloads(self.peer, self._case)[0]
        try:
            return self._tree.wait_ready(first, self.peer.deadline)
        except DidNotStart as error:
            self.stop()
            raise LeftOut(f"did not start: {error}") from error

    def _prepare(self) -> None:
        port = self.tree.port
        try:
            if self.peer.after is not None:
                self.peer.after(port, self._case, self._home)
            if self.peer.kind == "serinus":
                self.solo.form = form(port)[0]
        except (NotOffered, *_FAILURES) as error:
            self.stop()
            raise LeftOut(f"{type(error).__name__}: {error}") from error
        self.asked = payloads(self.peer, self._case)
        for number, payload in enumerate(self.asked):
            if not self._answers(payload, _AWAKE_S):
                self.stop()
                raise LeftOut(f"answers request {number} wrongly: not measured")

    def health(self) -> list[Payload]:
        """What its gateway answers by itself."""
        return health_payloads(self._case.model, self.tree.port)

    def _answers(self, payload: Payload, within: float) -> bool:
        """A wrong answer is final; no answer yet is waited for."""
        check, give_up_at = AnswerCheck([payload]), time.monotonic() + within
        while time.monotonic() < give_up_at and not self.tree.ended:
            try:
                status, body = ask(self.tree.port, payload, timeout=within)
            except _FAILURES:
                time.sleep(_POLL_S)
                continue
            if status == 200:
                return check.right(0, body)
            time.sleep(_POLL_S)
        return False


def _signal(process: psutil.Process, *, stop: bool) -> None:
    try:
        if stop:
            process.suspend()
        else:
            process.resume()
    except psutil.NoSuchProcess:
        return
