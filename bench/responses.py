"""Cuts HTTP/1.1 responses out of a byte stream, in whatever pieces it arrives.

Sans-IO. For one outstanding request per connection: it must never be used for pipelining.
"""

from dataclasses import dataclass

__all__ = ["MalformedResponse", "Response", "ResponseReader"]

_HEAD_LIMIT = 64 * 1024


class MalformedResponse(Exception):
    """What arrived is no HTTP/1.1 response."""


@dataclass(frozen=True, slots=True)
class Response:
    """One whole answer. `size` counts head and body as they came over the wire."""

    status: int
    body: bytes
    size: int
    #: False when the server said that it closes the connection after this answer.
    keep_alive: bool = True


class ResponseReader:
    """Feed bytes, get a `Response` as soon as one is whole."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    @property
    def partial(self) -> bool:
        """True when part of an answer has arrived, so that a hang-up now cuts it."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Response | None:
        """The next answer, or None while some of it is missing."""
        if self._buffer:
            data = self._buffer + data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            if len(data) > _HEAD_LIMIT:
                raise MalformedResponse(f"no end of the head within {_HEAD_LIMIT} bytes")
            self._buffer = data
            return None
        head = data[:head_end].lower()
        if head[:7] != b"http/1." or not head[9:12].isdigit():
            raise MalformedResponse(f"not a status line: {bytes(data[:40])!r}")
        cut = _body(head, data, head_end + 4)
        if cut is None:
            self._buffer = data
            return None
        body, end = cut
        if len(data) > end:
            raise MalformedResponse(f"{len(data) - end} bytes more than one answer")
        self._buffer = b""
        return Response(int(head[9:12]), body, end, b"\r\nconnection: close" not in head)


def _body(head: bytes, data: bytes, start: int) -> tuple[bytes, int] | None:
    """Body and where it ends, or None while some of it is missing."""
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        end = start + _length(head, at + 17)
        return (data[start:end], end) if len(data) >= end else None
    if b"\r\ntransfer-encoding: chunked" in head:
        return _unchunk(data, start)
    if head[9:12] in (b"204", b"304"):
        return b"", start
    raise MalformedResponse("neither content-length nor chunked: its end can't be known")


def _length(head: bytes, start: int) -> int:
    end = head.find(b"\r\n", start)
    text = (head[start:] if end < 0 else head[start:end]).strip()
    if not text.isdigit():
        raise MalformedResponse(f"content-length is {text!r}")
    return int(text)


def _unchunk(data: bytes, at: int) -> tuple[bytes, int] | None:
    """Body and where it ends, or None while a chunk is missing. Trailers are not supported."""
    parts: list[bytes] = []
    while True:
        line_end = data.find(b"\r\n", at)
        if line_end < 0:
            return None
        try:
            size = int(data[at:line_end].split(b";")[0], 16)
        except ValueError:
            raise MalformedResponse(f"chunk size is {data[at:line_end]!r}") from None
        start = line_end + 2
        end = start + size
        if len(data) < end + 2:
            return None
        if data[end : end + 2] != b"\r\n":
            raise MalformedResponse("a chunk does not end where it said")
        if size == 0:
            return b"".join(parts), end + 2
        parts.append(data[start:end])
        at = end + 2
