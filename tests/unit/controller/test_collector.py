"""Asking replicas what they saw: counts that are kept once, rows that outlive their replica."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from serinus.controller.collector import Collector, Watched
from serinus.parity.live import Cell, Live, Record, read_watch
from serinus.parity.sketch import WHOLE_HOUR, Sketch, pack
from serinus.replica.protocol import Decoder, Frame, Kind, encode
from serinus.store.failures import StoreBusy
from serinus.store.live import LiveHour, LiveHours
from serinus.store.repository import Store

_HOUR = 1000


class Replica:
    """Something that answers WATCH frames at a unix socket."""

    def __init__(self, where: Path, name: str) -> None:
        self.address = str(where / name)
        self.incarnation = f"i-{name}"
        self.cells: list[Cell] = []
        self.records: list[Record] = []
        self.sequence = 0
        #: What is sent instead of an answer; empty bytes: it hangs up.
        self.instead: bytes | None = None
        self.asked = 0
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.address)
        self._listener.listen(8)
        self._lines: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def saw(self, caller: str, rows: int, hour: int = _HOUR) -> None:
        self.sequence += 1
        sketch = Sketch(contract="c", rows=rows)
        self.cells = [c for c in self.cells if (c.caller, c.hour) != (caller, hour)]
        self.cells.append(Cell(caller, hour, rows, pack(sketch)))

    def kept(self, *ids: str, **more: Any) -> None:
        at = _HOUR * 3600.0 + len(self.records)
        self.records += [
            Record(at=at, request_id=each, caller="web", entity=place, **more)
            for place, each in enumerate(ids)
        ]

    def watched(self, served: str = "one") -> Watched:
        return Watched(self.address, "e", served, "d1")

    def end(self) -> None:
        for each in (self._listener, *self._lines):
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self._lines.append(line)
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        decoder = Decoder()
        line.sendall(encode(Frame(Kind.HELLO)))
        try:
            while data := line.recv(1 << 16):
                for frame in decoder.feed(data):
                    self.asked += 1
                    if self.instead == b"":
                        line.close()
                        return
                    line.sendall(self.instead or encode(self._answer(frame)))
        except OSError:
            return

    def _answer(self, frame: Frame) -> Frame:
        watch = read_watch(frame.body)
        some = self.records[watch.rows_since :][:3]
        live = Live(
            incarnation=self.incarnation,
            sequence=self.sequence,
            contract="c",
            cells=self.cells if watch.since < self.sequence else [],
            records=some if watch.rows else [],
            row_sequence=watch.rows_since + len(some),
        )
        return Frame(Kind.LIVE, frame.id, msgspec.msgpack.encode(live), status=200)


class Collecting:
    """A collector whose clocks stand still unless they are told."""

    def __init__(self, where: Path) -> None:
        self.store = Store.open(f"sqlite:///{where}/serinus.db")
        self.now = 0.0
        self.wall = _HOUR * 3600.0
        self.where = where
        self.collector = self._collector()

    def _collector(self) -> Collector:
        return Collector(self.store, clock=lambda: self.now, wall=lambda: self.wall, retention_h=10)

    def begin_again(self) -> None:
        """As a new controller does."""
        self.collector.stop()
        self.collector = self._collector()

    def watch(self, *replicas: Replica) -> None:
        self.collector.watch({each.address: each.watched() for each in replicas})

    def seen(self) -> dict[str, int]:
        return {each.caller: each.rows for each in self.store.live.read("e", since=0)}

    def ids(self) -> list[str]:
        return sorted(each.record.request_id for each in self.store.samples.read("e", "one"))


@pytest.fixture
def collecting(tmp_path: Path) -> Iterator[Collecting]:
    made = Collecting(tmp_path)
    yield made
    made.collector.stop()
    made.store.close()


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    made = Replica(tmp_path, "r-1")
    yield made
    made.end()


def test_counts_are_kept_as_said_last_and_rows_once(
    collecting: Collecting, replica: Replica
) -> None:
    collecting.watch(replica)
    replica.saw("web", 5)
    replica.kept("a", "b", "c", "d", "e")
    collecting.collector.refresh()
    assert collecting.seen() == {"web": 5}
    assert collecting.ids() == ["a", "b", "c"], "an answer has room for three"
    replica.saw("web", 9)
    collecting.collector.refresh()
    collecting.collector.refresh()
    assert collecting.seen() == {"web": 9}
    assert collecting.ids() == ["a", "b", "c", "d", "e"]
    [hour] = collecting.store.live.read("e", since=0)
    assert (hour.source, hour.model_digest, hour.contract) == ("i-r-1", "d1", "c")


def test_a_new_controller_hears_all_again_and_keeps_it_once(
    collecting: Collecting, replica: Replica
) -> None:
    collecting.watch(replica)
    replica.saw("web", 5)
    replica.kept("a", "b")
    collecting.collector.refresh()
    collecting.begin_again()
    collecting.watch(replica)
    replica.kept("c")
    collecting.collector.refresh()
    assert collecting.seen() == {"web": 5}
    assert collecting.ids() == ["a", "b", "c"]


def test_rows_outlive_the_replica_that_kept_them(collecting: Collecting, tmp_path: Path) -> None:
    first, second = Replica(tmp_path, "first"), Replica(tmp_path, "second")
    collecting.watch(first)
    first.saw("web", 5)
    first.kept("a", "b")
    collecting.collector.refresh()
    first.end()
    second.saw("web", 7)
    second.kept("c")
    collecting.watch(second)
    collecting.collector.refresh()
    assert collecting.ids() == ["a", "b", "c"]
    assert sum(each.rows for each in collecting.store.live.read("e", since=0)) == 12
    second.end()


def test_keeping_waits_for_its_time(collecting: Collecting, replica: Replica) -> None:
    collecting.watch(replica)
    replica.saw("web", 5)
    replica.kept("a")
    collecting.collector.turn()
    assert (collecting.seen(), collecting.ids()) == ({}, [])
    collecting.now += 15
    collecting.collector.turn()
    assert (collecting.seen(), collecting.ids()) == ({"web": 5}, ["a"])
    replica.saw("web", 6)
    collecting.collector.turn()
    collecting.collector.stop()
    assert collecting.seen() == {"web": 6}, "the end keeps what was heard"


@pytest.mark.parametrize("instead", [b"", b"\xff" * 64, encode(Frame(Kind.DRAINING))])
def test_who_talks_nonsense_or_ends_is_asked_anew(
    collecting: Collecting, replica: Replica, tmp_path: Path, instead: bytes
) -> None:
    other = Replica(tmp_path, "r-2")
    collecting.watch(replica, other)
    replica.instead = instead
    other.saw("app", 2)
    collecting.collector.refresh()
    assert collecting.seen() == {"app": 2}, "one replica's trouble is not the others'"
    replica.instead = None
    replica.saw("web", 3)
    collecting.collector.refresh()
    assert collecting.seen() == {"app": 2, "web": 3}
    other.end()


def test_a_whole_hour_counts_only_where_its_callers_do_not(
    collecting: Collecting, replica: Replica
) -> None:
    collecting.watch(replica)
    replica.saw("web", 100)
    collecting.collector.refresh()
    replica.saw(WHOLE_HOUR, 101)
    collecting.collector.refresh()
    assert collecting.seen() == {"web": 100}
    replica.saw(WHOLE_HOUR, 150)
    collecting.collector.refresh()
    assert collecting.seen() == {"web": 100, WHOLE_HOUR: 150}


def test_a_store_that_is_away_costs_nothing(
    collecting: Collecting, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: LiveHours, hours: list[LiveHour], *, not_before: int) -> None:
        raise StoreBusy("somebody else writes")

    collecting.watch(replica)
    replica.saw("web", 5)
    replica.kept("a", "b")
    with monkeypatch.context() as patched:
        patched.setattr(LiveHours, "keep", away)
        collecting.collector.refresh()
        assert (collecting.seen(), collecting.ids()) == ({}, [])
    replica.kept("c")
    collecting.collector.refresh()
    assert (collecting.seen(), collecting.ids()) == ({"web": 5}, ["a", "b", "c"])


def test_old_hours_are_forgotten_and_joined(collecting: Collecting, replica: Replica) -> None:
    collecting.watch(replica)
    replica.saw("web", 5)
    replica.saw("app", 6)
    replica.kept("a")
    collecting.collector.refresh()
    collecting.wall += 9 * 3600
    replica.saw("web", 1, hour=_HOUR + 9)
    collecting.collector.refresh()
    assert len(collecting.store.live.read("e", since=0)) == 3
    collecting.wall += 2 * 3600
    replica.kept("late")
    replica.cells = []
    replica.saw("web", 2, hour=_HOUR + 11)
    collecting.collector.refresh()
    assert {each.hour for each in collecting.store.live.read("e", since=0)} == {
        _HOUR + 9,
        _HOUR + 11,
    }
    assert collecting.ids() == [], "all of them are of an hour that is too old"
