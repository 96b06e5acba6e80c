"""One request and its answer, as ASGI sees them; the bytes go through its connection.

It knows nothing of parsing and nothing of other exchanges.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Protocol

__all__ = ["WHOLE", "Application", "Exchange", "Line", "response_head"]

_log = logging.getLogger("serinus.gateway")

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

#: A message of our own: all of an answer to anything but a HEAD. Its ``head`` lacks only what ends
#: it. It may be sent where it is among a scope's extensions.
WHOLE = "serinus.response"
#: Bytes of a body that wait to be read before its caller is kept waiting.
_HIGH_WATER = 64 * 1024
_STATUS_LINE = {each.value: f"HTTP/1.1 {each.value} {each.phrase}".encode() for each in HTTPStatus}
_BODILESS = (204, 304)


class Line(Protocol):
    """What an exchange needs of its connection."""

    def write(self, *parts: bytes) -> None:
        """Send bytes."""
        ...

    async def writable(self) -> None:
        """Return once the caller has taken most of what was sent."""
        ...

    def hold(self) -> None:
        """Read nothing more for now."""
        ...

    def go_on(self) -> None:
        """Read on."""
        ...

    def stays_open(self) -> bool:
        """Whether another request may follow on this connection."""
        ...

    def answered(self, exchange: "Exchange") -> None:
        """The answer was sent whole."""
        ...

    def ended(self, exchange: "Exchange") -> None:
        """Nobody works on it any more; unless it is finished, there will be no further answer."""
        ...


def response_head(status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Status line and headers; raises ValueError for a header that would become two."""
    first = _STATUS_LINE.get(status) or b"HTTP/1.1 %d " % status
    head = b"\r\n".join((first, *map(b": ".join, headers), b"", b""))
    if head.count(b"\n") != len(headers) + 2 or 0 in head:
        raise ValueError("a response header has a line break in it")
    return head


class Exchange:
    """Receives one request's body and sends one response."""

    __slots__ = (
        "_body",
        "_chunked",
        "_expects",
        "_head",
        "_left",
        "_line",
        "_news",
        "_told",
        "_waiting",
        "finished",
        "gone",
        "keep_alive",
        "scope",
        "size",
        "started",
        "task",
        "whole",
    )

    def __init__(self, line: Line, scope: Message, *, keep_alive: bool, expects: bool) -> None:
        """``expects``: the caller sends its body only after ``100 Continue``."""
        self._line = line
        self.scope = scope
        self.keep_alive = keep_alive
        self._expects = expects
        #: What has come of the body and was not received yet.
        self._body: list[bytes] = []
        self._waiting = 0
        #: Bytes of the body so far.
        self.size = 0
        #: Whether all of the body has come, and whether the application knows it.
        self.whole = False
        self._told = False
        #: The caller is gone: nothing that is sent reaches anybody.
        self.gone = False
        self._head: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._chunked = False
        #: Bytes that the content-length still promises; None: it promises nothing.
        self._left: int | None = None
        self.started = False
        self.finished = False
        self._news: asyncio.Event | None = None
        self.task: asyncio.Task[None] | None = None

    async def run(self, application: Application) -> None:
        """Have the application answer."""
        try:
            await application(self.scope, self.receive, self.send)
        except Exception:  # noqa: BLE001 - one request's fault must not reach the event loop
            _log.exception("the application failed")
        finally:
            self._line.ended(self)

    # The request

    def feed(self, data: bytes) -> None:
        """Some more of the body has come."""
        self.size += len(data)
        if self.finished or self.gone:
            return  # answered without it; what else comes is read to reach the next request
        self._body.append(data)
        self._waiting += len(data)
        if self._waiting > _HIGH_WATER:
            self._line.hold()
        self._wake()

    def end(self) -> None:
        """All of the body has come."""
        self.whole = True
        self._wake()

    def hang_up(self) -> None:
        """The caller is gone."""
        self.gone = True
        self._wake()

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set()

    async def receive(self) -> Message:
        """ASGI: the next part of the body, or that the caller left."""
        if self._expects:
            self._expects = False
            if not (self.started or self._body or self.whole):
                self._line.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self.gone or self.finished):
            if self._body or (self.whole and not self._told):
                body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
                self._body = []
                self._waiting = 0
                self._told = self.whole
                if not self.whole:
                    self._line.go_on()
                return {"type": "http.request", "body": body, "more_body": not self.whole}
            if self._news is None:
                self._news = asyncio.Event()
            self._news.clear()
            await self._news.wait()
        return {"type": "http.disconnect"}

    # The response

    async def send(self, message: Message) -> None:
        """ASGI: the head of the response, then its body in one part or several."""
        if self.gone:
            return
        if message["type"] == WHOLE:
            self._send_whole(message["head"], message["body"])
            return
        if message["type"] == "http.response.start":
            self._head = message["status"], list(message.get("headers", ()))
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._head is not None:
            first = self._begin(len(body), more=more)
            self._head = None
        elif not self.started or self.finished:
            raise RuntimeError("a response's parts came in the wrong order")
        else:
            first = b""
            await self._line.writable()
            if self.gone:
                return
        self._write(first, body, more=more)
        if not more:
            if self._left:
                raise RuntimeError("the response is shorter than its content-length")
            self.finished = True
            self._wake()
            self._line.answered(self)

    def _send_whole(self, head: bytes, body: bytes) -> None:
        if self.started or self._head is not None:
            raise RuntimeError("a response's parts came in the wrong order")
        unclear = self._expects and not self.whole
        self.keep_alive = self.keep_alive and not unclear and self._line.stays_open()
        self._line.write(head, b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n", body)
        self.started = self.finished = True
        self._wake()
        self._line.answered(self)

    def _begin(self, size: int, *, more: bool) -> bytes:
        if self._head is None:
            raise RuntimeError("a response's parts came in the wrong order")
        status, headers = self._head
        framed = closes = False
        for name, value in headers:
            if name == b"content-length":
                framed, self._left = True, int(value)
            elif name == b"connection":
                closes = b"close" in value.lower()
        # Whoever was not told to go on may send the body all the same, or the next request.
        unclear = self._expects and not self.whole
        self.keep_alive = self.keep_alive and not (closes or unclear) and self._line.stays_open()
        bodiless = status in _BODILESS or self.scope["method"] == "HEAD"
        if bodiless:
            self._left = None
        elif not framed and not more:
            self._left = size
            headers.append((b"content-length", b"%d" % size))
        elif not framed and self.scope["http_version"] == "1.1":
            self._chunked = True
            headers.append((b"transfer-encoding", b"chunked"))
        elif not framed:
            self.keep_alive = False  # the end of the connection is the end of the body
        if not self.keep_alive and not closes:
            headers.append((b"connection", b"close"))
        head = response_head(status, headers)
        self.started = True
        return head

    def _write(self, first: bytes, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            body = b""
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            self._line.write(first, chunk, b"" if more else b"0\r\n\r\n")
            return
        if self._left is not None:
            self._left -= len(body)
            if self._left < 0:
                raise RuntimeError("the response is longer than its content-length")
        self._line.write(first, body)
