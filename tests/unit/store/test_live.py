"""Live values by hour: written again they are the same, and nothing counts twice."""

import zlib

from serinus.parity.sketch import WHOLE_HOUR, FieldSketch, Sketch, pack
from serinus.store.hours import versions_seen
from serinus.store.live import LiveHour, LiveHours
from serinus.store.repository import Store


def _hour(rows: int, **more: object) -> LiveHour:
    values: dict[str, object] = {
        "endpoint_id": "e",
        "served_name": "one",
        "hour": 100,
        "caller": "web",
        "source": "r-1",
        "contract": "c",
        "model_digest": "d",
        **more,
    }
    sketch = Sketch(contract=str(values["contract"]), rows=rows, fields={"x": FieldSketch(n=rows)})
    return LiveHour(rows=rows, content=pack(sketch), **values)  # type: ignore[arg-type]


def test_hours_are_replaced_read_back_and_forgotten(store: Store) -> None:
    store.live.keep([_hour(1), _hour(5, caller="batch"), _hour(2, hour=90)], not_before=0)
    store.live.keep([_hour(3)], not_before=95)
    found = store.live.read("e", since=0)
    assert [(each.hour, each.caller, each.rows) for each in found] == [
        (100, "batch", 5),
        (100, "web", 3),
    ]
    assert store.live.read("e", since=101) == []
    assert store.live.read("f", since=0) == []
    assert [each.rows for each in store.live.read("e", since=0, caller="web")] == [3]
    assert store.live.read("e", since=0, served_name="two") == []
    store.live.keep([_hour(at, source=f"r-{at}") for at in range(120)], not_before=0)
    assert len(store.live.read("e", since=0)) == 121  # r-1 was known


def test_old_hours_are_put_together_and_count_the_same(store: Store) -> None:
    old = [
        _hour(5),
        _hour(7, caller="batch"),
        _hour(12, caller=WHOLE_HOUR),
        _hour(3, source="r-2"),
        _hour(0, source="r-3", caller=WHOLE_HOUR),
        _hour(2, source="r-4", contract="c2", model_digest="d2"),
        _hour(9, endpoint_id="f"),
    ]
    store.live.keep([*old, _hour(4, hour=101), _hour(6, hour=101, caller="batch")], not_before=0)
    before = versions_seen(store.live.read("e", since=0))
    for _ in range(2):
        assert store.live.tidy(joined_before=101) == 0
        joined = [each for each in store.live.read("e", since=0) if each.hour == 100]
        assert [(each.caller, each.rows) for each in joined] == [(WHOLE_HOUR, 15), (WHOLE_HOUR, 2)]
    seen = versions_seen(store.live.read("e", since=0))
    assert [each.rows for each in seen] == [each.rows for each in before] == [25, 2]
    assert seen[0].total().fields["x"].n == before[0].total().fields["x"].n
    assert seen[0].callers == {WHOLE_HOUR: 15, "web": 4, "batch": 6}
    assert [each.rows for each in store.live.read("f", since=0)] == [9]


def test_the_oldest_hours_go_when_there_are_too_many_bytes(store: Store) -> None:
    store.live.keep([_hour(at, hour=at) for at in range(1, 9)], not_before=0)
    size = len(zlib.compress(_hour(8).content, 1))
    live = LiveHours(store._database, most_bytes=3 * size + 10)
    assert live.tidy(joined_before=0) == 5
    assert [each.hour for each in live.read("e", since=0)] == [6, 7, 8]


def test_replicas_add_up_and_versions_stay_apart() -> None:
    seen = versions_seen(
        [
            _hour(10),
            _hour(20, source="r-2"),
            _hour(5, hour=101),
            _hour(7, caller="batch"),
            _hour(4, served_name="two", contract="c2", model_digest="d2"),
            _hour(99, contract=""),
        ]
    )
    assert [(each.served, each.rows) for each in seen] == [("one", 42), ("two", 4)]
    assert seen[0].callers == {"web": 35, "batch": 7}
    assert seen[0].total("web").fields["x"].n == 35
    assert seen[0].total().rows == 42


def test_a_whole_hour_never_counts_beside_its_callers() -> None:
    callers = [_hour(10), _hour(20, caller="batch")]
    less = versions_seen([*callers, _hour(30, caller=WHOLE_HOUR)])
    assert less[0].callers == {"web": 10, "batch": 20}
    more = versions_seen([*callers, _hour(50, caller=WHOLE_HOUR), _hour(4, source="r-2")])
    assert more[0].callers == {WHOLE_HOUR: 50, "web": 4}
