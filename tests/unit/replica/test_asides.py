"""Questions that are no requests: how they cross the wire, and that requests go first."""

import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from serinus.parity.wire import Inspection, Request, Running
from serinus.replica.loop import Loop
from serinus.replica.protocol import Decoder, Format, Frame, FrameError, Hello, Kind, encode
from serinus.replica.question import (
    ask_running,
    ask_stages,
    inspection,
    inspection_of,
    is_about_running,
    requests_of,
    running,
    running_of,
)
from serinus.replica.scorer import Request as Queued


def test_questions_and_answers_cross_the_wire() -> None:
    assert is_about_running(ask_running(1))
    some = [Request(b'{"a":1}'), Request(b"a\n1\n", "text/csv; charset=utf-8"), Request(b"")]
    asked = ask_stages(7, some)
    assert not is_about_running(asked)
    assert requests_of(asked) == [
        (b'{"a":1}', Format.JSON),
        (b"a\n1\n", Format.CSV),
        (b"", Format.JSON),
    ]
    found = Inspection(
        stages={"S1": [np.array([1.5]), ["x", None]], "answer": [np.array([2])]},
        columns={"S1": ["a", "b"], "answer": []},
        refused={2: "empty"},
        missing={"S3": "not shown"},
        failed={"S4": "ValueError"},
    )
    back = inspection_of(inspection(7, found))
    assert (back.columns, back.refused, back.missing, back.failed) == (
        found.columns,
        found.refused,
        found.missing,
        found.failed,
    )
    assert back.stages["S1"][0].tolist() == [1.5]
    assert back.stages["S1"][1] == ["x", None]
    told = Running(model_digest="d", batching="why")
    assert running_of(running(1, told)) == told


@pytest.mark.parametrize(
    "frame",
    [
        Frame(Kind.INSPECT, 1, b"ab", b"\x93"),
        Frame(Kind.INSPECT, 1, b"ab", ask_stages(1, [Request(b"abc")]).meta),
        Frame(Kind.INSPECT, 1, b"", ask_stages(1, [Request(b"abc")]).meta),
    ],
)
def test_a_question_that_is_none_is_refused(frame: Frame) -> None:
    with pytest.raises(FrameError):
        requests_of(frame)


class Echo:
    """Answers each request with its body."""

    def answer(self, requests: Sequence[Queued]) -> list[Frame]:
        return [Frame(Kind.RESPONSE, each.frame.id, each.frame.body) for each in requests]


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[socket.socket]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    seen: list[Frame] = []

    def aside(frame: Frame) -> Frame | None:
        seen.append(frame)
        return None if len(seen) < 3 else Frame(Kind.INSPECTION, frame.id, b"told")

    loop = Loop(
        listener,
        Echo(),
        Hello(1, "r", "d", 1),
        max_batch=4,
        drain_s=1.0,
        asides={Kind.INSPECT: aside},
    )
    thread = threading.Thread(target=loop.run)
    thread.start()
    line = socket.socket(socket.AF_UNIX)
    line.settimeout(20)
    line.connect(str(tmp_path / "s"))
    yield line
    line.close()
    loop.drain()
    thread.join(20)
    assert not thread.is_alive()


def frames(line: socket.socket, count: int) -> list[Frame]:
    decoder = Decoder()
    found: list[Frame] = []
    while len(found) < count:
        found += decoder.feed(line.recv(1 << 16))
    return found


def test_requests_go_first_and_a_question_is_asked_again(peer: socket.socket) -> None:
    asked = [Frame(Kind.INSPECT, 99)] + [Frame(Kind.REQUEST, at, b"x") for at in range(1, 11)]
    peer.sendall(b"".join(map(encode, asked)))
    kinds = [(each.kind, each.id) for each in frames(peer, 12)]
    assert kinds[0][0] is Kind.HELLO
    assert kinds[1:] == [*((Kind.RESPONSE, at) for at in range(1, 11)), (Kind.INSPECTION, 99)]


def test_a_kind_that_nobody_answers_ends_the_line(peer: socket.socket) -> None:
    peer.sendall(encode(Frame(Kind.WATCH, 1)))
    assert frames(peer, 1)[0].kind is Kind.HELLO
    assert peer.recv(1) == b""
