"""Frames between gateway, replica and controller. Sans-IO: bytes in, frames out.

A frame is a fixed header, then ``meta`` (msgpack, usually empty), then ``body``:

    length u32 | kind u8 | format u8 | status u16 | id u64 | meta u32 | aux u32 | batch u32

``length`` counts everything after the header; all numbers are big-endian. The first frame on a
connection is the replica's HELLO; the gateway sends nothing before it has checked it.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import msgspec

__all__ = [
    "HEADER_SIZE",
    "MAX_FRAME",
    "PROTOCOL_VERSION",
    "SEPARATOR",
    "Decoder",
    "Format",
    "Frame",
    "FrameError",
    "Hello",
    "Kind",
    "encode",
    "encode_all",
    "request_head",
]

PROTOCOL_VERSION = 1
#: Largest meta + body that a decoder accepts: a 64 MiB answer and room for its meta.
MAX_FRAME = 65 * 1024 * 1024

#: In a REQUEST's meta, between the caller's name (UTF-8), the request's id, and what there is of a
#: W3C ``traceparent`` and ``tracestate``; see `origin`.
SEPARATOR = b"\0"

_HEADER = struct.Struct("!IBBHQIII")
_pack, _unpack_from = _HEADER.pack, _HEADER.unpack_from
HEADER_SIZE = _HEADER.size


class FrameError(Exception):
    """The peer broke the framing; the connection can't be used any more."""


class Kind(IntEnum):
    """What a frame is."""

    #: replica → peer, first on every connection; meta is a `Hello`.
    HELLO = 1
    #: peer → replica: score ``body``; ``aux`` is the time left in ms (0: no deadline), and what
    #: would be answered after it may not be answered at all; meta is the caller's name, `SEPARATOR`
    #: and the request's id (and the trace that it is in), or empty.
    REQUEST = 2
    #: replica → peer: the answer to the REQUEST of that id; ``status`` is HTTP's, ``aux`` the
    #: model's time for the whole batch in µs, ``batch`` numbers the batch within the replica. Its
    #: meta is empty; inside of a gateway it says how a cache came by the answer.
    RESPONSE = 3
    #: peer → replica: are you alive? Answered between two batches.
    PING = 4
    #: replica → peer, with the PING's id.
    PONG = 5
    #: replica → peer: send no more requests, I am about to end.
    DRAINING = 6
    #: gateway → controller, first on every connection; meta is a `traffic.GatewayHello`.
    GATEWAY = 7
    #: controller → gateway: body is a `traffic.RouteTable` as JSON.
    ROUTES = 8
    #: gateway → controller: meta is a `traffic.Acknowledge`.
    ACKNOWLEDGE = 9
    #: gateway → controller: body is an `evidence.summary.Flush` as msgpack, ``id`` its sequence;
    #: the controller sends the id back once it keeps what was in it.
    SUMMARY = 10
    #: gateway → controller: body is an `evidence.meter.Counts` as msgpack; nothing comes back.
    COUNTS = 11
    #: peer → replica: compute the contract's stages for the request in ``body``.
    INSPECT = 12
    #: replica → peer, with the INSPECT's id: the stages, or an error body and its ``status``.
    INSPECTION = 13
    #: peer → replica: what have you seen of live values?
    WATCH = 14
    #: replica → peer, with the WATCH's id: the live state so far.
    LIVE = 15
    #: gateway → controller: body is {token id: seconds since the epoch} as msgpack, when each was
    #: last used; nothing comes back.
    USES = 16
    #: gateway → controller → every other gateway: body is a list of `quarantine.Death` as msgpack.
    DEATHS = 17


class Format(IntEnum):
    """What the bytes of a body are."""

    NONE = 0
    JSON = 1
    CSV = 2
    PARQUET = 3
    TEXT = 4
    #: A request of the Open Inference Protocol; an empty one asks what the model takes.
    OIP = 5


