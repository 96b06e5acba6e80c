"""Opening a store: its tables, and what is said of a store that can't be opened."""

import re
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, event, inspect, select, text

from serinus.store.repository import Store, StoreError
from serinus.store.schema import head, migrate, revision
from serinus.store.tables import metadata
from serinus.store.versions import REVISION, bring_up_to_date


@pytest.fixture
def engine(url):
    engine = create_engine(url)
    yield engine
    engine.dispose()


def test_migrations_make_exactly_the_tables(engine):
    with engine.begin() as connection:
        migrate(connection)
        assert revision(connection) == head() == REVISION
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        # What the comparison does not look at.
        made = {each["name"] for each in inspect(connection).get_indexes("endpoints")}
        assert made == {"uq_endpoints_live_name"}
        for table in ("control", "routing"):
            assert inspect(connection).get_check_constraints(table)


def test_the_short_way_for_a_new_store_leads_where_the_migrations_lead(engine):
    assert head() == REVISION
    with engine.begin() as connection:
        bring_up_to_date(connection)
        assert revision(connection) == REVISION
        short = {
            name: connection.execute(select(metadata.tables[name])).all()
            for name in metadata.tables
        }
        bring_up_to_date(connection)  # nothing to do
        migrate(connection, "base")
        migrate(connection)
        long = {
            name: connection.execute(select(metadata.tables[name])).all()
            for name in metadata.tables
        }
    assert short == long


def test_migrations_go_down_and_up_again(engine):
    with engine.begin() as connection:
        migrate(connection)
        migrate(connection, "base")
        assert revision(connection) is None
        assert inspect(connection).get_table_names() == ["alembic_version"]
        migrate(connection)
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_the_file_is_durable_and_in_wal_mode(store, url):
    with store._database.read() as connection:
        pragmas = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 5000,
    }


def test_reopening_keeps_everything(store, url, make_endpoint):
    endpoint = store.create_endpoint(make_endpoint())
    store.close()
    again = Store.open(url)
    assert again.endpoint("fraud") == endpoint
    again.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://h/d", "can't be kept in mysql"),
        ("what is this", "is no store"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:////no/such/folder/serinus.db", "/no/such/folder/serinus.db can't be used"),
        ("sqlite:////no/such/folder/serinus.db", "Check that its folder exists"),
    ],
)
def test_an_impossible_store_is_named_with_the_way_out(url, words):
    with pytest.raises(StoreError) as caught:
        Store.open(url)
    assert words in caught.value.message


def test_a_file_of_another_kind_is_left_as_it_is(tmp_path: Path):
    path = tmp_path / "serinus.db"
    path.write_bytes(b"a picture of a canary" * 500)
    with pytest.raises(StoreError) as caught:
        Store.open(f"sqlite:///{path}")
    assert str(path) in caught.value.message
    assert "Restore it from a backup" in caught.value.message
    assert path.read_bytes() == b"a picture of a canary" * 500


def test_a_store_of_a_newer_version_is_left_as_it_is(store, url, engine):
    store.close()
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"another version of Serinus \(revision 9999"):
        Store.open(url)


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
def test_the_disk_being_full_is_said_and_nothing_is_half_written(store, make_endpoint):
    with store._database.read() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
    store._database._engine.dispose()

    @event.listens_for(store._database._engine, "connect")
    def limit(connection, _record):
        connection.execute(f"PRAGMA max_page_count={pages}").close()

    entity = make_endpoint().pending.entities[0]

    def fill() -> None:
        for number in range(200):
            store.create_endpoint(make_endpoint(f"e{number}"))

    with pytest.raises(StoreError) as caught:
        fill()
    folder = re.escape(str(Path(store._database._engine.url.database).parent))
    said = rf"Make room on the disk of {folder}, which has \d{{1,3}}(,\d{{3}})* bytes left,"
    assert re.search(said, caught.value.message), caught.value.message
    endpoints = store.endpoints()
    assert all(entity in endpoint.pending.entities for endpoint in endpoints)
    assert len(endpoints) < 200
