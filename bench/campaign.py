"""One run of the benchmark: each contender alone for weight and cold start, then all in turns.

Rounds are interleaved down to the cell (A B C, A B C, …), since a shared machine changes its speed
within minutes: only neighbours in time are compared.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.answers import Payload
from bench.latency import LoadResult
from bench.load import Job, measure
from bench.measurement import measured
from bench.models import BenchModel
from bench.processes import DidNotStart, Memory, ProcessTree
from bench.servers import (
    CONTENDERS,
    Contender,
    bare_memory,
    forget,
    health_payloads,
    payloads,
    start,
)

__all__ = ["Campaign", "Cell", "Plan", "Solo"]


#: How long a server is watched while nobody asks.
_IDLE_S = 1.5
#: An open loop needs a connection for each request that waits; it takes long, so fewer rounds.
_OPEN_CONNECTIONS = 256
_OPEN_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    contenders: tuple[str, ...]
    connections: tuple[int, ...] = (1, 16, 64)
    seconds: float = 3.0
    warmup: float = 0.4
    rounds: int = 3
    #: Cold starts per contender; the median counts.
    starts: int = 1
    #: Open loop at these shares of each contender's own closed-loop capacity.
    shares: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """One contender under one load, once."""

    contender: str
    connections: int
    round: int
    load: LoadResult
    #: A fixed loop of Python, before and after: the machine's own speed.
    noise_ms: tuple[float, float]
    #: CPU seconds of the server while it was loaded, by role.
    cpu_s: dict[str, float]
    #: Cores used by neither server nor generator.
    foreign_cores: float
    #: Share of its capacity that was asked for; 0 in a closed loop.
    share: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """For the results file."""
        return asdict(self)


@dataclass(slots=True)
class Solo:
    """A contender alone on the machine."""

    cold_starts_s: list[float] = field(default_factory=list)
    #: First start with empty caches, for those who have any.
    first_start_s: float | None = None
    memory: list[Memory] = field(default_factory=list)
    #: Cores used while nobody asked.
    idle_cores: float = 0.0
    killed_at_stop: int = 0


class Campaign:
    """Runs a plan. What can't be started is noted in `missing` and left out of the rounds."""

    def __init__(self, plan: Plan, model: BenchModel, work: Path, console: Console) -> None:
        self._plan = plan
        self._model = model
        self._work = work
        self._console = console
        self._payloads = payloads(model)
        self.ceiling: dict[int, LoadResult] = {}
        self.solos: dict[str, Solo] = {}
        self.missing: dict[str, str] = {}
        self.cells: list[Cell] = []
        self.bare_mib = 0.0

    def execute(self) -> None:
        """All of it. Servers that were started are stopped, whatever happens."""
        self._measure_ceiling()
        self._say("bare model process")
        self.bare_mib = bare_memory(self._model, self._work)
        own = [CONTENDERS[name] for name in self._plan.contenders if not CONTENDERS[name].shares]
        for contender in own:
            self._alone(contender)
        running: dict[str, ProcessTree] = {}
        try:
            for contender in own:
                if contender.name in self.solos:
                    running[contender.name] = start(contender, self._model, self._work)
            for name, tree in running.items():
                self._say(f"{name}: starts for the rounds")
                # All start at once: each may take what it takes alone, times their number.
                deadline = CONTENDERS[name].deadline * len(running)
                tree.wait_ready(self._payloads[0], deadline)
            self._rounds(running)
        finally:
            for tree in running.values():
                tree.stop()

    @property
    def model(self) -> str:
        """Name of the model that was served."""
        return self._model.name

    def capacity(self, contender: str) -> float:
        """Most right answers per second that a closed loop got out of it."""
        closed = (cell for cell in self.cells if not cell.share)
        return max((cell.load.rps for cell in closed if cell.contender == contender), default=0.0)

    def _alone(self, contender: Contender) -> None:
        solo = Solo()
        try:
            if contender.caches:
                forget(contender, self._model, self._work)
                self._say(f"{contender.name}: first start, fills its caches")
                with self._started(contender, solo) as (_, took):
                    solo.first_start_s = took
            for _ in range(self._plan.starts):
                self._say(f"{contender.name}: cold start")
                with self._started(contender, solo) as (tree, took):
                    solo.cold_starts_s.append(took)
                    solo.idle_cores = _idle_cores(tree)
                    # Weighed after work: what was never used is not in memory yet.
                    measure(self._job(tree, self._payloads, 16, 1.0))
                    solo.memory = tree.memory()
        except (DidNotStart, OSError) as error:
            self.missing[contender.name] = type(error).__name__
            self._console.print(f"[red]{contender.name} did not start:[/] {error}", markup=True)
        else:
            self.solos[contender.name] = solo

    @contextmanager
    def _started(self, contender: Contender, solo: Solo) -> Iterator[tuple[ProcessTree, float]]:
        tree = start(contender, self._model, self._work)
        try:
            yield tree, tree.wait_ready(self._payloads[0], contender.deadline)
        finally:
            solo.killed_at_stop = max(solo.killed_at_stop, tree.stop())

    def _measure_ceiling(self) -> None:
        self._say("the generator's own ceiling")
        limit = CONTENDERS["limit"]
        tree = start(limit, self._model, self._work)
        try:
            asked = [Payload(payload.request, predictions=[1]) for payload in self._payloads]
            tree.wait_ready(asked[0], limit.deadline)
            for connections in self._plan.connections:
                self.ceiling[connections] = measure(self._job(tree, asked, connections, 1.0))
        finally:
            tree.stop()

    def _rounds(self, running: dict[str, ProcessTree]) -> None:
        entrants: list[tuple[str, ProcessTree, list[Payload]]] = []
        for name in self._plan.contenders:
            host = CONTENDERS[name].shares or name
            if host not in running:
                self.missing.setdefault(name, f"{host} does not run")
            elif CONTENDERS[name].shares:
                asked = health_payloads(self._model, running[host].port)
                entrants.append((name, running[host], asked))
            else:
                entrants.append((name, running[host], self._payloads))
        for number in range(self._plan.rounds):
            # Each round begins with another contender, so that no one always follows the same.
            shift = number % max(len(entrants), 1)
            order = entrants[shift:] + entrants[:shift]
            for connections in self._plan.connections:
                for name, tree, asked in order:
                    self._say(
                        f"round {number + 1}/{self._plan.rounds}, {connections} conns: {name}"
                    )
                    job = self._job(tree, asked, connections, self._plan.seconds)
                    self.cells.append(self._cell(name, tree, job, number))
        for number in range(min(self._plan.rounds, _OPEN_ROUNDS) if self._plan.shares else 0):
            for share in self._plan.shares:
                for name, tree, asked in entrants:
                    self._say(f"open loop {number + 1}, {share:.0%} of capacity: {name}")
                    rate = share * self.capacity(name)
                    job = self._job(tree, asked, _OPEN_CONNECTIONS, self._plan.seconds, rate)
                    self.cells.append(self._cell(name, tree, job, number, share))

    def _cell(
        self, name: str, tree: ProcessTree, job: Job, number: int, share: float = 0.0
    ) -> Cell:
        found = measured(tree, job)
        return Cell(
            contender=name,
            connections=job.connections,
            round=number,
            load=found.load,
            noise_ms=found.noise_ms,
            cpu_s=found.cpu_s,
            foreign_cores=found.foreign_cores,
            share=share,
        )

    def _job(
        self,
        tree: ProcessTree,
        asked: list[Payload],
        connections: int,
        seconds: float,
        rate: float = 0.0,
    ) -> Job:
        return Job("127.0.0.1", tree.port, asked, connections, seconds, self._plan.warmup, rate)

    def _say(self, what: str) -> None:
        self._console.print(f"[dim]{time.strftime('%H:%M:%S')} {what}[/]", highlight=False)


def _idle_cores(tree: ProcessTree) -> float:
    before = tree.cpu_seconds()
    time.sleep(_IDLE_S)
    after = tree.cpu_seconds()
    return sum(used - before.get(pid, 0.0) for pid, used in after.items()) / _IDLE_S
