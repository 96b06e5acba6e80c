"""What the store would say to PostgreSQL, without one: the statements that differ from SQLite's."""

from io import StringIO

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable

from serinus.store.migrations.versions import r0001_foundation, r0002_rollouts
from serinus.store.tables import control, metadata


def test_every_table_and_every_migration_can_be_said():
    for table in metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=postgresql.dialect()))
    said = StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": said}
    )
    with Operations.context(context):
        r0001_foundation.upgrade()
        r0002_rollouts.upgrade()
    sql = said.getvalue()
    assert sql.count("CREATE TABLE") == len(metadata.tables)
    assert "ON endpoints (name) WHERE deleted_at IS NULL" in sql
    assert "id BIGSERIAL NOT NULL" in sql


def test_writers_queue_on_one_row_where_there_is_no_begin_immediate():
    lock = select(control.c.epoch).with_for_update()
    assert str(lock.compile(dialect=postgresql.dialect())).endswith("FOR UPDATE")
    assert "FOR UPDATE" not in str(lock.compile(dialect=sqlite.dialect()))