@dataclass(frozen=True, slots=True)
class Hello:
    """Who a replica says it is."""

    protocol: int
    replica_id: str
    model_digest: str
    pid: int


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One message; see `Kind` for what the fields mean. A Struct, since one is made per request."""

    kind: Kind
    id: int = 0
    body: bytes = b""
    meta: bytes = b""
    format: Format = Format.NONE
    status: int = 0
    aux: int = 0
    batch: int = 0


def encode(frame: Frame) -> bytes:
    """The bytes of one frame; raises FrameError when it is larger than `MAX_FRAME`."""
    length = len(frame.meta) + len(frame.body)
    if length > MAX_FRAME:
        raise FrameError(f"a frame of {length} bytes is over the limit of {MAX_FRAME}")
    header = _HEADER.pack(
        length,
        frame.kind,
        frame.format,
        frame.status,
        frame.id,
        len(frame.meta),
        frame.aux,
        frame.batch,
    )
    return b"".join((header, frame.meta, frame.body))


def encode_all(frames: Iterable[Frame]) -> bytes:
    """The bytes of all of them, as `encode` has each; raises FrameError when one is too large."""
    parts: list[bytes] = []
    for frame in frames:
        meta, body = frame.meta, frame.body
        length = len(meta) + len(body)
        if length > MAX_FRAME:
            raise FrameError(f"a frame of {length} bytes is over the limit of {MAX_FRAME}")
        parts += (
            _pack(
                length,
                frame.kind,
                frame.format,
                frame.status,
                frame.id,
                len(meta),
                frame.aux,
                frame.batch,
            ),
            meta,
            body,
        )
    return b"".join(parts)


def request_head(id_: int, size: int, meta: bytes, format_: Format, left_ms: int) -> bytes:
    """What is before the ``size`` bytes of a REQUEST's body, as `encode` has it; raises FrameError.

    One is sent for each request of a gateway, which needs no `Frame` of it.
    """
    length = len(meta) + size
    if length > MAX_FRAME:
        raise FrameError(f"a frame of {length} bytes is over the limit of {MAX_FRAME}")
    return _HEADER.pack(length, _REQUEST, format_, 0, id_, len(meta), left_ms, 0) + meta


def encode_hello(hello: Hello) -> bytes:
    """A HELLO frame."""
    return encode(Frame(Kind.HELLO, meta=msgspec.msgpack.encode(hello)))


def decode_hello(frame: Frame) -> Hello:
    """The Hello in a frame; raises FrameError when the frame is not one or can't be read."""
    if frame.kind is not Kind.HELLO:
        raise FrameError(f"expected HELLO first, got {frame.kind.name}")
    try:
        return msgspec.msgpack.decode(frame.meta, type=Hello)
    except msgspec.DecodeError as error:
        raise FrameError(f"unreadable HELLO: {error}") from error


class Decoder:
    """Cuts a byte stream into frames, however the bytes are chunked.

    After a FrameError the decoder is poisoned: it raises again on every further call, because
    where the next frame would start is unknown.
    """

    __slots__ = ("_buffer", "_max_frame", "_needed", "_poisoned")

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._max_frame = max_frame
        #: Bytes that the buffer must hold before it is worth another look.
        self._needed = HEADER_SIZE
        self._poisoned: str | None = None

    @property
    def pending(self) -> int:
        """Bytes of a frame that has not arrived in full."""
        return len(self._buffer)

    def feed(self, data: bytes | bytearray | memoryview) -> list[Frame]:
        """Take bytes as they came and return the frames that are now complete."""
        if self._poisoned is not None:
            raise FrameError(self._poisoned)
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._needed:
                return []
            # The rest is cut off by replacing the buffer, so that no view of it has to be let go.
            whole = bytes(buffer)
        else:
            # Most chunks hold whole frames, which never see the buffer. Bytes are cut at less cost
            # than a view, of whose pieces bytes are to be made.
            whole = bytes(data)
        frames: list[Frame] = []
        at, end = 0, len(whole)
        self._needed = HEADER_SIZE
        while end - at >= HEADER_SIZE:
            length, kind, format_, status, id_, meta, aux, batch = _unpack_from(whole, at)
            if length > self._max_frame or meta > length:
                self._poison(f"a frame announces {length} bytes with {meta} of meta")
            meta_at = at + HEADER_SIZE
            body_at, after = meta_at + meta, meta_at + length
            if after > end:
                self._needed = after - at
                break
            try:
                frames.append(
                    Frame(
                        _KINDS[kind],
                        id_,
                        whole[body_at:after],
                        whole[meta_at:body_at],
                        _FORMATS[format_],
                        status,
                        aux,
                        batch,
                    )
                )
            except KeyError:
                self._poison(f"unknown frame kind {kind} or format {format_}")
            at = after
        if buffer or at < end:
            self._buffer = bytearray(whole[at:])
        return frames

    def _poison(self, reason: str) -> None:
        self._poisoned = reason
        self._buffer = bytearray()
        raise FrameError(reason)


_REQUEST = int(Kind.REQUEST)
_KINDS = {int(kind): kind for kind in Kind}
_FORMATS = {int(format_): format_ for format_ in Format}
