"""A gateway's line to the controller's links, over a real socket: evidence and signs of life."""

import asyncio
import os
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec

from serinus.controller.counting import Counting
from serinus.controller.links import GatewayKey, GatewayLinks
from serinus.entities import WHOLE
from serinus.errors import ResourceDoesNotExist
from serinus.evidence.summary import Flush, Ledger, StageSummary
from serinus.gateway.control import ControlLine
from serinus.replica.protocol import Format, Frame, Kind, encode
from serinus.traffic import EndpointRoutes, GatewayHello, RouteTable, StageRoute
from tests.unit.gateway.plane import Stage, run, served, until

ROUTE = StageRoute("r1", 1, "salt", "old", "new", 1000)


class Controller:
    """The controller's end: keeps what comes in a ledger, unless it is told to fail."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "links"
        self.ledger = Ledger()
        self.flushes: list[Flush] = []
        self.keys: set[GatewayKey] = set()
        self.fails = False
        self.counting = Counting(time.monotonic)
        self.links = GatewayLinks(
            self.path,
            alive=lambda _: True,
            wake=lambda: None,
            on_summary=self.keep,
            counting=self.counting,
        )
        self.links.start()

    def keep(self, key: GatewayKey, flush: Flush) -> None:
        self.keys.add(key)
        self.flushes.append(flush)
        if self.fails:
            raise RuntimeError("the store is away")
        self.ledger.replace(flush)

    def stable(self, stage: int = 1) -> int:
        """Requests of stable that it knows of."""
        total: StageSummary | None = self.ledger.total("r1", stage)
        return 0 if total is None else total.stable.requests

    def knows(self, requests: int) -> bool:
        """True when it knows of that many requests of stable."""
        return self.stable() == requests


@asynccontextmanager
async def following(
    stage: Stage, path: Path, incarnation: str = "i1"
) -> AsyncIterator[ControlLine]:
    line = ControlLine(
        stage.plane,
        socket_path=str(path),
        routes_path=stage.directory / f"routes-{incarnation}",
        gateway_id="g1",
        incarnation=incarnation,
    )
    task = asyncio.create_task(line.run())
    try:
        yield line
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def staged(stage: Stage) -> None:
    old = await stage.replica("r1")
    await stage.stage(1, ROUTE, served("old", WHOLE, old))
    stage.points = iter(lambda: 0.5, None)


def test_evidence_reaches_the_controller_and_adds_up() -> None:
    async def scenario(stage: Stage) -> None:
        await staged(stage)
        controller = Controller(stage.directory)
        async with following(stage, controller.path):
            for wanted in (1, 2, 3):
                await stage.ask()
                await until(partial(controller.knows, wanted))
            sequences = [flush.sequence for flush in controller.flushes]
            assert sequences == sorted(set(sequences))
            assert controller.keys == {("g1", "i1")}
            recorder = stage.plane.book.recorder(ROUTE)
            assert controller.flushes[-1].stages == [recorder.summary]
            await until(lambda: stage.plane.book.flush() is None)  # all of it is acknowledged
        controller.links.close()

    run(scenario)


def test_deaths_reach_every_other_gateway() -> None:
    async def scenario(stage: Stage) -> None:
        await staged(stage)
        controller = Controller(stage.directory)
        other = Stage(stage.directory)
        async with following(stage, controller.path), following(other, controller.path, "i2"):
            await until(lambda: controller.links.connected() == 2)
            here = stage.plane.quarantines.of("e", "old", "m")
            there = other.plane.quarantines.of("e", "old", "m")
            here.suspect(b"poison", Format.JSON, 0.0)
            await until(lambda: bool(there.suspects))
            assert there.suspects.keys() == here.suspects.keys()
            assert [each.deaths for each in here.suspects.values()] == [1]  # not told of its own
        other.plane.close()
        controller.links.close()

    run(scenario)


def test_losing_the_controller_loses_nothing() -> None:
    async def scenario(stage: Stage) -> None:
        await staged(stage)
        first = Controller(stage.directory)
        async with following(stage, first.path):
            await stage.ask()
            await until(lambda: stage.plane.book.flush() is None)  # all of it is acknowledged
            first.links.close()
            second = Controller(stage.directory)  # and knows nothing
            await until(lambda: second.stable() == 1)
            second.links.close()
            await stage.ask()
            second = Controller(stage.directory)
            await until(lambda: second.stable() == 2)
            second.links.close()

    run(scenario)


def test_what_could_not_be_kept_comes_again() -> None:
    async def scenario(stage: Stage) -> None:
        await staged(stage)
        controller = Controller(stage.directory)
        controller.fails = True
        async with following(stage, controller.path):
            await stage.ask()
            await until(lambda: len(controller.flushes) >= 2)
            assert controller.stable() == 0
            controller.fails = False
            await until(lambda: controller.stable() == 1)
        controller.links.close()

    run(scenario)


def test_a_restarted_gateway_is_another_incarnation_and_adds_to_the_first() -> None:
    controllers: list[Controller] = []

    def gateway(incarnation: str, requests: int, wanted: int) -> None:
        async def scenario(stage: Stage) -> None:
            await staged(stage)
            if not controllers:
                controllers.append(Controller(Path(directory)))
            async with following(stage, controllers[0].path, incarnation):
                for _ in range(requests):
                    await stage.ask()
                await until(lambda: controllers[0].stable() == wanted)

        run(scenario)

    with tempfile.TemporaryDirectory() as directory:
        gateway("i1", 3, 3)
        gateway("i2", 2, 5)
        controllers[0].links.close()


def test_the_meters_reach_the_controller_and_another_one_hears_all_of_them() -> None:
    async def scenario(stage: Stage) -> None:
        await staged(stage)
        controller = Controller(stage.directory)

        def known(counting: Counting) -> dict[str, int]:
            return {each.served: each.requests for each in counting.totals()}

        async with following(stage, controller.path):
            await until(lambda: controller.links.connected() == 1)
            for _ in range(3):
                await stage.ask()
            with suppress(ResourceDoesNotExist):
                await stage.ask(served="new")
            await until(lambda: known(controller.counting) == {"": 1, "old": 3})
            assert controller.counting.minute("e").requests == 4
            controller.links.close()
            second = Controller(stage.directory)
            await until(lambda: known(second.counting) == {"": 1, "old": 3})
        second.links.close()

    run(scenario)


def test_a_gateway_that_does_not_read_holds_nobody_up() -> None:
    with tempfile.TemporaryDirectory() as directory:
        controller = Controller(Path(directory))
        hung = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        hung.connect(str(controller.path))
        hello = GatewayHello("g2", "i1", os.getpid(), -1)
        hung.sendall(encode(Frame(Kind.GATEWAY, meta=msgspec.msgpack.encode(hello))))
        waited = threading.Event()
        while not controller.links.connected():
            waited.wait(0.005)
        huge = RouteTable(1, tuple(EndpointRoutes("e" * 1000, ()) for _ in range(5000)))
        publishing = threading.Thread(target=controller.links.publish, args=(huge,), daemon=True)
        publishing.start()
        publishing.join(timeout=10)
        assert not publishing.is_alive()
        for _ in range(1000):
            if not controller.links.connected():
                break
            waited.wait(0.005)
        assert controller.links.connected() == 0, "half a frame is out: the line is of no use"
        hung.close()
        controller.links.close()
