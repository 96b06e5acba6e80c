"""Two gateways and the lines to them: the real `GatewayLinks` over wires that lose the order.

A gateway does what `gateway.control` does: it moves to a higher generation only, acknowledges,
keeps the table on disk, and after a crash asks the controller before it takes the one on disk.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from serinus.controller.links import GatewayKey, GatewayLinks
from serinus.controller.roster import Roster
from serinus.replica.protocol import Decoder, Frame, Kind
from serinus.traffic import Acknowledge, EndpointRoutes, GatewayHello, RouteTable

if TYPE_CHECKING:
    from tests.simulation.controllers import Controller

__all__ = ["Gateway", "KeptRoster", "SimulatedLinks", "Wire"]


@lru_cache(maxsize=4096)
def _table_of(frame: bytes) -> RouteTable:
    [found] = Decoder().feed(frame)
    return msgspec.json.decode(found.body, type=RouteTable)


class Wire:
    """One connection between a gateway and a controller; messages wait until they are let."""

    def __init__(self, controller: "Controller", key: GatewayKey) -> None:
        self.controller = controller
        self.key = key
        self.to_gateway: list[bytes] = []
        self.to_controller: list[int] = []
        self.open = True

    def sendall(self, frame: bytes) -> None:
        """As a socket's."""
        if not self.open:
            raise BrokenPipeError
        self.to_gateway.append(frame)

    def shutdown(self, _how: int) -> None:
        """As a socket's."""
        self.cut()

    def cut(self) -> None:
        """The connection is gone, with all that was under way."""
        if self.open:
            self.open = False
            self.to_gateway.clear()
            self.to_controller.clear()
            self.controller.links.lost(self)


class KeptRoster(Roster):
    """The roster on a disk that is a list."""

    def __init__(self, kept: list[GatewayHello]) -> None:
        super().__init__(Path("nowhere"))
        self.kept = kept

    def read(self) -> list[GatewayHello]:
        return list(self.kept)

    def write(self, gateways: list[GatewayHello]) -> None:
        self.kept[:] = gateways


class SimulatedLinks(GatewayLinks):
    """The real links, without a socket: connections are handed to them."""

    def __init__(self, alive: Callable[[int], bool], roster: "KeptRoster") -> None:
        super().__init__(Path("nowhere"), alive=alive, wake=lambda: None, roster=roster)
        self.recall()

    def greet(self, wire: Wire, hello: GatewayHello) -> None:
        """A gateway has connected."""
        self._greet(wire, Frame(Kind.GATEWAY, meta=msgspec.msgpack.encode(hello)))  # type: ignore[arg-type]

    def hear(self, wire: Wire, generation: int) -> None:
        """A gateway acknowledges."""
        meta = msgspec.msgpack.encode(Acknowledge(generation))
        self._receive(wire.key, Frame(Kind.ACKNOWLEDGE, meta=meta))

    def lost(self, wire: Wire) -> None:
        """A connection has ended; what `GatewayLinks` does at the end of its thread."""
        gateway = self._gateways.get(wire.key)
        connection: Any = gateway.connection if gateway is not None else None
        if gateway is not None and connection is wire:
            gateway.connection = None


class Gateway:
    """One gateway through all of its incarnations."""

    def __init__(self, name: str, pid: int) -> None:
        self.name = name
        self.pid = pid
        self.alive = True
        self.announced = False
        self.table: RouteTable | None = None
        self.disk: RouteTable | None = None
        self.wire: Wire | None = None
        #: This incarnation has said hello to somebody. One that started while no controller was
        #: there is known to nobody, and no promise is made about it until it has.
        self.announced = False

    def copy(self) -> "Gateway":
        """The same, unconnected."""
        other = Gateway(self.name, self.pid)
        other.alive, other.table, other.disk = self.alive, self.table, self.disk
        other.announced = self.announced
        return other

    @property
    def generation(self) -> int:
        """In force here; -1 for none."""
        return -1 if self.table is None else self.table.generation

    @property
    def serving(self) -> RouteTable | None:
        """The table that requests meet here now."""
        return self.table if self.alive else None

    def routes(self, endpoint: str) -> EndpointRoutes | None:
        """What requests to this endpoint meet."""
        table = self.serving
        if table is None:
            return None
        return next((each for each in table.endpoints if each.name == endpoint), None)

    def connect(self, controller: "Controller") -> None:
        """Say hello; an earlier connection ends."""
        self.disconnect()
        self.announced = True
        key = (self.name, str(self.pid))
        self.wire = Wire(controller, key)
        hello = GatewayHello(self.name, str(self.pid), self.pid, self.generation)
        controller.links.greet(self.wire, hello)

    def disconnect(self) -> None:
        """Lose the line to the controller; serving goes on."""
        if self.wire is not None:
            self.wire.cut()
            self.wire = None

    def take(self, number: int) -> None:
        """Receive one of the messages under way, not always the oldest."""
        if self.wire is None or not self.wire.to_gateway:
            return
        frames = self.wire.to_gateway
        table = _table_of(frames.pop(number % len(frames)))
        if table.generation > self.generation:
            self.table = table
        elif table.generation < self.generation:
            return
        self.wire.to_controller.append(table.generation)

    def save(self) -> None:
        """Keep the table on disk."""
        self.disk = self.table

    def crash(self) -> None:
        """The process is gone; the disk stays."""
        self.alive = False
        self.table = None
        self.disconnect()

    def restart(self, pid: int) -> None:
        """Another incarnation; it serves nothing until a table comes, or `fall_back`."""
        self.pid = pid
        self.alive = True
        self.announced = False

    def fall_back(self) -> None:
        """No controller answered in time: serve by the copy on disk."""
        if self.alive and self.table is None:
            self.table = self.disk
