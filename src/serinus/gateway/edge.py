"""One connection from a caller: bytes in, exchanges out, every limit of `EdgeLimits` held.

What is malformed is refused with JSON, after the answers to the requests before it, and the
connection ends there: where the next request would begin is unknown.
"""

import asyncio
from collections import Counter, deque
from math import inf
from typing import Any, Protocol, cast

import msgspec

from serinus.errors import (
    RequestTooSlow,
    ResourceExhausted,
    SerinusError,
    TemporarilyUnavailable,
)
from serinus.gateway.bounds import EdgeLimits
from serinus.gateway.exchange import Exchange, response_head
from serinus.gateway.hands import Hands
from serinus.gateway.heads import Heads
from serinus.gateway.reader import Reader

__all__ = ["Connection", "House"]

#: After a refusal the caller gets this long, and may send so much, to read it before the end.
_LINGER_S, _LINGER_BYTES = 1.0, 1024 * 1024
#: When a body is late or held up, it is looked at again after this long.
_AGAIN_S = 0.25
#: How many connections over the limit are told so at a time; the rest are cut off.
_TOLD = 100


class House(Protocol):
    """What all connections share."""

    limits: EdgeLimits
    heads: Heads
    hands: Hands
    loop: asyncio.AbstractEventLoop
    connections: "set[Connection]"
    running: set[Exchange]
    #: HTTP status → how often the edge itself answered with it.
    refused: Counter[int]

    @property
    def draining(self) -> bool:
        """Whether every answer is to be a connection's last."""
        ...

    def left(self, connection: "Connection") -> None:
        """The connection has ended."""
        ...


