"""Parses one caller's requests: heads are checked, bodies go to their exchange, bounds are held.

It writes nothing and knows no time; what is wrong comes back as an error for `edge` to answer.
"""

from abc import ABC, abstractmethod
from typing import Any

import httptools

from serinus.errors import (
    BadRequest,
    HeadersTooLarge,
    NotImplementedHere,
    SerinusError,
    TargetTooLong,
)
from serinus.gateway.bounds import EdgeLimits
from serinus.gateway.exchange import WHOLE, Exchange
from serinus.gateway.head import check_headers, decode_path, too_large
from serinus.gateway.heads import Head, Heads

__all__ = ["Reader"]

#: Chunks from which on they must have a size worth sending, and that size.
_MANY_CHUNKS, _MEAN_CHUNK = 1000, 64
#: Bytes that the framing of chunks may have beyond those of the body itself. One read from a
#: socket, with requests before this one in it, must fit in.
_FRAMING = 512 * 1024
#: After so many heads that nobody knew only one in so many is looked for: whoever never sends the
#: same one twice should not pay for those who do.
_STRANGE, _SELDOM = 8, 16
_EXTENSIONS: dict[str, object] = {WHOLE: {}}


class Reader(ABC):
    """The parsing half of a connection."""

    __slots__ = (
        "_begun",
        "_body_since",
        "_chunks",
        "_head_raw",
        "_head_since",
        "_head_size",
        "_headers",
        "_heads",
        "_in_head",
        "_keeps",
        "_known",
        "_limits",
        "_parser",
        "_plain",
        "_raw",
        "_reading",
        "_rest_of",
        "_scheme",
        "_size",
        "_strange",
        "_url",
        "client",
    )

    def __init__(self, limits: EdgeLimits, heads: Heads) -> None:
        self._limits = limits
        self._heads = heads
        self.client: tuple[str, int] | None = None
        self._scheme = "http"
        #: None once nothing more is read from this caller.
        self._parser: Any = httptools.HttpRequestParser(self)
        self._in_head = False
        #: When the head that is incomplete began; 0.0: none is.
        self._head_since = 0.0
        self._head_raw = self._head_size = 0
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        #: The request whose body is arriving, and since when.
        self._reading: Exchange | None = None
        self._body_since = 0.0
        self._chunks = self._raw = 0
        #: The head that asked for another protocol.
        self._rest_of: bytes | None = None
        #: Heads that have ended since it was set to 0; what was made of the last one, if another
        #: request may follow it and nothing was asked but to read it; and the size of its body.
        self._begun = self._size = 0
        self._plain: dict[str, Any] | None = None
        #: The head that the last request had, and how many there were since one that was known.
        self._known: Head | None = None
        self._strange = 0
        #: Whether another request may follow the last one.
        self._keeps = True

    @abstractmethod
    def _begin(self, scope: dict[str, Any], *, keep_alive: bool, expects: bool) -> None:
        """A head is complete: make it the exchange that is read."""

    def _read(self, data: bytes) -> SerinusError | None:
        """Take some bytes in; what is wrong with them, if anything is."""
        if self._in_head or self._reading is not None or not self._keeps:
            return self._parse(data)
        known = self._known
        if known is not None and known.begins(data):
            return self._repeat(known, data)
        if self._strange > _STRANGE and self._strange % _SELDOM:
            self._strange += 1
            return self._parse(data)
        self._known = known = self._heads.of(data)
        if known is not None:
            self._strange = 0
            return self._repeat(known, data)
        self._strange += 1
        return self._learn(data)

    def _repeat(self, head: Head, data: bytes) -> SerinusError | None:
        """A request of which all but the body was read before."""
        scope = head.scope.copy()
        scope["client"], scope["scheme"] = self.client, self._scheme
        try:
            self._begin(scope, keep_alive=True, expects=False)
        except SerinusError as fault:
            return fault
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.feed(data[len(head.raw) :])
            reading.end()
        return None

    def _learn(self, data: bytes) -> SerinusError | None:
        """Parse what may be one whole request, to know its head from then on."""
        self._plain = None
        self._begun = 0
        fault = self._parse(data)
        plain, self._plain = self._plain, None
        ended = self._reading is None and not self._in_head
        if plain is not None and fault is None and ended and self._begun == 1:
            self._heads.learn(data, plain, 0 if self._chunks else self._size)
        return fault

    def _parse(self, data: bytes) -> SerinusError | None:
        was_in_head = self._in_head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            fault = error.__context__
            return fault if isinstance(fault, SerinusError) else _unreadable(fault or error)
        except httptools.HttpParserError as error:
            return _unreadable(error)
        if self._in_head:
            if was_in_head:
                # A header that never ends is not shown to `on_header`.
                self._head_raw += len(data)
                if self._head_raw > self._limits.max_head + self._limits.max_header:
                    return self._head_too_large()
        elif self._reading is not None:
            self._raw += len(data)
            if self._raw > 2 * self._reading.size + _FRAMING:
                return BadRequest("The chunks of the body are mostly framing.")
        return None

    # What httptools calls

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_raw = self._head_size = 0
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > self._limits.max_request_line:
            raise TargetTooLong(
                f"The request line is over the limit of {self._limits.max_request_line} bytes."
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers count with the head, and come after the decision by it: they are not kept.
        self._head_size = size = self._head_size + len(name) + len(value)
        headers, limits = self._headers, self._limits
        if self._reading is None:
            headers.append((name.lower(), value))
        if size > limits.max_head or len(headers) > limits.max_headers:
            raise self._head_too_large()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_since = 0.0
        parser = self._parser
        version, method = parser.get_http_version(), parser.get_method().decode("ascii")
        if version not in ("1.1", "1.0"):
            raise NotImplementedHere("Only HTTP/1.1 and HTTP/1.0 are spoken here.")
        raw_path, _, query = self._url.partition(b"?")
        if parser.should_upgrade():
            if method == "CONNECT":
                raise NotImplementedHere("This server is no proxy.")
            # An upgrade is an offer, not a condition: the request is answered as it is.
            self._rest_of = _head(method, self._url, version, self._headers)
            return
        headers, limits = self._headers, self._limits
        # None is larger than all of them together.
        if self._head_size > limits.max_header and any(
            len(name) + len(value) > limits.max_header for name, value in headers
        ):
            raise self._head_too_large()
        expects = check_headers(headers, version, limits.max_body)
        scope = {
            "type": "http",
            "http_version": version,
            "method": method,
            "scheme": self._scheme,
            "path": decode_path(raw_path),
            "raw_path": raw_path,
            "query_string": query,
            "headers": headers,
            "client": self.client,
            "extensions": _EXTENSIONS if method != "HEAD" else {},
        }
        self._chunks = self._raw = 0
        self._keeps = keep_alive = version == "1.1" and parser.should_keep_alive()
        self._begun += 1
        self._plain = scope if keep_alive and not expects else None
        self._begin(scope, keep_alive=keep_alive, expects=expects)

    def on_body(self, body: bytes) -> None:
        reading = self._reading
        if reading is None:
            return
        if reading.size + len(body) > self._limits.max_body:
            raise too_large(self._limits.max_body)
        reading.feed(body)

    def on_chunk_header(self) -> None:
        self._chunks += 1
        reading = self._reading
        if (
            self._chunks > _MANY_CHUNKS
            and reading is not None
            and reading.size < self._chunks * _MEAN_CHUNK
        ):
            raise BadRequest(
                f"The body came in {self._chunks} chunks of less than {_MEAN_CHUNK} bytes on "
                "average; send larger ones, or a Content-Length."
            )

    def on_message_complete(self) -> None:
        reading, self._reading = self._reading, None
        self._body_since = 0.0
        if reading is not None:
            self._size = reading.size
            reading.end()

    def _without_upgrade(self, rest: bytes) -> SerinusError | None:
        """Read the request again as one that offers nothing."""
        head, self._rest_of = self._rest_of, None
        if head is None:
            return _unreadable("an upgrade out of place")
        self._parser = httptools.HttpRequestParser(self)
        return self._read(head + rest)

    def _head_too_large(self) -> HeadersTooLarge:
        limits = self._limits
        return HeadersTooLarge(
            f"The headers are over a limit: {limits.max_header} bytes each, {limits.max_headers} "
            f"of them, {limits.max_head} bytes together."
        )


def _unreadable(error: object) -> BadRequest:
    return BadRequest(f"The request is not HTTP/1.1 as this server reads it: {error}.")


def _head(method: str, url: bytes, version: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """A request's head without the offer to speak another protocol."""
    kept = [
        b"%b: %b\r\n" % (name, value)
        for name, value in headers
        if name not in (b"upgrade", b"connection", b"http2-settings")
    ]
    first = b"%b %b HTTP/%b\r\n" % (method.encode(), url, version.encode())
    return b"".join((first, *kept, b"\r\n"))
