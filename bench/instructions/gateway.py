"""A request through the gateway without a socket: the real connection, routing, pool and recorder,
between transports that only remember what was written.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any

import uvloop

from bench.instructions.drive import HotPath
from serinus.gateway.access import Guard
from serinus.gateway.app import App, AppConfig
from serinus.gateway.bounds import EdgeLimits
from serinus.gateway.dataplane import DataPlane
from serinus.gateway.door import Door
from serinus.gateway.edge import Connection
from serinus.gateway.forward import Forwarder
from serinus.gateway.hosts import Hosts
from serinus.gateway.recorder import Recorder
from serinus.gateway.tracing import carried
from serinus.replica.protocol import (
    PROTOCOL_VERSION,
    Decoder,
    Format,
    Frame,
    Hello,
    Kind,
    encode,
    encode_hello,
)
from serinus.traffic import (
    EndpointRoutes,
    ReplicaAddress,
    RouteTable,
    ServedRoute,
    Split,
    StageRoute,
    Unit,
    UnitKind,
    unit_point,
)

__all__ = ["World", "paths"]

_DIGEST = "d" * 64
_TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_ANSWER = b'{"predictions":[1]}'
#: Turns of the loop within which whatever was begun without waiting is done.
_TURNS = 8
_BATCH = 24
_COLUMNS = [f"mean feature {at}" for at in range(30)]
BODY = json.dumps(
    {"dataframe_split": {"columns": _COLUMNS, "data": [[17.99 + at / 7 for at in range(30)]]}}
).encode()


class Wire:
    """A transport that remembers, and never has anything to wait for."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(bytes(data))

    def writelines(self, parts: list[bytes]) -> None:
        self.written.append(b"".join(parts))

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 50_000) if name == "peername" else None

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        return

    abort = pause_reading = resume_reading = close


Make = Callable[[int], bytes]
Lines = list[tuple[Connection, Wire]]


