"""The store on a real PostgreSQL: what differs from a file, and what a restart may cost."""

import threading
import time
from contextlib import closing
from datetime import UTC, datetime

import pytest
from sqlalchemy import create_engine, text

from serinus.entities import WHOLE, ConfigUpdate, Endpoint, EndpointConfig, ServedEntity
from serinus.errors import ResourceAlreadyExists
from serinus.store.failures import StoreAway
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store, StoreBusy, StoreError
from tests.postgres import Postgres

AT = datetime(2026, 3, 1, tzinfo=UTC)


def config(version: int) -> EndpointConfig:
    return EndpointConfig(version, (ServedEntity("m-1", "m", "1"),), {"m-1": WHOLE}, AT)


def endpoint(name: str, id_: str = "") -> Endpoint:
    return Endpoint(
        id_ or name, name, "ann", AT, AT, pending=config(1), update=ConfigUpdate.IN_PROGRESS
    )


@pytest.fixture
def url(postgres: Postgres):
    url = postgres.database()
    yield url
    postgres.drop(url)


@pytest.fixture
def own():
    """A server that the test may stop as it likes; it waits for the disk at each commit."""
    server = Postgres()
    try:
        server.start(durable=True)
        yield server
    finally:
        server.close()


def test_controllers_that_open_a_new_store_at_once_all_get_it(url):
    epochs: list[int] = []

    def open_it() -> None:
        with closing(Store.open(url)) as store:
            epochs.append(store.take_epoch())

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(epochs) == [1, 2, 3, 4, 5, 6]


def test_writers_of_several_processes_queue_and_lose_nothing(url):
    """Two stores know nothing of each other, as two processes do not."""
    with closing(Store.open(url)) as one, closing(Store.open(url)) as two:
        made: list[str] = []

        def write(store: Store, who: str) -> None:
            for number in range(40):
                store.append([JournalEntry(who, "wrote", AT, data={"epoch": store.take_epoch()})])
                try:
                    store.create_endpoint(endpoint(f"m{number}", f"{who}{number}"))
                except ResourceAlreadyExists:
                    continue
                made.append(f"m{number}")

        threads = [
            threading.Thread(target=write, args=(store, who))
            for store, who in ((one, "ann"), (two, "ben"))
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert sorted(made) == sorted(f"m{number}" for number in range(40))
        epochs = [each.data["epoch"] for each in one.journal()]
        assert sorted(epochs) == list(range(1, 81))


def test_a_second_writer_waits_then_is_told_that_the_store_is_busy(url):
    with closing(Store.open(url, busy_timeout_s=0.3)) as store:
        engine = create_engine(url)
        with engine.connect() as other:
            other.execute(text("SELECT epoch FROM control FOR UPDATE"))
            begun = time.monotonic()
            with pytest.raises(StoreBusy, match="locked by another writer") as caught:
                store.take_epoch()
            assert 0.25 < time.monotonic() - begun < 5
            assert (caught.value.status, caught.value.retry_after) == (503, 1)
            assert store.endpoints() == ()  # reading goes on meanwhile
        engine.dispose()
        assert store.take_epoch() == 1


def test_a_server_that_crashes_costs_nothing_that_was_acknowledged(own):
    url = own.database()
    with closing(Store.open(url)) as store:
        written = 0
        for round_ in range(3):
            for _ in range(5):
                written += 1
                store.append([JournalEntry("ann", "wrote", AT, data={"n": written})])
            own.stop("immediate")
            with pytest.raises(StoreAway, match="What is served goes on") as caught:
                store.append([JournalEntry("ann", "lost", AT)])
            assert (caught.value.status, caught.value.retry_after) == (503, 1)
            with pytest.raises(StoreAway):
                store.endpoints()
            own.start(durable=True)
            # The same Store, with no more ado.
            entries = store.journal(limit=100)
            assert sorted(each.data["n"] for each in entries) == list(range(1, written + 1)), round_
        assert store.take_epoch() == 1


def test_a_store_that_can_not_be_opened_is_named_with_the_way_out(own, postgres):
    missing = postgres.url("no_such_database")
    with pytest.raises(StoreError, match="database's name in SERINUS_STORE"):
        Store.open(missing)
    url = own.database()
    own.stop()
    with pytest.raises(StoreAway, match="does not answer"):
        Store.open(url)
    with pytest.raises(StoreAway, match="does not answer"):
        Store.open("postgresql+psycopg://ann:secret@127.0.0.1:9/serinus")


def test_no_message_shows_a_password():
    with pytest.raises(StoreAway) as caught:
        Store.open("postgresql+psycopg://ann:secret@127.0.0.1:9/serinus")
    assert "serinus on 127.0.0.1" in caught.value.message
    assert "secret" not in caught.value.message
