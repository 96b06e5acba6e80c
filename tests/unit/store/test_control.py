"""Epochs, routes and the journal."""

import pytest

from serinus.store.journal import JournalEntry
from serinus.store.repository import FencedOut
from serinus.traffic import EndpointRoutes, ReplicaAddress, RouteTable, ServedRoute


@pytest.fixture
def routes():
    replica = ReplicaAddress("r1", "/run/r1.sock", "d" * 64)
    served = (ServedRoute("fraud-1", 9_000, (replica,), 64, 2.5), ServedRoute("fraud-2", 1_000, ()))
    return (EndpointRoutes("fraud", served, default=True),)


def entry(at, kind="happened", **data):
    return JournalEntry("ann", kind, at, endpoint_id="id-fraud", data=data)


def test_epochs_rise_over_reopening(store, url):
    assert [store.take_epoch(), store.take_epoch()] == [1, 2]
    again = type(store).open(url)
    assert again.take_epoch() == 3
    again.close()


def test_routes_come_back_as_published_also_after_reopening(store, url, routes):
    assert store.routes() == RouteTable(0, ())
    published = store.publish(routes, epoch=store.take_epoch())
    assert published == RouteTable(1, routes)
    again = type(store).open(url)
    assert again.routes() == published
    again.close()


def test_a_generation_is_a_change(store, routes):
    epoch = store.take_epoch()
    assert store.publish(routes, epoch=epoch).generation == 1
    assert store.publish(routes, epoch=epoch).generation == 1
    assert store.publish((), epoch=epoch).generation == 2
    assert store.publish((), epoch=epoch).generation == 2


def test_an_older_controller_is_fenced_out_of_every_change(store, make_endpoint, routes, at, later):
    old, new = store.take_epoch(), store.take_epoch()
    endpoint = store.create_endpoint(make_endpoint())
    entity = endpoint.pending.entities[0]
    calls = (
        lambda epoch: store.save_entity(endpoint.id, 1, entity, epoch=epoch),
        lambda epoch: store.publish(routes, epoch=epoch, journal=[entry(at)]),
        lambda epoch: store.fail(endpoint.id, 1, "no", later, epoch=epoch, journal=[entry(at)]),
        lambda epoch: store.activate(endpoint.id, 1, later, epoch=epoch, journal=[entry(at)]),
        lambda epoch: store.purge(endpoint.id, epoch=epoch, journal=[entry(at)]),
    )
    for call in calls:
        with pytest.raises(FencedOut, match="epoch 1 was replaced by that of epoch 2"):
            call(old)
    assert store.routes().generation == 0
    assert store.endpoint("fraud") == endpoint
    assert store.journal() == ()
    for call in calls:
        call(new)
    assert store.routes().generation == 1


def test_the_journal_keeps_everything_in_order(store, at, later):
    store.append([entry(at, n=1, text="ü", nested={"a": [1, None]}), entry(later, n=2)])
    store.append([JournalEntry("controller", "started", later)])
    store.append([])
    entries = store.journal()
    assert [each.data.get("n") for each in entries] == [1, 2, None]
    assert entries[0] == JournalEntry(
        "ann", "happened", at, "id-fraud", {"n": 1, "text": "ü", "nested": {"a": [1, None]}}, 1
    )
    assert store.journal(after=entries[0].id) == entries[1:]
    assert store.journal(limit=1) == entries[:1]
    assert store.journal("id-fraud") == entries[:2]


def test_no_generation_is_given_out_that_a_gateway_may_have(store, routes):
    epoch = store.take_epoch()
    assert store.publish(routes, epoch=epoch).generation == 1
    assert store.publish((), epoch=epoch, above=7).generation == 8
    assert store.publish((), epoch=epoch, above=8).generation == 8
    # The same routes again, but above what a gateway has.
    assert store.publish((), epoch=epoch, above=9).generation == 10
    assert store.routes() == RouteTable(10)


def test_the_last_entry_of_a_kind_and_of_a_version_is_found(store, at):
    told = [entry(at, "told", version="1", n=n) for n in range(2)]
    store.append([*told, entry(at, "told", version="2"), entry(at, "other", version="1")])
    kept = store.journal()
    assert store.last_entry("id-fraud", "told") == kept[2]
    assert store.last_entry("id-fraud", "told", version="1") == kept[1]
    assert store.last_entry("id-fraud", "told", version="3") is None
    assert store.last_entry("id-other", "told") is None


def test_the_journal_is_written_with_the_change_or_not_at_all(store, make_endpoint, routes, at):
    endpoint = store.create_endpoint(make_endpoint(), journal=[entry(at, "created")])
    bad = JournalEntry("ann", "bad", at, data={"not": object()})
    with pytest.raises(Exception, match="JSON"):
        store.activate(endpoint.id, 1, at, journal=[entry(at, "good"), bad])
    assert store.endpoint("fraud") == endpoint
    assert [each.kind for each in store.journal()] == ["created"]

    epoch = store.take_epoch()
    store.publish(routes, epoch=epoch, journal=[entry(at, "published")])
    store.publish(routes, epoch=epoch, journal=[entry(at, "published again")])
    store.fail(endpoint.id, 7, "no", at, journal=[entry(at, "failed another")])
    assert [each.kind for each in store.journal()] == ["created", "published"]


def test_the_journal_outlives_what_it_speaks_of(store, make_endpoint, at):
    store.create_endpoint(make_endpoint(), journal=[entry(at, "created")])
    store.delete_endpoint("fraud", at, journal=[entry(at, "deleted")])
    store.purge("id-fraud", journal=[entry(at, "purged")])
    assert [each.kind for each in store.journal("id-fraud")] == ["created", "deleted", "purged"]
