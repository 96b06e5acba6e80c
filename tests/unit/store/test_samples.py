"""Sampled requests: kept once, within bounds by hour, by entity and by bytes, and labelled."""

from typing import Any

from serinus.evidence.exposure import client_key, request_key
from serinus.parity.live import Record
from serinus.store.outcomes import Label, Taken
from serinus.store.repository import Store
from serinus.store.samples import Sampled, Samples

_HOUR = 3600.0


def _sampled(number: int, *, served: str = "one", source: str = "i", **more: Any) -> Sampled:
    values: dict[str, Any] = {
        "at": 100 * _HOUR + number,
        "request_id": f"r-{number}",
        "caller": "web",
        "rows": [{"x": number}],
        "entity": number,
        **more,
    }
    return Sampled("e", served, source, "d1", Record(**values))


def _ids(store: Store, served: str = "one") -> list[str]:
    return [each.record.request_id for each in store.samples.read("e", served)]


def test_each_is_kept_once_and_read_back_as_it_was(store: Store) -> None:
    some = [_sampled(1), _sampled(2, served="two"), _sampled(0), _sampled(0)]
    store.samples.keep(some, not_before=0)
    store.samples.keep(some, not_before=0)
    assert store.samples.read("e", "two") == [_sampled(2, served="two")]
    assert store.samples.read("e", "one") == [_sampled(0), _sampled(1)]
    since = int((100 * _HOUR + 1) * 1e6)
    assert [each.record.at for each in store.samples.read("e", "one", since_us=since)] == [
        100 * _HOUR + 1
    ]
    assert store.samples.read("f", "one") == []
    assert store.samples.read("e", "one", model_digest="d2") == []
    store.samples.keep([_sampled(3, at=102 * _HOUR)], not_before=101)
    assert _ids(store) == ["r-3"]


def test_of_too_many_in_an_hour_whole_entities_go(store: Store) -> None:
    samples = Samples(store._database, hourly=40)
    some = [_sampled(at, entity=at % 7) for at in range(70)]
    samples.keep(some, not_before=0)
    kept = samples.read("e", "one")
    assert {each.record.entity for each in kept} == {0, 1, 2, 3}
    assert len(kept) == 40, "ten requests of each"
    samples.keep(some, not_before=0)
    assert samples.read("e", "one") == kept


def test_an_entity_that_asks_all_the_time_does_not_crowd_out_the_others(store: Store) -> None:
    samples = Samples(store._database, hourly=40)
    busy = [_sampled(at, entity=0) for at in range(60)]
    samples.keep([*busy, *[_sampled(100 + at, entity=5 + at) for at in range(20)]], not_before=0)
    kept = [each.record for each in samples.read("e", "one")]
    assert [each.request_id for each in kept if not each.entity] == [f"r-{at}" for at in range(10)]
    assert len(kept) == 30


def test_the_first_refusals_of_a_kind_and_hour_are_kept(store: Store) -> None:
    some = [
        _sampled(at, violation=kind, source=source)
        for at in range(30)
        for kind in ("type", "missing")
        for source in ("i", "j")
    ]
    store.samples.keep(some, not_before=0)
    kept = [each.record for each in store.samples.read("e", "one")]
    assert {each.violation for each in kept} == {"type", "missing"}
    assert len(kept) == 40
    assert max(each.at for each in kept) == 100 * _HOUR + 9


def test_the_oldest_hours_make_room(store: Store) -> None:
    samples = Samples(store._database, most_bytes=20_000)
    body = bytes(range(256)) * 8
    for hour in range(5):
        some = [
            _sampled(at, at=hour * _HOUR + at, request_id=f"{hour}-{at}", body=body)
            for at in range(12)
        ]
        samples._written = 1 << 30  # look at once
        samples.keep(some, not_before=0)
    hours = {int(each.record.at // _HOUR) for each in samples.read("e", "one")}
    assert max(hours) == 4
    assert 1 <= len(hours) < 5


def test_a_label_finds_its_request_by_either_id_and_every_copy_of_it(store: Store) -> None:
    body = b'{"client_request_id": "c-1", "dataframe_records": []}'
    store.samples.keep(
        [
            _sampled(1, body=body, format="JSON"),
            _sampled(1, served="two", body=body, format="JSON"),
            _sampled(2),
            _sampled(3, violation="type"),
        ],
        not_before=0,
    )
    labels = [
        Label(1.0, client=client_key("c-1"), metric="accuracy"),
        Label(0.0, request=request_key(b"r-1"), metric="accuracy"),
        Label(0.0, request=request_key(b"r-1"), metric="label"),
        Label(0.5, request=request_key(b"r-2")),
        Label(1.0, request=request_key(b"r-3")),
        Label(1.0, request=request_key(b"r-9")),
    ]
    assert store.samples.label("e", labels) == [
        Taken.SAMPLED, Taken.DUPLICATE, Taken.SAMPLED, Taken.SAMPLED, Taken.UNKNOWN,
        Taken.UNKNOWN,
    ]  # fmt: skip
    assert store.samples.label("f", labels[:1]) == [Taken.UNKNOWN]
    told = {"accuracy": 1.0, "label": 0.0}
    assert [each.outcomes for each in store.samples.read("e", "one")] == [told, {"": 0.5}, {}]
    assert [each.outcomes for each in store.samples.read("e", "two")] == [told]