class Connection(Reader, asyncio.Protocol):
    """Parses, checks and answers in order. At most one request at a time is worked on."""

    __slots__ = (
        "_held",
        "_house",
        "_last_words",
        "_lingered",
        "_queue",
        "_transport",
        "_writable",
        "due",
    )

    def __init__(self, house: House) -> None:
        super().__init__(house.limits, house.heads)
        self._house = house
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        #: When `overdue` is to be called.
        self.due = inf
        #: The request that is worked on, and those that wait for it.
        self._queue: deque[Exchange] = deque()
        self._held = False
        self._writable: asyncio.Event | None = None
        #: The refusal that follows the answers under way.
        self._last_words: bytes | None = None
        self._lingered = -1

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        house = self._house
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.client = (peer[0], peer[1]) if isinstance(peer, tuple) else None
        if transport.get_extra_info("sslcontext") is not None:
            self._scheme = "https"
        house.connections.add(self)
        stay = _LINGER_S if house.draining else house.limits.keep_alive_s
        self.due = house.loop.time() + stay
        crowd = len(house.connections) - house.limits.max_connections
        if crowd > _TOLD:
            self._transport.abort()
        elif crowd > 0:
            self._refuse(
                TemporarilyUnavailable(
                    f"This gateway has its {house.limits.max_connections} connections already; "
                    "try again in a moment.",
                    retry_after=1,
                )
            )

    def connection_lost(self, exc: Exception | None) -> None:
        self._parser = None
        self.due = inf
        for exchange in self._queue:
            exchange.hang_up()
        self._queue.clear()
        if self._writable is not None:
            self._writable.set()
        self._house.left(self)

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self._linger(len(data))
            return
        fault = self._read(data)
        if fault is not None:
            self._refuse(fault)
        else:
            self._note_progress()

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = asyncio.Event()
        self._writable.clear()
        self.due = self._house.loop.time() + self._house.limits.send_deadline_s

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()
        self._rest()

    # What its exchanges call

    def write(self, *parts: bytes) -> None:
        """Send bytes, small ones in one piece."""
        if self._transport.is_closing():
            return
        if sum(map(len, parts)) <= 1 << 16:
            self._transport.write(b"".join(parts))
            return
        for part in parts:
            if part:
                self._transport.write(part)

    async def writable(self) -> None:
        """Return once the caller has taken most of what was sent."""
        if self._writable is not None:
            await self._writable.wait()

    def hold(self) -> None:
        """Read nothing more for now."""
        if not self._held:
            self._held = True
            self._transport.pause_reading()

    def go_on(self) -> None:
        """Read on, unless requests wait for an answer."""
        if self._held and len(self._queue) <= 1 and not self._transport.is_closing():
            self._held = False
            self._transport.resume_reading()

    def stays_open(self) -> bool:
        """Whether another request may follow on this connection."""
        return not self._house.draining or len(self._queue) > 1

    def answered(self, exchange: Exchange) -> None:
        """Go on to the next request."""
        queue = self._queue
        queue.popleft()
        if self._transport.is_closing():
            return
        if not exchange.keep_alive:
            self._end(politely=self._reading is not None)
        elif queue:
            self._start(queue[0])
            self.go_on()
        elif self._last_words is not None:
            self.write(self._last_words)
            self._end(politely=True)
        else:
            self.go_on()
            self._rest()

    def ended(self, exchange: Exchange) -> None:
        """If it ended too early, the connection does: half an answer shows by its missing end."""
        self._house.running.discard(exchange)
        if not (exchange.finished or exchange.gone):
            self._transport.close()

    # Its own

    @property
    def idle(self) -> bool:
        """Whether the caller is owed nothing and has sent nothing of a request."""
        return not self._queue and not self._in_head and self._reading is None

    def close(self) -> None:
        """End it at once if it is idle, else with the answer under way."""
        if self.idle:
            self._transport.close()

    def overdue(self, now: float) -> None:
        """What had to happen by `due` has not."""
        limits = self._house.limits
        self.due = now + _AGAIN_S
        if self._parser is None or self._write_stalls():
            self._transport.abort()
        elif self._head_since:
            self._refuse(
                RequestTooSlow(
                    f"The headers took longer than the {limits.header_deadline_s:g} s they may."
                )
            )
        elif self._reading is not None:
            if self._held:
                self._body_since += _AGAIN_S  # it is us who don't read
            elif late := self._late_body(self._reading, now - self._body_since):
                self._refuse(RequestTooSlow(late))
        elif self.idle:
            if self._transport.get_write_buffer_size():
                self._transport.abort()
            else:
                self._transport.close()
        else:
            self.due = inf

    def _late_body(self, reading: Exchange, took_s: float) -> str:
        """What is wrong with a body of which that much has come by now; empty: nothing."""
        limits = self._house.limits
        if took_s >= limits.body_deadline_s:
            return f"The body took longer than the {limits.body_deadline_s:g} s it may."
        if reading.size < (took_s - limits.body_grace_s) * limits.body_min_rate:
            return f"The body comes slower than {limits.body_min_rate} bytes a second."
        return ""

    def _write_stalls(self) -> bool:
        return self._writable is not None and not self._writable.is_set()

    def _note_progress(self) -> None:
        """Set what is due, now that some bytes were read."""
        if self._in_head:
            self._head_since = self._head_since or self._house.loop.time()
        elif self._reading is not None:
            self._body_since = self._body_since or self._house.loop.time()
        elif not self._queue:
            return  # still idle: what came were line breaks, or was answered already
        self._rest()

    def _rest(self) -> None:
        """When this connection must be looked at next if nothing happens."""
        limits = self._house.limits
        if self._parser is None or self._write_stalls():
            return
        if self._head_since:
            self.due = self._head_since + limits.header_deadline_s
        elif self._reading is not None:
            # Once the grace is over this has passed, and the rate is looked at again.
            patience = min(limits.body_grace_s, limits.body_deadline_s)
            self.due = (self._body_since or self._house.loop.time()) + patience
        elif self._queue:
            self.due = inf
        else:
            self.due = self._house.loop.time() + limits.keep_alive_s

    def _begin(self, scope: dict[str, Any], *, keep_alive: bool, expects: bool) -> None:
        exchange = Exchange(self, scope, keep_alive=keep_alive, expects=expects)
        self._reading = exchange
        queue = self._queue
        queue.append(exchange)
        if len(queue) == 1:
            self._start(exchange)
            return
        self.hold()
        if len(queue) > self._house.limits.max_pipelined:
            raise ResourceExhausted(
                f"{len(queue) - 1} requests wait on this connection already, which is its limit; "
                "wait for their answers, or open another one.",
                retry_after=1,
            )

    def _start(self, exchange: Exchange) -> None:
        house = self._house
        house.running.add(exchange)
        house.hands.take(exchange)

    def _refuse(self, error: SerinusError) -> None:
        """Answer once those before it are answered, then end."""
        self._parser = None
        self._in_head = False
        self._house.refused[error.status] += 1
        reading, self._reading = self._reading, None
        if reading is not None:
            if reading not in self._queue:  # answered before its body was here
                self._last_words = None
                self._end(politely=True)
                return
            if reading.started:
                self._transport.abort()
                return
            self._queue.remove(reading)
            reading.hang_up()
        words = _answer(error)
        if self._queue:
            self._last_words = words
            self.hold()
            self.due = inf
        else:
            self.write(words)
            self._end(politely=True)

    def _end(self, *, politely: bool) -> None:
        """Close. ``politely``: bytes are on their way here, which must not cost the answer."""
        self._parser = None
        now = self._house.loop.time()
        if not politely:
            self.due = now + self._house.limits.send_deadline_s
            self._transport.close()
            return
        self.due = now + _LINGER_S
        self._lingered = 0
        if self._transport.can_write_eof():
            self._transport.write_eof()
        if self._held:
            self._held = False
            self._transport.resume_reading()

    def _linger(self, size: int) -> None:
        if self._lingered >= 0:
            self._lingered += size
            if self._lingered > _LINGER_BYTES:
                self._transport.abort()


def _answer(error: SerinusError) -> bytes:
    body = msgspec.json.encode({"error_code": error.code, "message": error.message})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    return response_head(error.status, headers) + body
