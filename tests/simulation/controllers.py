"""A controller made of the real classes, on simulated ports; its threads are a list of jobs."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from serinus.controller.executor import Executor
from serinus.controller.loop import Loop
from serinus.controller.messages import Messenger, Outside
from serinus.controller.rollouts import Judgement
from serinus.controller.snapshot import Policy
from serinus.engine.engine import (
    EngineUnreachable,
    FenceError,
    ReplicaPhase,
    ReplicaStatus,
    SpecChanged,
)
from serinus.errors import SerinusError
from serinus.store.repository import FencedOut
from tests.simulation.gateways import SimulatedLinks
from tests.simulation.ports import Crash, LinksPort, StorePort, engine_port, guard

if TYPE_CHECKING:
    from datetime import datetime

    from serinus.controller.snapshot import RolloutView
    from tests.simulation.world import World

__all__ = ["Controller"]


class _Jobs:
    """A thread pool whose threads run when they are let."""

    def __init__(self, controller: "Controller") -> None:
        self._controller = controller

    def submit(self, call: Callable[..., Any], *args: object) -> "Future[None]":
        future: Future[None] = Future()

        def run() -> None:
            call(*args)
            future.set_result(None)

        self._controller.jobs.append(run)
        return future


class _Prober:
    """Knows who hangs because the world says so."""

    def __init__(self, world: "World") -> None:
        self._world = world

    @property
    def hung(self) -> frozenset[str]:
        return frozenset(self._world.hung)

    def watch(self, _: object) -> None:
        """Nothing to watch."""


class Controller:
    """One process. It is dropped when it crashes; nothing of it is used again."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.alive = True
        self.jobs: list[Callable[[], None]] = []
        #: Something else happened in the middle of the turn under way.
        self.interrupted = False
        #: In the middle of something.
        self.busy = False
        #: What the engine said last, and what the judge did, by rollout: for the monitor.
        self.seen: tuple[ReplicaStatus, ...] = ()
        self.judged: dict[str, str] = {}
        self.epoch = world.store.take_epoch()
        store: Any = StorePort(self, world.store)
        engine: Any = engine_port(self, world.engine.successor())
        self.links = SimulatedLinks(world.is_alive, world.roster)
        links: Any = LinksPort(self, self.links)
        self._store, self._links = store, links
        pool: Any = _Jobs(self)
        self.executor = Executor(
            store,
            engine,
            links,
            resolve=world.resolve,
            wake=lambda: None,
            epoch=self.epoch,
            drain_s=5.0,
            threads=pool,
        )
        outside = Outside(
            post=guard(self, "outside.post", world.post),
            move_alias=guard(self, "outside.move_alias", world.move_alias),
        )
        self.messenger = Messenger(store, outside, clock=world.now, threads=pool)
        prober: Any = _Prober(world)
        self.loop = Loop(
            store,
            engine,
            links,
            self.executor,
            prober,
            self.messenger,
            judge=self._judge,
            policy=Policy(self.epoch, 128, 1, 120.0, 1024, 60.0),
            clock=world.now,
        )

    def _judge(self, view: "RolloutView", _: "datetime") -> Judgement:
        judgement = self.world.judge(view)
        verdicts = {each.verdict.value for each in judgement.verdicts} or {"NO_DATA"}
        self.judged[view.state.id] = verdicts.pop() if len(verdicts) == 1 else "MIXED"
        return judgement

    def start(self) -> None:
        """What `Loop.run` does first."""
        self._guarded(lambda: self._links.publish(self._store.routes()))

    def turn(self) -> None:
        """One turn, with `Loop.run`'s way of taking its errors."""
        if not self.alive or self.busy:
            return
        self.interrupted = False
        self.judged.clear()
        try:
            self._guarded(self.loop.turn)
        except (FencedOut, FenceError):
            self.die()
        except (SerinusError, EngineUnreachable, SpecChanged, OSError):
            self.world.failed_turns += 1

    def job(self, number: int = 0) -> None:
        """Let one thing of the background happen."""
        if self.alive and self.jobs and not self.busy:
            self._guarded(self.jobs.pop(number % len(self.jobs)))

    def die(self) -> None:
        """The process ends; its connections end with it."""
        self.alive = False
        self.jobs.clear()
        for gateway in self.world.gateways:
            if gateway.wire is not None and gateway.wire.controller is self:
                gateway.disconnect()

    def _guarded(self, call: Callable[[], object]) -> None:
        self.busy = True
        try:
            call()
        except Crash:
            self.world.crashes += 1
            self.die()
        finally:
            self.busy = False

    def ready(self, digest: str) -> bool:
        """Whether the engine told it last that a replica of this model is ready."""
        return any(
            status.spec.model_digest == digest and status.phase is ReplicaPhase.READY
            for status in self.seen
        )
