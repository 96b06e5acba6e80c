"""Which revision a database is at, and the short way to the newest one for a new database.

Alembic is loaded only when there is something to migrate: it would cost every start of the
controller a second.
"""

import importlib

from sqlalchemy import (
    Column,
    Connection,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    insert,
    inspect,
    select,
)

from serinus.store import access_tables, rollout_tables, tables

__all__ = ["REVISION", "bring_up_to_date"]

#: The newest revision; a test holds it against the migrations.
REVISION = "0012"

# As Alembic itself makes it.
_stamp = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


def bring_up_to_date(connection: Connection) -> None:
    """Make or migrate the tables inside the caller's transaction; raises StoreError."""
    present = set(inspect(connection).get_table_names())
    if _stamp.name in present:
        if connection.execute(select(_stamp)).scalars().all() == [REVISION]:
            return
    elif not present & set(tables.metadata.tables):
        _create(connection)
        return
    importlib.import_module("serinus.store.schema").migrate(connection)


def _create(connection: Connection) -> None:
    for table in (rollout_tables.rollouts, access_tables.tokens):  # either would do
        table.metadata.create_all(connection)
    _stamp.create(connection)
    connection.execute(insert(_stamp).values(version_num=REVISION))
    connection.execute(insert(tables.control).values(id=1, epoch=0, changes=0))
    connection.execute(insert(tables.routing).values(id=1, generation=0, routes=[]))
