"""Gateways that an earlier controller knew still count, until they are heard of or dead."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from serinus.controller.links import GatewayLinks
from serinus.controller.roster import Roster
from serinus.replica.protocol import Decoder, Frame, Kind, encode
from serinus.traffic import GatewayHello, RouteTable

HELLO = GatewayHello("g1", "first", 11, 4)


@contextmanager
def _links(path: Path, alive: Callable[[int], bool] = lambda _: True) -> Iterator[GatewayLinks]:
    links = GatewayLinks(path / "links", alive=alive, wake=lambda: None)
    links.start()
    try:
        yield links
    finally:
        links.close()


@contextmanager
def _greeting(path: Path, hello: GatewayHello) -> Iterator[None]:
    """A gateway that has said hello and was answered with the table."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(5)
        line.connect(str(path / "links"))
        line.sendall(encode(Frame(Kind.GATEWAY, meta=msgspec.msgpack.encode(hello))))
        assert Decoder().feed(line.recv(1 << 16))[0].kind is Kind.ROUTES
        yield


def _after_an_earlier_controller(path: Path) -> None:
    with _links(path) as links:
        links.publish(RouteTable(4))
        with _greeting(path, HELLO):
            assert links.acknowledged() == 4


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    short: Path = tmp_path_factory.mktemp("r")  # the path of a socket must be short
    return short


def test_a_new_controller_counts_with_the_gateways_of_the_last_one(path: Path) -> None:
    _after_an_earlier_controller(path)
    with _links(path) as links:
        links.publish(RouteTable(5))
        assert links.acknowledged() == 4  # not 5: it lives, and serves by what it has


def test_a_dead_one_does_not_count(path: Path) -> None:
    _after_an_earlier_controller(path)
    with _links(path, alive=lambda pid: pid != 11) as links:
        links.publish(RouteTable(5))
        assert links.acknowledged() == 5


def test_its_next_incarnation_takes_its_place(path: Path) -> None:
    _after_an_earlier_controller(path)
    with _links(path) as links:
        links.publish(RouteTable(5))
        with _greeting(path, GatewayHello("g1", "second", 12, 5)):
            assert links.acknowledged() == 5


def test_a_roster_of_another_supervisor_says_nothing(path: Path) -> None:
    roster = Roster(path / "links.roster")
    roster.write([HELLO])
    assert roster.read() == [HELLO]
    kept = json.loads((path / "links.roster").read_text())
    (path / "links.roster").write_text(json.dumps({**kept, "supervisor": 0}))
    assert roster.read() == []


def test_an_unreadable_roster_is_none(path: Path) -> None:
    (path / "links.roster").write_text("{")
    assert Roster(path / "links.roster").read() == []
