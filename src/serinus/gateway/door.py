"""The gateway's open door: accepts connections, looks after those that are late, and closes.

Closing loses nobody: first no new ones, then every answer is its connection's last, then the end.
"""

import asyncio
import logging
import socket
import ssl
from collections import Counter
from contextlib import suppress

from serinus.gateway.bounds import EdgeLimits
from serinus.gateway.edge import Connection
from serinus.gateway.exchange import Application, Exchange
from serinus.gateway.hands import Hands
from serinus.gateway.heads import Heads

__all__ = ["Door"]

_log = logging.getLogger("serinus.gateway")
_BACKLOG = 2048
#: Bounds of the time between two looks for connections that are late.
_QUICKEST_S, _SLOWEST_S = 0.02, 0.5
#: How long a connection that waits may go on waiting once this gateway is being replaced.
_LINGER_S = 2.0


class Door:
    """All connections of one gateway. Must be made inside the event loop."""

    def __init__(
        self, application: Application, limits: EdgeLimits, refused: Counter[int] | None = None
    ) -> None:
        """``refused`` is counted in, for whoever else looks there."""
        self.limits = limits
        self.loop = asyncio.get_running_loop()
        self.heads = Heads()
        self.hands = Hands(application, self.loop)
        self.connections: set[Connection] = set()
        #: Requests that are worked on.
        self.running: set[Exchange] = set()
        #: HTTP status → how often the edge itself answered with it.
        self.refused: Counter[int] = Counter() if refused is None else refused
        self._server: asyncio.AbstractServer | None = None
        self._draining = False
        self._empty = asyncio.Event()
        times = (
            limits.header_deadline_s,
            limits.body_grace_s,
            limits.body_deadline_s,
            limits.keep_alive_s,
            limits.send_deadline_s,
        )
        self._tick_s = min(max(min(times) / 8, _QUICKEST_S), _SLOWEST_S)
        self._sweeping: asyncio.TimerHandle | None = None

    @property
    def draining(self) -> bool:
        """Whether every answer is to be a connection's last."""
        return self._draining

    async def open(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Accept on the socket, which must be listening already; ``tls``: speak it."""
        self._server = await self.loop.create_server(
            lambda: Connection(self),
            sock=listener,
            backlog=_BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=self.limits.header_deadline_s if tls is not None else None,
        )
        self._look()

    async def self_test(self, path: bytes = b"/health") -> bool:
        """Whether a request that comes in as all do is answered with 200."""
        near, far = socket.socketpair()
        await self.loop.connect_accepted_socket(lambda: Connection(self), sock=far)
        reader, writer = await asyncio.open_connection(sock=near)
        try:
            writer.write(b"GET %b HTTP/1.1\r\nhost: localhost\r\n\r\n" % path)
            async with asyncio.timeout(5):
                return (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        except (OSError, TimeoutError) as error:
            _log.error("the self-test failed: %r", error)
            return False
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def left(self, connection: Connection) -> None:
        """The connection has ended."""
        self.connections.discard(connection)
        if self._draining and not self.connections:
            self._empty.set()

    def retire(self) -> None:
        """Take no new connections, and let go of each that is here after its next answer."""
        self._drain()
        until = self.loop.time() + _LINGER_S
        for connection in self.connections:
            if connection.idle:
                connection.due = min(connection.due, until)

    def shut(self) -> None:
        """The same, but those that wait are let go of at once."""
        self._drain()
        for connection in list(self.connections):
            connection.close()

    async def emptied(self, limit_s: float) -> None:
        """Return when all have left, or after that time, when those that remain are cut off."""
        if self.connections:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), limit_s)
        if self._sweeping is not None:
            self._sweeping.cancel()
        self.hands.stop()
        for exchange in self.running:
            if exchange.task is not None:
                exchange.task.cancel()

    def _drain(self) -> None:
        self._draining = True
        if self._server is not None:
            self._server.close()
            self._server = None
        if not self.connections:
            self._empty.set()

    def _look(self) -> None:
        now = self.loop.time()
        for connection in [each for each in self.connections if each.due <= now]:
            connection.overdue(now)
        self._sweeping = self.loop.call_later(self._tick_s, self._look)
