"""Who hangs is told from outside; that everybody stood still, the prober included, is no hang."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from serinus.controller.prober import Prober
from serinus.replica.protocol import Frame, Kind, encode


class Scene:
    """A replica that said who it is and then answers only when the test says so."""

    def __init__(self, directory: Path) -> None:
        self.now = 100.0
        self.woken = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(directory / "r.sock"))
        self.listener.listen()
        self.prober = Prober(hang_s=10.0, clock=lambda: self.now, wake=self.woken.set)
        self.prober.watch({"r": str(directory / "r.sock")})
        self.prober.turn()
        self.line, _ = self.listener.accept()
        self.answer()

    def answer(self) -> None:
        self.line.sendall(encode(Frame(Kind.PONG, 1)))

    def turns(self, times: int, every_s: float = 2.0) -> frozenset[str]:
        for _ in range(times):
            self.now += every_s
            self.prober.turn()
        return self.prober.hung

    def close(self) -> None:
        self.prober.watch({})
        self.prober.turn()
        self.line.close()
        self.listener.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()


def test_a_replica_that_answers_nothing_hangs_after_its_time(scene: Scene) -> None:
    assert scene.turns(6) == frozenset()  # asked at the first of them
    assert scene.turns(1) == {"r"}
    assert scene.woken.is_set()
    scene.answer()
    assert scene.turns(1) == frozenset()


def test_a_machine_that_slept_has_no_hanging_replicas(scene: Scene) -> None:
    assert scene.turns(3) == frozenset()
    assert scene.turns(1, every_s=40_000.0) == frozenset()
    # From here on it is awake, and its time goes on.
    assert scene.turns(2) == frozenset()
    assert scene.turns(3) == {"r"}
