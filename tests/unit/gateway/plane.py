"""A data plane between stand-in replicas, for the tests of the gateway."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from serinus.gateway.dataplane import DataPlane
from serinus.replica.protocol import Format, Frame
from serinus.traffic import EndpointRoutes, RouteTable, ServedRoute, StageRoute
from tests.unit.gateway.stand_in import StandIn, echo

__all__ = ["Stage", "run", "served", "until"]


class Stage:
    """A data plane, its stand-ins, and what was rejected."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.rejected: list[tuple[str, str]] = []
        self.replicas: list[StandIn] = []
        self.points = iter(lambda: 0.0, None)
        #: What every clock of the data plane shows.
        self.now = 1000.0
        self.plane = DataPlane(
            lambda: next(self.points),
            lambda *what: self.rejected.append(what),
            dial_s=1.0,
            clock=lambda: self.now,
            wall=lambda: self.now,
        )

    async def replica(self, id_: str, answer: Callable[[Frame], Frame | None] = echo) -> StandIn:
        replica = await StandIn(self.directory, id_, answer).start()
        self.replicas.append(replica)
        return replica

    async def route(self, generation: int, *served: ServedRoute) -> bool:
        table = RouteTable(generation, (EndpointRoutes("e", tuple(served)),))
        return await self.plane.apply(table)

    async def stage(self, generation: int, route: StageRoute, *served: ServedRoute) -> bool:
        endpoint = EndpointRoutes("e", tuple(served), stage=route)
        return await self.plane.apply(RouteTable(generation, (endpoint,)))

    async def ask(
        self,
        body: bytes = b"x",
        served: str | None = None,
        headers: Iterable[tuple[bytes, bytes]] = (),
    ) -> tuple[str, bytes]:
        state = self.plane.endpoint("e")
        pool, frame = await self.plane.invoke(state, served, body, Format.JSON, headers)
        return pool.name, frame.body


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    with tempfile.TemporaryDirectory() as directory:
        stage = Stage(Path(directory))
        yield stage
        stage.plane.close()
        for replica in stage.replicas:
            await replica.gone()


def run(scenario: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with staged() as stage:
            await scenario(stage)

    asyncio.run(main())


def served(name: str, weight: int, *replicas: StandIn, **limits: Any) -> ServedRoute:
    return ServedRoute(name, weight, tuple(r.address for r in replicas), **limits)


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that is about to happen."""
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.002)
