"""The replacement of gateways, turn by turn: at no moment are there fewer than before."""

import signal

import pytest

from serinus.server.children import Child
from serinus.server.reload import Reload, ReloadState, ReloadStatus


class FakeKeeper:
    """Starts at once; each test says when a gateway is ready, fails or ends."""

    def __init__(self, names: list[str]) -> None:
        self.children = [self._child(name, ready=True) for name in names]
        self.told: list[tuple[str, signal.Signals]] = []
        self.killed: list[str] = []

    @staticmethod
    def _child(name: str, *, ready: bool) -> Child:
        return Child(name, "module", pid=1000 + int(name[-1]), ready=ready)

    def gateways(self) -> list[Child]:
        return list(self.children)

    def add_gateway(self) -> Child:
        last = max(int(each.name[-1]) for each in self.children)
        self.children.append(self._child(f"gateway-{last + 1}", ready=False))
        return self.children[-1]

    def forget(self, child: Child) -> None:
        self.children.remove(child)
        if child.pid > 0:
            self.killed.append(child.name)

    def tell(self, child: Child, number: signal.Signals) -> None:
        self.told.append((child.name, number))

    def child(self, name: str) -> Child:
        return next(each for each in self.children if each.name == name)

    @property
    def serving(self) -> list[str]:
        return [each.name for each in self.children if each.ready and not each.retired_at]


class Scene:
    def __init__(self, *names: str) -> None:
        self.keeper = FakeKeeper(list(names))
        self.shown: list[ReloadStatus] = []
        self.reload = Reload(self.keeper, self.shown.append, drain_s=30.0)
        self.now = 100.0

    def turn(self, seconds: float = 0.25) -> None:
        self.now += seconds
        self.reload.turn(self.now)


def test_each_gateway_goes_only_once_another_one_serves() -> None:
    scene = Scene("gateway-0", "gateway-1")
    keeper = scene.keeper
    scene.reload.ask()
    for new, old in (("gateway-2", "gateway-0"), ("gateway-3", "gateway-1")):
        scene.turn()
        assert len(keeper.serving) == 2
        scene.turn()
        assert (old, signal.SIGUSR1) not in keeper.told
        keeper.child(new).ready = True
        scene.turn()
        assert keeper.told[-1] == (old, signal.SIGUSR1)
        assert len(keeper.serving) == 2
    scene.turn()
    assert scene.shown[-1].state is ReloadState.REPLACING  # the old ones still have requests
    keeper.child("gateway-0").pid = 0
    scene.turn()
    keeper.child("gateway-1").pid = 0
    scene.turn()
    assert scene.shown[-1] == ReloadStatus(1, ReloadState.DONE, ("gateway-2", "gateway-3"))
    assert keeper.killed == []


@pytest.mark.parametrize("how", ["dies", "refuses its settings", "hangs"])
def test_a_gateway_that_does_not_begin_to_serve_replaces_nobody(how: str) -> None:
    scene = Scene("gateway-0")
    scene.reload.ask()
    scene.turn()
    new = scene.keeper.child("gateway-1")
    match how:
        case "dies":
            new.failures, new.pid = 1, 0
            scene.turn()
        case "refuses its settings":
            new.pid = -1
            scene.turn()
        case _:
            scene.turn(59)
            assert scene.shown[-1].state is ReloadState.REPLACING
            scene.turn(2)
    assert scene.shown[-1].state is ReloadState.FAILED
    assert "gateway-1 did not begin to serve" in scene.shown[-1].why
    assert scene.keeper.serving == ["gateway-0"]
    assert scene.keeper.told == []
    scene.turn()
    assert [each.name for each in scene.keeper.children] == ["gateway-0"]


def test_one_that_never_ends_is_ended() -> None:
    scene = Scene("gateway-0")
    scene.reload.ask()
    scene.turn()
    scene.keeper.child("gateway-1").ready = True
    scene.turn()
    scene.turn(34)
    assert scene.keeper.killed == []
    scene.turn(2)
    assert scene.keeper.killed == ["gateway-0"]
    assert scene.shown[-1].state is ReloadState.DONE


def test_a_second_wish_follows_the_first() -> None:
    scene = Scene("gateway-0")
    scene.reload.ask()
    scene.turn()
    scene.reload.ask()
    for old, new in (("gateway-0", "gateway-1"), ("gateway-1", "gateway-2")):
        scene.keeper.child(new).ready = True
        scene.turn()
        scene.keeper.child(old).pid = 0
        scene.turn()
        scene.turn()
    assert scene.shown[-1] == ReloadStatus(2, ReloadState.DONE, ("gateway-2",))
