"""Several peers of one replica: each gets its own answers, and nobody waits for who has left."""

import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from serinus.replica.loop import Loop
from serinus.replica.protocol import Decoder, Frame, Hello, Kind, encode
from serinus.replica.scorer import Request

WAIT_S = 60


class Held:
    """Answers each request with its body, the first ones only when it is let go."""

    def __init__(self) -> None:
        self.began, self.go = threading.Event(), threading.Event()
        self.asked: list[list[bytes]] = []

    def answer(self, requests: Sequence[Request]) -> list[Frame]:
        self.asked.append([each.frame.body for each in requests])
        self.began.set()
        assert self.go.wait(WAIT_S)
        return [Frame(Kind.RESPONSE, each.frame.id, each.frame.body) for each in requests]


class Stand:
    """A loop on a socket, and lines to it."""

    def __init__(self, path: str, max_batch: int) -> None:
        self.held, self.path = Held(), path
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        hello = Hello(1, "r", "d", 1)
        self.loop = Loop(listener, self.held, hello, max_batch=max_batch, drain_s=WAIT_S)
        self.thread = threading.Thread(target=self.loop.run)
        self.thread.start()

    def line(self) -> socket.socket:
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(WAIT_S)
        line.connect(self.path)
        assert read(line, 1)[0].kind is Kind.HELLO
        return line

    def end(self) -> None:
        self.held.go.set()
        self.loop.drain()
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()


@pytest.fixture
def stand(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stand]:
    made = Stand(str(tmp_path / "s"), request.param)
    yield made
    made.end()


def ask(line: socket.socket, *bodies: bytes) -> None:
    frames = [Frame(Kind.REQUEST, at, body) for at, body in enumerate(bodies)]
    line.sendall(b"".join(map(encode, frames)))


def read(line: socket.socket, count: int) -> list[Frame]:
    decoder = Decoder()
    found: list[Frame] = []
    while len(found) < count:
        data = line.recv(1 << 16)
        assert data
        found += decoder.feed(data)
    return found


@pytest.mark.parametrize("stand", [8], indirect=True)
def test_those_who_share_a_call_get_their_own_answers(stand: Stand) -> None:
    with stand.line() as one, stand.line() as other:
        ask(one, b"first")
        assert stand.held.began.wait(WAIT_S)
        ask(one, b"a", b"b")
        ask(other, b"x", b"y", b"z")
        stand.held.go.set()
        assert [each.body for each in read(one, 3)] == [b"first", b"a", b"b"]
        assert [each.body for each in read(other, 3)] == [b"x", b"y", b"z"]
    assert sorted(map(len, stand.held.asked)) == [1, 5]


@pytest.mark.parametrize("stand", [2], indirect=True)
def test_who_hangs_up_is_not_asked_for_and_holds_up_nobody(stand: Stand) -> None:
    with stand.line() as stays:
        gone = stand.line()
        ask(stays, b"first")
        assert stand.held.began.wait(WAIT_S)
        ask(gone, b"a", b"b", b"c")
        gone.close()
        ask(stays, b"second")
        stand.held.go.set()
        assert [each.body for each in read(stays, 2)] == [b"first", b"second"]
    stand.end()
    assert not any(b"c" in each for each in stand.held.asked)