class World:
    """One gateway with endpoints ``plain`` (90/10) and ``staged`` (a rollout by a header)."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self.loop.run_until_complete(self._open())

    async def _open(self) -> None:
        with tempfile.TemporaryDirectory() as place:
            addresses = {name: f"{place}/{name}" for name in ("old", "new")}
            servers = [
                await self.loop.create_unix_server(_greets(name), path)
                for name, path in addresses.items()
            ]
            # Hosts, rights and limits are asked as on a server that anybody may call.
            guard = Guard(Hosts("127.0.0.1", []), required=False, gateways=1, clock=_now, wall=_now)
            self.plane = DataPlane(
                Random(7).random,  # noqa: S311
                _refuse,
                guard=guard,
                # Half a millisecond passes from look to look, however slowly it is counted.
                clock=count(0.0, 0.0005).__next__,
                wall=_now,
            )
            await self.plane.apply(_table(addresses))
            app = App(self.plane, Forwarder("/nowhere"), AppConfig(1 << 24, "g", "0", "1"), guard)
            self.door = Door(app, EdgeLimits())
            pools = self.plane.endpoint("plain").pools.values()
            self.links = [pool.links[0] for pool in pools]
            self.wires = [Wire() for _ in self.links]
            for link, wire in zip(self.links, self.wires, strict=True):
                link._transport = wire  # type: ignore[assignment]
            for server in servers:
                server.close()

    def connections(self, n: int) -> Lines:
        """New ones, each with what it writes to; those of before are answered and gone."""
        for link, data in self.answers():
            link.data_received(data)
        self.turn()
        for connection in list(self.door.connections):
            connection.connection_lost(None)
        made = []
        for _ in range(n):
            wire, connection = Wire(), Connection(self.door)
            connection.connection_made(wire)  # type: ignore[arg-type]
            made.append((connection, wire))
        return made

    def turn(self) -> None:
        """Let everything happen that waits for nobody."""
        self.loop.run_until_complete(_turns())

    def answers(self) -> list[tuple[Any, bytes]]:
        """For each link, the answers to the requests that were written to it since."""
        found = []
        for link, wire in zip(self.links, self.wires, strict=True):
            frames = Decoder().feed(b"".join(wire.written))
            wire.written.clear()
            # As they come from a replica that answered so many at once.
            for at in range(0, len(frames), _BATCH):
                some = [
                    Frame(Kind.RESPONSE, each.id, _ANSWER, b"", Format.JSON, 200, 700, at + 1)
                    for each in frames[at : at + _BATCH]
                ]
                found.append((link, b"".join(map(encode, some))))
        return found

    def read(self, requests: list[bytes]) -> tuple[Lines, Callable[[], None]]:
        """As many connections, and what has each read its request until its frame is out."""
        lines = self.connections(len(requests))

        def work() -> None:
            for (connection, _), request in zip(lines, requests, strict=True):
                connection.data_received(request)
            self.turn()

        return lines, work

    def answer(self, lines: Lines) -> Callable[[], None]:
        """What takes the answers in until all responses are written."""
        answers = self.answers()

        def work() -> None:
            for link, data in answers:
                link.data_received(data)
            self.turn()
            assert all(wire.written for _, wire in lines)

        return work


def _greets(name: str) -> Callable[[], asyncio.Protocol]:
    class Replica(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.write(encode_hello(Hello(PROTOCOL_VERSION, name, _DIGEST, 1)))

    return Replica


async def _turns() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _now() -> float:
    return 1000.0


def _refuse(replica: str, why: str) -> None:
    raise AssertionError(f"{replica}: {why}")


def _table(addresses: dict[str, str]) -> RouteTable:
    served = tuple(
        ServedRoute(name, weight, (ReplicaAddress(name, addresses[name], _DIGEST),), 100_000)
        for name, weight in (("old", 9000), ("new", 1000))
    )
    unit = Unit(UnitKind.HEADER, "x-user-id")
    stage = StageRoute("rollout", 1, "salt", "old", "new", 1000, unit)
    return RouteTable(
        1, (EndpointRoutes("plain", served), EndpointRoutes("staged", served, stage=stage))
    )


def _request(endpoint: str, *more: bytes) -> bytes:
    head = [
        b"POST /serving-endpoints/%b/invocations HTTP/1.1" % endpoint.encode(),
        b"Host: 127.0.0.1:8000",
        b"Accept: */*",
        b"Accept-Encoding: gzip, deflate",
        b"User-Agent: python-requests/2.32.3",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(BODY),
        *more,
    ]
    return b"\r\n".join(head) + b"\r\n\r\n" + BODY


def _plain(_number: int) -> bytes:
    return _request("plain")


def _staged(number: int) -> bytes:
    return _request("staged", b"X-User-Id: user-%d" % number, b"Traceparent: " + _TRACE)


def paths(world: World | None = None) -> list[HotPath]:
    """The hot paths of a gateway."""
    world = world or World()
    asyncio.set_event_loop(world.loop)

    def reading(make: Make) -> Callable[[int], Callable[[], None]]:
        def ready(n: int) -> Callable[[], None]:
            return world.read([make(at) for at in range(n)])[1]

        return ready

    def answering(make: Make) -> Callable[[int], Callable[[], None]]:
        def ready(n: int) -> Callable[[], None]:
            lines, read = world.read([make(at) for at in range(n)])
            read()
            return world.answer(lines)

        return ready

    return [
        HotPath("gateway.request", 96, reading(_plain)),
        HotPath("gateway.answer", 96, answering(_plain)),
        HotPath("gateway.request in a rollout", 96, reading(_staged)),
        HotPath("gateway.answer in a rollout", 96, answering(_staged)),
        HotPath("gateway.choice by split", 500, _split),
        HotPath("gateway.choice by unit", 500, _unit),
        HotPath("gateway.recording", 500, lambda n: _recording(world, n)),
        HotPath("gateway.trace", 500, _trace),
    ]


def _split(n: int) -> Callable[[], None]:
    split, draw = Split({"old": 9000, "new": 1000}), Random(3).random  # noqa: S311

    def work() -> None:
        for _ in range(n):
            split.choose(draw())

    return work


def _unit(n: int) -> Callable[[], None]:
    units = [b"user-%d" % at for at in range(n)]

    def work() -> None:
        for unit in units:
            unit_point("salt", unit)

    return work


def _recording(world: World, n: int) -> Callable[[], None]:
    """Evidence and metrics of one answer, as `LiveStage.invoke` has them noted."""
    state = world.plane.endpoint("staged")
    assert state.stage is not None
    recorder = Recorder(state.stage.route, 0.0, _now)
    frame = Frame(Kind.RESPONSE, 1, _ANSWER, b"", Format.JSON, 200, 700, 1)
    arm, pool = state.stage.side(0.5)
    link, meter = pool.links[0], pool.meter
    link.joined_at = 0.0

    async def some() -> None:
        for at in range(n):
            began = 60.0 + at * 0.002
            recorder.picker.pick(began)
            meter.count(200, 0.001, frame.aux)
            recorder.note(arm, at / n, began, began + 0.001, link, frame, BODY)
            if at % _BATCH == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0)

    return lambda: world.loop.run_until_complete(some())


def _trace(n: int) -> Callable[[], None]:
    headers = [(b"host", b"127.0.0.1:8000"), (b"traceparent", _TRACE)]

    def work() -> None:
        for _ in range(n):
            carried(headers)

    return work


def main() -> int:
    """Go round for a profiler: `py-spy record -- python -m bench.instructions.gateway 10`."""
    seconds = float(sys.argv[1])
    world = World()
    ready = paths(world)[1 + 2 * (len(sys.argv) > 2)].ready
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        ready(96)()
        done += 96
    print(f"{(time.perf_counter() - began) / done * 1e6:.1f} µs a request, connections included")
    world.door.hands.stop()
    world.turn()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
