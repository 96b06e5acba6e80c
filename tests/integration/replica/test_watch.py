"""A real replica says what it has seen of live values, and a collector keeps it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from serinus.controller.collector import Collector, Watched
from serinus.parity.live import Live, Watch, read_live
from serinus.parity.sketch import SliceKey, unpack
from serinus.replica.protocol import SEPARATOR, Frame, Kind
from serinus.store.hours import versions_seen
from serinus.store.repository import Store
from tests.integration.replica.process import Peer, Running, request
from tests.models import flights

_ROWS = 40


def _body(rows: int = _ROWS) -> dict[str, Any]:
    frame = flights(rows)
    frame["scheduled"] = frame["scheduled"].dt.strftime("%Y-%m-%dT%H:%M:%S")
    split = frame.astype(object).where(frame.notna(), None).to_dict(orient="split", index=False)
    return {"dataframe_split": split}


def _send(peer: Peer, body: Any, caller: str) -> int:
    frame = request(1, body)
    meta = caller.encode() + SEPARATOR + b"id-1"
    peer.send([msgspec.structs.replace(frame, meta=meta)])
    return peer.next().status


def _look(peer: Peer, since: int = 0, *, rows: bool = False) -> Live:
    peer.send([Frame(Kind.WATCH, 5, msgspec.msgpack.encode(Watch(since, rows)))])
    answer = peer.next()
    assert (answer.kind, answer.id, answer.status) == (Kind.LIVE, 5, 200)
    return read_live(answer.body)


def test_a_process_tells_what_it_has_seen(start: Callable[..., Running]) -> None:
    replica = start("flights-1")
    replica.settled()
    peer = replica.peer()
    assert _send(peer, _body(), "web") == 200
    assert _send(peer, {"dataframe_records": [{"hour": "x"}]}, "web") == 400
    live = _look(peer, rows=True)
    assert live.contract
    assert {(cell.caller, cell.rows) for cell in live.cells} == {("web", _ROWS)}
    counts = unpack(live.cells[0].content)
    assert counts.fields["distance"].n == _ROWS
    assert counts.fields["dep_delay"].null == sum(at % 7 == 3 for at in range(_ROWS))
    assert counts.refused["missing"]
    assert [each.request_id for each in live.records] == ["id-1"] * len(live.records)
    assert _look(peer, live.sequence).cells == []


def test_what_a_process_said_is_kept_once_and_outlives_it(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    replica = start("flights-1")
    replica.settled()
    peer = replica.peer()
    assert _send(peer, _body(), "web") == 200
    store = Store.open(f"sqlite:///{tmp_path / 'store.db'}")
    collector = Collector(store, clock=time.monotonic, wall=time.time)
    watched = Watched(replica.launch.socket_path, "e-1", "one", "digest")
    collector.watch({"r-1": watched})
    collector.refresh()
    # Another collector, as after a restart of the controller, hears the same again.
    again = Collector(store, clock=time.monotonic, wall=time.time)
    again.watch({"r-1": watched})
    again.refresh()
    assert _send(peer, _body(), "batch") == 200
    again.refresh()
    assert {each.served_name for each in store.samples.read("e-1", "one")} == {"one"}
    assert store.samples.read("e-2", "one") == []
    replica.process.kill()
    replica.process.wait()
    collector.refresh()

    seen = versions_seen(store.live.read("e-1", since=0))
    assert [(each.served, each.model_digest) for each in seen] == [("one", "digest")]
    assert seen[0].callers == {"web": _ROWS, "batch": _ROWS}
    assert {key.caller for key in seen[0].slices} == {"web", "batch"}
    assert all(isinstance(key, SliceKey) for key in seen[0].slices)
    assert seen[0].total("web").fields["distance"].n == _ROWS
    assert store.live.read("e-1", since=0, caller="batch", served_name="one")
    store.live.keep([], not_before=1 << 30)
    assert store.live.read("e-1", since=0) == []
    collector.stop()
    again.stop()
    store.close()


def test_a_replica_that_is_told_not_to_counts_nothing(start: Callable[..., Running]) -> None:
    replica = start("flights-1", live=False)
    replica.settled()
    peer = replica.peer()
    assert _send(peer, _body(), "web") == 200
    peer.send([Frame(Kind.WATCH, 5)])
    try:
        peer.next()
    except (EOFError, ConnectionError):
        return
    raise AssertionError("a question that nobody answers must end the connection")
