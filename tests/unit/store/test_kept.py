"""What the store keeps of its last read is never older than what the database says."""

from dataclasses import replace

import pytest
from sqlalchemy.exc import StatementError

from serinus.entities import Deployment
from serinus.errors import ResourceConflict
from serinus.store.journal import JournalEntry
from serinus.store.repository import FencedOut, Store
from serinus.traffic import EndpointRoutes


@pytest.fixture
def other(store, url):
    """Another process's store, in all but the process."""
    other = Store.open(url)
    yield other
    other.close()


def test_the_same_is_given_again_while_nothing_changes(store, make_endpoint, make_config):
    store.create_endpoint(make_endpoint())
    first = store.endpoints(include_deleted=True)
    assert store.endpoints(include_deleted=True) is first
    assert store.config("id-fraud", 1) is store.config("id-fraud", 1) == make_config(1)
    assert store.routes() is store.routes()


def test_what_is_no_part_of_an_endpoint_costs_no_second_read(store, make_endpoint, at):
    store.create_endpoint(make_endpoint())
    first = store.endpoints(include_deleted=True)
    store.publish((), epoch=store.take_epoch())
    store.rollouts.set_policy("id-fraud", {"verification": "off"}, at)
    assert store.endpoints(include_deleted=True) is first


def _changes(make_config, at):
    entity = replace(make_config(1).entities[0], deployment=Deployment.READY)
    return {
        "save_entity": lambda s: s.save_entity("id-fraud", 1, entity),
        "activate": lambda s: s.activate("id-fraud", 1, at),
        "set_fields": lambda s: s.set_fields("fraud", at=at, description="other"),
        "put_config": lambda s: s.put_config("fraud", make_config, at),
        "fail": lambda s: s.fail("id-fraud", 2, "no", at),
        "delete": lambda s: s.delete_endpoint("fraud", at),
        "purge": lambda s: s.purge("id-fraud"),
    }


def test_every_write_of_another_store_is_seen_at_once(
    store, other, url, make_endpoint, make_config, later
):
    assert store.endpoints() == ()
    other.create_endpoint(make_endpoint())
    assert len(store.endpoints()) == 1
    for name, change in _changes(make_config, later).items():
        before = store.endpoints(include_deleted=True), store.config("id-fraud", 1)
        change(other)
        fresh = Store.open(url)
        after = store.endpoints(include_deleted=True), store.config("id-fraud", 1)
        assert after == (fresh.endpoints(include_deleted=True), fresh.config("id-fraud", 1)), name
        assert after != before, name
        fresh.close()
    assert store.endpoints(include_deleted=True) == ()


def test_routes_of_another_store_are_seen_at_once(store, other):
    assert store.routes().generation == 0
    routes = (EndpointRoutes("fraud", ()),)
    other.publish(routes, epoch=other.take_epoch())
    assert store.routes() == other.routes()
    assert store.routes().endpoints == routes


def test_a_failed_transaction_leaves_what_was_known(store, other, make_endpoint, make_config, at):
    store.create_endpoint(make_endpoint())
    known = store.endpoints()
    store.take_epoch()
    entity = replace(make_config(1).entities[0], deployment=Deployment.FAILED)
    with pytest.raises(FencedOut):
        store.save_entity("id-fraud", 1, entity, epoch=0)
    with pytest.raises(ResourceConflict):
        store.put_config("fraud", make_config, at)
    entry = JournalEntry("ann", "described", at, data={"no": object()})
    with pytest.raises(
        (StatementError, TypeError)
    ):  # the change was made, its journal entry can't be
        store.set_fields("fraud", at=at, description="lost", journal=[entry])
    assert store.endpoints() == known == other.endpoints()
    other.set_fields("fraud", at=at, description="kept")
    assert store.endpoint("fraud").description == store.endpoints()[0].description == "kept"


def test_a_reader_in_the_middle_of_a_write_sees_what_was(store, other, make_endpoint, make_config):
    other.create_endpoint(make_endpoint())
    known = store.endpoints()

    def config_from(version):
        assert store.endpoints() == known  # nothing of it is committed
        return make_config(version)

    store.activate("id-fraud", 1, known[0].created_at)
    known = store.endpoints()
    other.put_config("fraud", config_from, known[0].created_at)
    assert store.endpoints()[0].pending == make_config(2)
