"""What is fuzzed: each target takes any bytes and raises only when something is wrong.

`tests/unit/test_fuzz.py` drives them by Hypothesis, `python -m tests.fuzzing` by coverage.
"""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from serinus.engine.registry import check_uri
from serinus.errors import SerinusError
from serinus.gateway.bounds import EdgeLimits
from serinus.gateway.edge import Connection
from serinus.gateway.encoding import Inflation
from serinus.gateway.exchange import Exchange
from serinus.gateway.hands import Hands
from serinus.gateway.head import decode_path
from serinus.gateway.heads import Heads
from serinus.replica.card import Card, Column, ColumnType, Tensor
from serinus.replica.intake import ColumnIntake
from serinus.replica.oip import OpenInference
from serinus.replica.protocol import HEADER_SIZE, Decoder, Format, Frame, FrameError, encode
from serinus.replica.tensor import TensorIntake
from serinus.replica.unit import Intake
from tests.transports import Keeping

__all__ = ["TARGETS"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_SMALL = 1 << 16
_LIMITS = EdgeLimits(
    max_request_line=200,
    max_header=200,
    max_headers=10,
    max_head=500,
    max_body=1000,
    max_pipelined=3,
)


def frames(data: bytes) -> None:
    """The decoder of frames, in chunks: what it takes is what was encoded, byte for byte."""
    whole = Decoder(_SMALL)
    cut = Decoder(_SMALL)
    step = max(1, data[0] if data else 1)
    found: list[Frame] = []
    broken: list[bool] = [False, False]
    try:
        found = whole.feed(data)
    except FrameError:
        broken[0] = True
    pieces: list[Frame] = []
    try:
        for at in range(0, len(data), step):
            pieces += cut.feed(data[at : at + step])
    except FrameError:
        broken[1] = True
    assert broken[0] == broken[1]
    if not broken[0]:
        assert found == pieces
        consumed = b"".join(map(encode, found))
        assert data[: len(consumed)] == consumed
        assert whole.pending == len(data) - len(consumed)
    else:
        assert len(data) >= HEADER_SIZE
        try:
            whole.feed(b"")
        except FrameError:
            return
        raise AssertionError("a broken decoder went on")


_COLUMNS = tuple(Column(each.value, each) for each in ColumnType if each is not ColumnType.NESTED)
_TENSORS = (Tensor("x", "float32", (-1, 2)), Tensor("y", "int8", (-1,)))
_INTAKES: tuple[Intake, ...] = (ColumnIntake(_COLUMNS), TensorIntake(_TENSORS))


def json_requests(data: bytes) -> None:
    """The readers of request bodies: a unit, or a refusal with words."""
    for intake in _INTAKES:
        with _words():
            intake.parse(data, Format.JSON)


def tensor_requests(data: bytes) -> None:
    """The same for the Open Inference Protocol."""
    for protocol in _protocols():
        with _words():
            protocol.read(data)


@cache
def _protocols() -> tuple[OpenInference, ...]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        (path / "MLmodel").write_text("flavors: {}\n")
        cards = (
            Card(path, {}, {}, _COLUMNS, False, False, None),
            Card(path, {}, {}, (), False, False, None, _TENSORS),
        )
        return tuple(
            OpenInference(card, intake) for card, intake in zip(cards, _INTAKES, strict=True)
        )


def _check_words(refusal: SerinusError) -> None:
    assert refusal.message


@contextmanager
def _words() -> Iterator[None]:
    try:
        yield
    except SerinusError as refusal:
        _check_words(refusal)


def uris(data: bytes) -> None:
    """The parser of model URIs: what it lets pass has no way up, and says the same again."""
    text = data.decode("latin-1")
    try:
        checked = check_uri(text)
    except SerinusError as refusal:
        _check_words(refusal)
        return
    assert check_uri(checked) == checked
    if checked.startswith(("models:", "runs:")):
        assert ".." not in checked.split(":", 1)[1].split("/")
    assert all(ord(each) >= 32 for each in checked)


def paths(data: bytes) -> None:
    """The decoder of paths: what it lets pass has as many parts as it had, and no way up."""
    try:
        path = decode_path(b"/" + data)
    except SerinusError as refusal:
        _check_words(refusal)
        return
    assert path.count("/") == data.count(b"/") + 1
    assert not {".", ".."} & set(path.split("/"))
    assert "\0" not in path
    assert "//" not in path


def bodies(data: bytes) -> None:
    """The decompressors: never past the limit."""
    inflation = Inflation(most=5000, ratio=100)
    for coding in ("gzip", "zstd"):
        with suppress(SerinusError):
            assert len(inflation.inflate(data, coding)) <= 5000


def http(data: bytes) -> None:
    """A connection: whatever comes, whole answers go out, and after a refusal nothing more."""
    with asyncio.Runner() as runner:
        written = runner.run(_converse(data))
    statuses = []
    while written:
        head, end, written = written.partition(b"\r\n\r\n")
        assert end
        assert head.startswith(b"HTTP/1.1 "), head
        status = int(head[9:12])
        if status == 100:
            continue
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields[b"content-length"])
        assert len(written) >= length
        written = written[length:]
        statuses.append(status)
        if status >= 400:
            assert fields[b"connection"] == b"close"
        if fields.get(b"connection") == b"close":
            assert not written
    assert all(status == 200 for status in statuses[:-1])


class _House:
    """Shared things of connections, for one of them."""

    def __init__(self) -> None:
        self.limits = _LIMITS
        self.loop = asyncio.get_running_loop()
        self.heads = Heads()
        self.hands = Hands(_echo, self.loop)
        self.connections: set[Connection] = set()
        self.running: set[Exchange] = set()
        self.refused: Counter[int] = Counter()
        self.draining = False

    def left(self, connection: Connection) -> None:
        self.connections.discard(connection)


async def _echo(scope: Message, receive: Receive, send: Send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return
        body += message["body"]
        more = message["more_body"]
    length = (b"content-length", b"%d" % len(body))
    if scope["method"] == "HEAD":
        length = (b"content-length", b"0")
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


async def _converse(data: bytes) -> bytes:
    house, wire = _House(), Keeping()
    connection = Connection(house)
    connection.connection_made(wire)
    step = max(1, data[0] if data else 1)
    for at in range(1, len(data), step):
        if wire.closed:
            break
        connection.data_received(data[at : at + step])
        for _ in range(3):
            await asyncio.sleep(0)
    for _ in range(8):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    for _ in range(3):
        await asyncio.sleep(0)
    assert not house.running
    house.hands.stop()
    return wire.written


TARGETS: dict[str, Callable[[bytes], None]] = {
    "frames": frames,
    "json": json_requests,
    "tensors": tensor_requests,
    "uris": uris,
    "paths": paths,
    "bodies": bodies,
    "http": http,
}
