"""A gateway that is silent is ended; one that was stopped with all the others is not."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serinus.server.children import Child
from serinus.server.supervisor import Supervisor
from serinus.settings import Settings


class Scene:
    """A supervisor that was never run, with a gateway that is any process, on a set clock."""

    def __init__(self, home: Path) -> None:
        self.supervisor = Supervisor(Settings(home=home, port=0))
        self.now = time.monotonic()
        self.process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        self.gateway: Child = self.supervisor.gateways()[0]
        self.gateway.pid, self.gateway.started_at = self.process.pid, self.now
        self.now += 1.0
        self.supervisor._hear("gateway-0", self.now)

    def looks(self, times: int, every_s: float = 0.25) -> bool:
        """Look so many times; whether the gateway was ended."""
        for _ in range(times):
            self.now += every_s
            self.supervisor._end_silent(self.now)
        return self.gateway.heard_at == 0.0


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path / "home")
    yield scene
    scene.process.kill()
    scene.process.communicate()
    scene.supervisor._listener.close()


def test_a_gateway_that_falls_silent_is_ended_after_its_lease(scene: Scene) -> None:
    assert not scene.looks(40)
    assert scene.looks(1)
    assert scene.process.wait(30) == -9


def test_a_supervisor_that_stood_still_itself_ends_nobody(scene: Scene) -> None:
    assert not scene.looks(4)
    assert not scene.looks(1, every_s=40_000.0)
    assert not scene.looks(34)
    assert scene.looks(8)
