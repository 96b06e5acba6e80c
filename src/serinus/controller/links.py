"""The controller's lines to the gateways: RouteTables go out; acknowledgements, evidence come in.

One listening unix socket, one thread per gateway; gateways are few. What a gateway has not
acknowledged it may still be doing, unless its process is known to be dead.
"""

import socket
import struct
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from serinus.controller.roster import Roster
from serinus.errors import SerinusError
from serinus.evidence.meter import Counts
from serinus.evidence.summary import Flush
from serinus.replica.protocol import Decoder, Frame, FrameError, Kind, encode
from serinus.traffic import Acknowledge, GatewayHello, RouteTable

__all__ = ["GatewayKey", "GatewayLinks"]

#: (gateway id, incarnation)
GatewayKey = tuple[str, str]

_log = structlog.get_logger("serinus.controller")
#: A gateway that takes no bytes for this long (seconds, microseconds) is hung up on: the control
#: loop must never wait for one.
_SEND_TIMEOUT = struct.pack("ll", 0, 250_000)


@dataclass(slots=True)
class _Gateway:
    """What is known of one incarnation of a gateway."""

    hello: GatewayHello
    acknowledged: int
    #: None while it is not connected.
    connection: socket.socket | None
    #: Held while a frame is written, so that two threads' frames do not mix.
    writing: threading.Lock = field(default_factory=threading.Lock)


def _nobody(_key: GatewayKey, _flush: Flush) -> None:
    """For a controller that keeps no evidence."""


class Ears(Protocol):
    """Who is told what gateways count."""

    def take(self, counts: Counts) -> None:
        """Keep it."""

    def gone(self, gateway: GatewayKey) -> None:
        """That gateway is not connected any more."""

    def keep(self, endpoints: Collection[str]) -> None:
        """These are all endpoints that there are."""


