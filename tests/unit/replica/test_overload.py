"""More requests than a model can answer: those that are answered at all are answered in time."""

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from serinus.replica.loop import Loop
from serinus.replica.protocol import Frame, Hello, Kind, encode
from serinus.replica.scorer import Request

DEADLINE_S = 2.0


class Crowd:
    """Answers one request in 0.1 s of a clock that only it moves; meanwhile three more are sent."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.now = 0.0
        self.left = 900
        self.sent: dict[int, float] = {}
        #: How long each answered request had waited by its answer.
        self.took: list[float] = []

    def send(self, count: int, deadline_s: float = DEADLINE_S) -> None:
        ids = [len(self.sent) + at for at in range(count)]
        self.sent |= dict.fromkeys(ids, self.now)
        frames = [Frame(Kind.REQUEST, id_, b"x", aux=int(deadline_s * 1000)) for id_ in ids]
        self.line.sendall(b"".join(map(encode, frames)))

    def answer(self, requests: Sequence[Request]) -> list[Frame]:
        more = min(3 * len(requests), self.left)
        self.left -= more
        self.now += 0.1 * len(requests)
        self.send(more)
        self.took += [self.now - self.sent[each.frame.id] for each in requests]
        return [Frame(Kind.RESPONSE, each.frame.id, b"") for each in requests]


def _worked_off(directory: Path, first: int, deadline_s: float = DEADLINE_S) -> list[float]:
    """How long each answered request had waited, the crowd having begun with so many."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(directory / "s"))
    listener.listen()
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(directory / "s"))
        crowd = Crowd(line)
        hello = Hello(1, "r", "d", 1)
        loop = Loop(listener, crowd, hello, max_batch=1, drain_s=1000.0, clock=lambda: crowd.now)
        crowd.send(first, deadline_s)
        thread = threading.Thread(target=loop.run)
        thread.start()
        while crowd.left:
            _read(line, thread)
        # The clock stands still while nothing is asked, and a drain waits for it.
        loop.drain()
        while thread.is_alive():
            crowd.now += 0.01
            _read(line, thread)
    return crowd.took


def _read(line: socket.socket, thread: threading.Thread) -> None:
    """Take what has been answered: a drain waits for that as well."""
    thread.join(0.001)
    with suppress(BlockingIOError):
        line.recv(1 << 16, socket.MSG_DONTWAIT)


def test_who_is_answered_under_three_times_the_load_is_answered_in_time(tmp_path: Path) -> None:
    took = _worked_off(tmp_path, 1)
    assert len(took) >= 300
    assert sum(each <= DEADLINE_S for each in took[:300]) >= 297


def test_a_queue_that_nobody_waits_for_any_more_is_left(tmp_path: Path) -> None:
    """As after a stall: what queued meanwhile is as late as it can be, and the crowd goes on."""
    took = _worked_off(tmp_path, 500)
    assert sum(each <= DEADLINE_S for each in took[:300]) >= 297


def test_who_names_no_deadline_is_answered_in_turn(tmp_path: Path) -> None:
    took = _worked_off(tmp_path, 500, deadline_s=0.0)
    assert len(took) >= 500


def test_a_model_slower_than_the_deadline_is_asked_all_the_same(tmp_path: Path) -> None:
    """What it took last says nothing of the next: somebody must try."""
    took = _worked_off(tmp_path, 1, deadline_s=0.05)
    assert len(took) >= 300
