"""What one turn of the control loop costs, by the number of endpoints.

In this process, with the real loop, executor and SQLite store, a fake engine and gateways that
take up each table at once: the loop's own cost, without processes.
"""

import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from serinus.controller.executor import Executor
from serinus.controller.loop import Loop
from serinus.controller.messages import Messenger, Outside
from serinus.controller.rollouts import Judgement
from serinus.controller.snapshot import Policy
from serinus.entities import (
    WHOLE,
    ConfigUpdate,
    Endpoint,
    EndpointConfig,
    ModelRef,
    ServedEntity,
)
from serinus.store.repository import Store
from serinus.testing import FakeEngine
from serinus.traffic import RouteTable

__all__ = ["LoopCost", "Small", "loop_costs"]

_START = datetime(2026, 1, 1, tzinfo=UTC)
#: Turns after which every endpoint must serve.
_PATIENCE = 400
#: Turns of one size before it is the next one's turn.
_IN_A_ROW = 10


@dataclass(frozen=True, slots=True)
class LoopCost:
    """Milliseconds of a turn in which nothing is to be done."""

    endpoints: int
    turns: int
    median_ms: float
    highest_ms: float


class _Gateways:
    """They serve by whatever was sent last."""

    def __init__(self) -> None:
        self._generation = -1

    def publish(self, table: RouteTable) -> None:
        self._generation = max(self._generation, table.generation)

    def acknowledged(self) -> int:
        return self._generation


class _Deaf:
    """A prober that finds nobody hanging."""

    hung: frozenset[str] = frozenset()

    def watch(self, _: object) -> None:
        """Nothing to watch."""


class Small:
    """A controller over ``count`` endpoints, each served by one replica of a model of its own."""

    def __init__(self, directory: Path, count: int) -> None:
        self._at = _START
        self._store = Store.open(f"sqlite:///{directory / 'serinus.db'}")
        self._engine = FakeEngine(clock=lambda: self._at)
        self._gateways: Any = _Gateways()
        prober: Any = _Deaf()
        epoch = self._store.take_epoch()
        self._executor = Executor(
            self._store,
            self._engine,
            self._gateways,
            resolve=lambda uri: ModelRef(f"d{uri.rpartition('/')[2]}", uri, uri),
            wake=lambda: None,
            epoch=epoch,
            drain_s=5.0,
        )
        outside = Outside(post=lambda _url, _body: None, move_alias=lambda _uri, _alias: None)
        self._messenger = Messenger(self._store, outside, clock=lambda: self._at)
        self.loop = Loop(
            self._store,
            self._engine,
            self._gateways,
            self._executor,
            prober,
            self._messenger,
            judge=lambda _view, _at: Judgement(),
            policy=Policy(epoch, 128, 1, 120.0, 1024, 60.0),
            clock=lambda: self._at,
        )
        for number in range(count):
            self._create(number)
        self._until_served()

    def _create(self, number: int) -> None:
        entity = ServedEntity(f"v-{number}", f"models:/m/{number}", str(number))
        config = EndpointConfig(1, (entity,), {entity.name: WHOLE}, self._at)
        self._store.create_endpoint(
            Endpoint(
                f"id-{number}",
                f"e-{number}",
                "bench",
                self._at,
                self._at,
                pending=config,
                update=ConfigUpdate.IN_PROGRESS,
            )
        )

    def _until_served(self) -> None:
        for _ in range(_PATIENCE):
            if not self.loop.turn():
                return
            self._executor.settle()
            self._at += timedelta(seconds=1)
        raise RuntimeError(f"the endpoints were not all served after {_PATIENCE} turns")

    def measure(self, turns: int) -> list[float]:
        """Milliseconds of each of that many turns."""
        taken = []
        for _ in range(turns):
            self._at += timedelta(milliseconds=50)
            began = time.perf_counter()
            more = self.loop.turn()
            taken.append((time.perf_counter() - began) * 1000)
            assert not more, "an endpoint was still being brought up"
        return taken

    def close(self) -> None:
        """Let go of threads and files."""
        self._executor.close()
        self._messenger.close()
        self._store.close()


def loop_costs(counts: Iterable[int] = (1, 10, 50, 200), turns: int = 60) -> list[LoopCost]:
    """Each size in a store of its own, all of them in turns: a machine changes its speed."""
    with ExitStack() as stack:
        sizes: dict[int, Small] = {}
        for count in counts:
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            sizes[count] = stack.enter_context(closing(Small(Path(directory), count)))
            sizes[count].measure(5)  # the first turns, which warm caches, do not count
        taken: dict[int, list[float]] = {count: [] for count in sizes}
        for _ in range(0, turns, _IN_A_ROW):
            for count, small in sizes.items():
                taken[count] += small.measure(_IN_A_ROW)
    return [LoopCost(n, len(found), median(found), max(found)) for n, found in taken.items()]
