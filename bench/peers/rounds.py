"""One model, all who can serve it: started one by one, then measured in shuffled turns.

Only neighbours in time are compared, for a shared machine changes its speed within minutes: rounds
are interleaved down to the cell, and a fixed loop of Python is timed around every one.
"""

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.answers import Payload
from bench.latency import LoadResult
from bench.load import Job, measure
from bench.measurement import measured
from bench.peers.catalogue import Peer
from bench.peers.environments import ROOT
from bench.peers.models import Case
from bench.peers.stand import LeftOut, Solo, Stand
from bench.processes import ProcessTree, limited_environment

__all__ = ["OPEN_CONNECTIONS", "Cell", "Measured", "Plan", "Rounds"]

#: An open loop needs a connection for each request that waits.
OPEN_CONNECTIONS = 256
_REASON = 400
#: What a fresh generator has to send before a server is weighed.
_FIRST_S = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured of one model."""

    connections: tuple[int, ...]
    seconds: float
    rounds: int
    warmup: float = 0.4
    #: Cold starts of each; the median counts.
    starts: int = 1
    #: Open loop at these shares of each one's own closed-loop capacity.
    shares: tuple[float, ...] = ()
    open_rounds: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """One peer under one load, once."""

    peer: str
    connections: int
    round: int
    load: LoadResult
    noise_ms: tuple[float, float]
    #: CPU of its processes by role, microseconds per answer.
    cpu_us: dict[str, float]
    #: Cores used by neither server nor generator.
    foreign_cores: float
    #: Share of its capacity that was asked for; 0 in a closed loop.
    share: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """For the results file, without the histogram: there are hundreds of cells."""
        data: dict[str, Any] = asdict(self)
        load: dict[str, Any] = data.pop("load")
        for name in ("connections", "histogram_ms", "bytes_in", "bytes_out"):
            load.pop(name)
        return data | load


@dataclass(slots=True)
class Measured:
    """What came of one model."""

    cells: list[Cell] = field(default_factory=list)
    solos: dict[str, Solo] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    #: Form → size of a batch → requests per second, of each round.
    in_process: list[dict[str, dict[str, float]]] = field(default_factory=list)


class Rounds:
    """Runs a plan. Ends what it started, whatever happens."""

    def __init__(
        self, plan: Plan, case: Case, peers: list[Peer], work: Path, console: Console
    ) -> None:
        self._plan = plan
        self._case = case
        self._peers = peers
        self._work = work
        self._console = console
        self._stands: dict[str, Stand] = {}
        self.measured = Measured()

    def execute(self) -> Measured:
        """All of it."""
        try:
            for peer in self._peers:
                if not peer.shares:
                    self._begin(peer)
            for number in range(self._plan.rounds):
                self._in_process()
                self._closed(number)
            for number in range(self._plan.open_rounds):
                self._open(number)
        finally:
            for stand in self._stands.values():
                stand.stop()
        for name, stand in self._stands.items():
            self.measured.solos[name] = stand.solo
        return self.measured

    def _begin(self, peer: Peer) -> None:
        self._say(f"{peer.name}: starts, is checked and weighed")
        stand = Stand(peer, self._case, self._work)
        try:
            stand.begin(self._plan.starts)
            measure(self._job(stand.tree, stand.asked, 16, seconds=_FIRST_S))
            stand.weigh()
            stand.idle()
            stand.freeze()
        except (LeftOut, RuntimeError) as error:
            stand.stop()
            self._leave_out(peer.name, str(error))
        except BaseException:
            stand.stop()
            raise
        else:
            self._stands[peer.name] = stand

    def _leave_out(self, name: str, reason: str) -> None:
        self.measured.left_out[name] = reason[:_REASON]
        self._console.print(f"{name} is left out: {reason}", style="red", markup=False)

    def _turns(self, number: int, connections: float) -> list[Peer]:
        """Everybody there, in an order of its own: nobody always follows the same neighbour."""
        there = [peer for peer in self._peers if (peer.shares or peer.name) in self._stands]
        random.Random(f"{number} {connections}").shuffle(there)  # noqa: S311 - an order, no secret
        return there

    def _closed(self, number: int) -> None:
        for connections in self._plan.connections:
            for peer in self._turns(number, connections):
                self._say(f"round {number + 1}, {connections} connections: {peer.name}")
                self._turn(peer, connections, number)

    def _open(self, number: int) -> None:
        for share in self._plan.shares:
            for peer in self._turns(number, share):
                rate = share * self._capacity(peer.name)
                if rate > 0 and not peer.shares:
                    self._say(f"open round {number + 1}, {share:.0%} of capacity: {peer.name}")
                    self._turn(peer, OPEN_CONNECTIONS, number, share, rate)

    def _turn(
        self, peer: Peer, connections: int, number: int, share: float = 0.0, rate: float = 0.0
    ) -> None:
        host = self._stands.get(peer.shares or peer.name)
        if host is None:
            return
        try:
            host.wake()
        except LeftOut as error:
            del self._stands[host.peer.name]
            self._leave_out(host.peer.name, f"did not wake up: {error}")
            return
        try:
            asked = host.health() if peer.shares else host.asked
            job = self._job(host.tree, asked, connections, rate=rate)
            self.measured.cells.append(_cell(peer.name, host.tree, job, number, share))
        except RuntimeError as error:
            # The generator got nowhere. Others go on, and its next turn starts it again.
            where = f"{peer.name}, round {number + 1}, {connections} connections"
            self._leave_out(where, str(error))
        host.freeze()

    def _capacity(self, name: str) -> float:
        """Most right answers per second that a closed loop got out of it, by the median round."""
        by_load: dict[int, list[float]] = {}
        for cell in self.measured.cells:
            if cell.peer == name and not cell.share:
                by_load.setdefault(cell.connections, []).append(cell.load.rps)
        return max((sorted(each)[len(each) // 2] for each in by_load.values()), default=0.0)

    def _in_process(self) -> None:
        self._say("the model in one process, without a server")
        model = self._case.model
        requests = model.path.with_suffix(".requests.json")
        files = [str(model.path), str(self._case.bare), str(requests)]
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "bench.peers.in_process", *files],
            env=limited_environment({"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            self._leave_out("in-process", done.stderr.strip()[-_REASON:])
        else:
            self.measured.in_process.append(json.loads(done.stdout.splitlines()[-1]))

    def _job(
        self,
        tree: ProcessTree,
        asked: list[Payload],
        connections: int,
        rate: float = 0.0,
        seconds: float = 0.0,
    ) -> Job:
        plan = self._plan
        length = seconds or plan.seconds
        return Job("127.0.0.1", tree.port, asked, connections, length, plan.warmup, rate)

    def _say(self, what: str) -> None:
        clock = time.strftime("%H:%M:%S")
        self._console.print(f"[dim]{clock} {self._case.name} {what}[/]", highlight=False)


def _cell(name: str, tree: ProcessTree, job: Job, number: int, share: float) -> Cell:
    found = measured(tree, job)
    answers = max(found.load.answers, 1)
    return Cell(
        peer=name,
        connections=job.connections,
        round=number,
        load=found.load,
        noise_ms=found.noise_ms,
        cpu_us={role: 1e6 * seconds / answers for role, seconds in found.cpu_s.items()},
        foreign_cores=found.foreign_cores,
        share=share,
    )