class GatewayLinks:
    """Publishes tables to every gateway and knows which generation each of them serves by.

    ``alive`` says whether a process id still runs; ``wake`` is called on every acknowledgement.
    ``on_summary`` is called in a gateway's own thread with each flush; once it has returned, the
    gateway is told that the flush is kept.
    """

    def __init__(
        self,
        socket_path: Path,
        *,
        alive: Callable[[int], bool],
        wake: Callable[[], None],
        on_summary: Callable[[GatewayKey, Flush], None] = _nobody,
        counting: Ears | None = None,
        on_uses: Callable[[dict[str, float]], None] | None = None,
        roster: Roster | None = None,
    ) -> None:
        self._path = socket_path
        self._alive = alive
        self._wake = wake
        self._on_summary = on_summary
        self._counting = counting
        self._on_uses = on_uses
        self._lock = threading.Lock()
        self._table: RouteTable | None = None
        self._frame = b""
        self._gateways: dict[GatewayKey, _Gateway] = {}
        self._roster = roster or Roster(socket_path.with_suffix(".roster"))
        #: Known from an earlier controller only.
        self._recalled: set[GatewayKey] = set()
        self._listener: socket.socket | None = None

    def start(self) -> None:
        """Listen; raises OSError when the socket can't be made."""
        self.recall()
        self._path.unlink(missing_ok=True)
        self._listener = listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._path))
        listener.listen(64)
        accept = threading.Thread(
            target=self._accept, args=(listener,), name="gateway-links", daemon=True
        )
        accept.start()

    def recall(self) -> None:
        """Count with the gateways that an earlier controller knew: they serve by what they have."""
        with self._lock:
            for hello in self._roster.read():
                key = (hello.gateway_id, hello.incarnation)
                known = _Gateway(hello, hello.generation, None)
                self._gateways[key] = known
                self._recalled.add(key)

    def close(self) -> None:
        """Hang up on every gateway; they go on with the table they have."""
        if self._listener is not None:
            self._listener.close()
        with self._lock:
            for gateway in self._gateways.values():
                if gateway.connection is not None:
                    _hang_up(gateway.connection)

    def publish(self, table: RouteTable) -> None:
        """Send the table to all gateways, and to each that connects from now on."""
        frame = encode(Frame(Kind.ROUTES, body=msgspec.json.encode(table)))
        with self._lock:
            if self._table is not None and table.generation <= self._table.generation:
                return
            self._table, self._frame = table, frame
            gateways = list(self._gateways.values())
        if self._counting is not None:
            self._counting.keep({endpoint.name for endpoint in table.endpoints})
        for gateway in gateways:
            _send(gateway, frame)

    def acknowledged(self) -> int:
        """The generation that every gateway which may be serving has reached.

        A gateway that is not connected still counts while its process lives. With no gateway at
        all this is the published generation: nobody serves by anything older.
        """
        with self._lock:
            for key, gateway in list(self._gateways.items()):
                if gateway.connection is None and not self._alive(gateway.hello.pid):
                    del self._gateways[key]
            newest = self._table.generation if self._table is not None else -1
            return min((g.acknowledged for g in self._gateways.values()), default=newest)

    def highest(self) -> int:
        """The highest generation that any gateway was sent or has; -1 for none."""
        with self._lock:
            sent = self._table.generation if self._table is not None else -1
            return max([sent, *(each.acknowledged for each in self._gateways.values())])

    def generations(self) -> tuple[int, dict[str, int]]:
        """The published generation, and the one that each connected gateway serves by."""
        with self._lock:
            newest = self._table.generation if self._table is not None else -1
            return newest, {
                key[0]: gateway.acknowledged
                for key, gateway in self._gateways.items()
                if gateway.connection is not None
            }

    def connected(self) -> int:
        """How many gateways are connected now."""
        with self._lock:
            return sum(gateway.connection is not None for gateway in self._gateways.values())

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # closed
            threading.Thread(
                target=self._serve, args=(connection,), name="gateway-link", daemon=True
            ).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_TIMEOUT)
        key: GatewayKey | None = None
        decoder = Decoder()
        try:
            while data := connection.recv(1 << 16):
                for frame in decoder.feed(data):
                    if frame.kind is Kind.GATEWAY:
                        key = self._greet(connection, frame)
                    elif key is not None:
                        self._receive(key, frame)
        except (OSError, FrameError, msgspec.DecodeError) as error:
            _log.warning("gateway_link_broken", gateway=key, error=str(error))
        finally:
            connection.close()
            with self._lock:
                gateway = self._gateways.get(key) if key is not None else None
                gone = gateway is not None and gateway.connection is connection
                if gateway is not None and gone:
                    gateway.connection = None
            if gone and key is not None and self._counting is not None:
                self._counting.gone(key)
            self._wake()

    def _receive(self, key: GatewayKey, frame: Frame) -> None:
        with self._lock:
            gateway = self._gateways.get(key)
            if gateway is None:
                return
        if frame.kind is Kind.ACKNOWLEDGE:
            self._acknowledge(gateway, frame)
        elif frame.kind is Kind.COUNTS and self._counting is not None:
            self._counting.take(msgspec.msgpack.decode(frame.body, type=Counts))
        elif frame.kind is Kind.DEATHS:
            self._pass_on(key, frame)
        elif frame.kind is Kind.USES and self._on_uses is not None:
            try:
                self._on_uses(msgspec.msgpack.decode(frame.body, type=dict[str, float]))
            except SerinusError as error:
                _log.warning("token_uses_not_kept", why=error.message)
        elif frame.kind is Kind.SUMMARY:
            flush = msgspec.msgpack.decode(frame.body, type=Flush)
            try:
                self._on_summary(key, flush)
            except Exception:  # noqa: BLE001 - unacknowledged, it comes again with the next flush
                _log.exception("summary_not_kept", gateway=key[0])
            else:
                _send(gateway, encode(Frame(Kind.SUMMARY, frame.id)))

    def _pass_on(self, origin: GatewayKey, frame: Frame) -> None:
        """To every gateway but the one that it came from."""
        with self._lock:
            others = [each for key, each in self._gateways.items() if key != origin]
        for gateway in others:
            _send(gateway, encode(frame))

    def _greet(self, connection: socket.socket, frame: Frame) -> GatewayKey:
        hello = msgspec.msgpack.decode(frame.meta, type=GatewayHello)
        key = (hello.gateway_id, hello.incarnation)
        with self._lock:
            gateway = _Gateway(hello, hello.generation, connection)
            self._forget_predecessors(key)
            self._gateways[key] = gateway
            table = self._frame
            self._roster.write([each.hello for each in self._gateways.values()])
        _log.info("gateway_connected", gateway=hello.gateway_id, generation=hello.generation)
        if table:
            _send(gateway, table)
        self._wake()
        return key

    def _forget_predecessors(self, key: GatewayKey) -> None:
        """It starts again only after its end; its process id may be somebody else's by now."""
        for other in [each for each in self._recalled if each[0] == key[0]]:
            self._recalled.discard(other)
            self._gateways.pop(other, None)

    def _acknowledge(self, gateway: _Gateway, frame: Frame) -> None:
        generation = msgspec.msgpack.decode(frame.meta, type=Acknowledge).generation
        with self._lock:
            gateway.acknowledged = max(gateway.acknowledged, generation)
        self._wake()


def _send(gateway: _Gateway, frame: bytes) -> None:
    connection = gateway.connection
    if connection is None:
        return
    with gateway.writing:
        try:
            connection.sendall(frame)
        except OSError:
            # Half a frame may be out. The gateway gets the newest table when it is back.
            _hang_up(connection)


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
