"""Heads that are remembered: whatever comes, and in whatever pieces, is read as if none were."""

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from serinus.gateway.bounds import EdgeLimits
from serinus.gateway.door import Door
from serinus.gateway.edge import Connection
from serinus.gateway.heads import NOTES, Head, Heads
from tests.transports import Keeping

_LIMITS = EdgeLimits(max_head=4096, max_header=1024, max_body=500, max_pipelined=3)
_PATH = "/serving-endpoints/e/invocations"
Seen = list[tuple[dict[str, Any], bytes]]


class Forgetful(Heads):
    """Knows no head, ever."""

    def of(self, data: bytes) -> Head | None:
        return None


class Gateway:
    """A door whose application notes what it was asked, and says it back."""

    def __init__(self, heads: Heads) -> None:
        self.seen: Seen = []
        self.door = Door(self._answer, _LIMITS)
        self.door.heads = heads

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            body, more = body + message["body"], message["more_body"]
        asked = {key: value for key, value in scope.items() if key != NOTES}
        scope["noted"] = "by the application"  # as rights and room are
        self.seen.append((asked, body))
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})

    async def hear(self, pieces: Sequence[bytes], port: int = 1) -> tuple[bytes, bool]:
        """What one connection answers to the pieces, and whether it has ended then."""
        wire = Keeping(("127.0.0.1", port))
        connection = Connection(self.door)
        connection.connection_made(wire)
        for piece in pieces:
            if wire.closed:
                break
            connection.data_received(piece)
            await _turns()
        connection.connection_lost(None)
        await _turns()
        return wire.written, wire.closed

    async def close(self) -> None:
        self.door.shut()
        await self.door.emptied(1.0)


async def _turns() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


def request(body: bytes = b"{}", *more: bytes, path: str = _PATH) -> bytes:
    head = [b"POST %b HTTP/1.1" % path.encode(), b"Host: localhost", *more]
    return b"\r\n".join([*head, b"Content-Length: %d" % len(body), b"", body])


_HEADERS = st.sampled_from(
    [
        b"Content-Type: application/json",
        b"X-User-Id: 7",
        b"Connection: close",
        b"Connection: upgrade\r\nUpgrade: websocket",
        b"Expect: 100-continue",
        b"Transfer-Encoding: chunked",
        b"Bad_Name: 1",
        b"Host: elsewhere",
        b"Content-Length: 3",
        b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        b"X-Long: " + b"l" * 2100,
    ]
)
_BODIES = st.sampled_from([b"", b"{}", b"[1]", b"\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"x" * 501])
_REQUESTS = st.one_of(
    st.builds(lambda body, more: request(body, *more), _BODIES, st.lists(_HEADERS, max_size=2)),
    st.sampled_from([b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\r\n", b"nonsense\r\n"]),
)
#: Requests in one piece each, and now and then several together or one in two pieces.
_SAID = st.lists(
    st.one_of(
        _REQUESTS.map(lambda one: [one]),
        st.lists(_REQUESTS, min_size=2, max_size=3).map(lambda some: [b"".join(some)]),
        st.tuples(_REQUESTS, st.integers(1, 200)).map(
            lambda cut: [cut[0][: cut[1]], cut[0][cut[1] :]]
        ),
    ),
    max_size=6,
).map(lambda pieces: [each for some in pieces for each in some if each])


@given(st.lists(_SAID, min_size=2, max_size=4))
def test_what_is_remembered_changes_nothing(conversations: list[list[bytes]]) -> None:
    async def run(heads: Heads) -> tuple[list[tuple[bytes, bool]], Seen]:
        gateway = Gateway(heads)
        # Each is said twice, so that the second time all that can be known is.
        said = [
            await gateway.hear(pieces, port)
            for port, pieces in enumerate([*conversations, *conversations], 1)
        ]
        await gateway.close()
        return said, gateway.seen

    assert asyncio.run(run(Heads())) == asyncio.run(run(Forgetful()))


def test_a_head_that_comes_again_is_not_parsed_again() -> None:
    async def run() -> None:
        gateway = Gateway(heads := Heads())
        one, other = request(b'{"a":1}'), request(b'{"b":2}')
        assert heads.of(one) is None
        await gateway.hear([one, other])
        known = heads.of(other)
        assert known is not None
        assert known.raw + b'{"b":2}' == other
        assert known.scope["path"] == _PATH
        assert [body for _, body in gateway.seen] == [b'{"a":1}', b'{"b":2}']
        # Whoever is asked about it finds what was noted before, and nothing of the request itself.
        known.scope[NOTES]["x"] = 1
        again = heads.of(one)
        assert again is not None
        assert again.scope[NOTES] == {"x": 1}
        assert "noted" not in again.scope
        await gateway.close()

    asyncio.run(run())


def test_a_piece_of_a_request_is_no_request() -> None:
    heads = Heads()
    whole = request(b"0123456789")
    heads.learn(whole, {}, 10)
    assert heads.of(whole) is not None
    assert heads.of(whole[:-1]) is None
    assert heads.of(whole + b"P") is None
    assert heads.of(b"") is None
    assert heads.of(whole[: whole.index(b"\r\n\r\n") + 4]) is None


def test_what_is_kept_is_bounded_and_what_is_used_stays() -> None:
    heads = Heads()
    used = request(b"{}")
    heads.learn(used, {}, 2)
    for at in range(5000):
        heads.learn(request(b"{}", b"X-User-Id: %d" % at), {}, 2)
        assert heads.of(used) is not None
    assert len(heads) <= 1024


def test_a_caller_whose_heads_never_come_again_is_seldom_looked_for() -> None:
    class Counted(Heads):
        looks = 0

        def of(self, data: bytes) -> Head | None:
            Counted.looks += 1
            return super().of(data)

    async def run() -> None:
        gateway = Gateway(Counted())
        await gateway.hear([request(b"{}", b"X-User-Id: %d" % at) for at in range(200)])
        assert len(gateway.seen) == 200
        assert Counted.looks < 30
        # Once it sends the same one again that is found out, and nothing is parsed from then on.
        strange = [request(b"{}", b"X-User-Id: %d" % at) for at in range(100)]
        await gateway.hear([*strange, *(request() for _ in range(100))])
        assert Counted.looks < 60
        assert gateway.door.heads.of(request()) is not None
        await gateway.close()

    asyncio.run(run())
