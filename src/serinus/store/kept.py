"""What was read last, for as long as it is still what the database says.

Every look asks the database whether anything has changed since, in the transaction that would read
it: what another thread or another process has committed is seen at once. It must never answer from
memory alone. What it gives out is shared: nobody may change it.
"""

from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from serinus.access import Grant, Right
from serinus.entities import Endpoint, EndpointConfig
from serinus.store import access_tables, rows, tables
from serinus.store.reading import config_at, read_endpoints
from serinus.traffic import RouteTable

__all__ = ["Kept", "routes_now"]


@dataclass(slots=True)
class _Known:
    """Endpoints and configs at one count of changes."""

    changes: int
    endpoints: tuple[Endpoint, ...] | None = None
    configs: dict[tuple[str, int], EndpointConfig | None] = field(default_factory=dict)
    grants: tuple[Grant, ...] | None = None


class Kept:
    """The last read of endpoints, configs and routes. Any thread."""

    def __init__(self) -> None:
        self._known = _Known(-1)
        self._table = RouteTable(-1)

    def endpoints(self, connection: Connection) -> tuple[Endpoint, ...]:
        """All endpoints, deleted ones that wait for `purge` included."""
        known = self._at(connection)
        if known.endpoints is None:
            known.endpoints = read_endpoints(connection)
        return known.endpoints

    def config(
        self, connection: Connection, endpoint_id: str, version: int
    ) -> EndpointConfig | None:
        """One config of an endpoint."""
        known, key = self._at(connection), (endpoint_id, version)
        if key not in known.configs:
            known.configs[key] = config_at(connection, endpoint_id, version)
        return known.configs[key]

    def grants(self, connection: Connection) -> tuple[Grant, ...]:
        """Every token in force, by id."""
        known = self._at(connection)
        if known.grants is None:
            known.grants = _grants_now(connection)
        return known.grants

    def routes(self, connection: Connection) -> RouteTable:
        """The routes that were last published: one generation is one table, for ever."""
        generation = connection.execute(select(tables.routing.c.generation)).scalar_one()
        table = self._table
        if table.generation != generation:
            table = self._table = routes_now(connection)
        return table

    def _at(self, connection: Connection) -> _Known:
        """What is known at the count that this transaction sees.

        Another thread's transaction may see another count meanwhile: each fills its own.
        """
        changes = int(connection.execute(select(tables.control.c.changes)).scalar_one())
        known = self._known
        if known.changes != changes:
            known = self._known = _Known(changes)
        return known


def routes_now(connection: Connection) -> RouteTable:
    """The published routes, read afresh."""
    row = connection.execute(select(tables.routing)).one()
    return RouteTable(row.generation, rows.routes_of(row.routes), rows.grants_of(row.grants))


def _grants_now(connection: Connection) -> tuple[Grant, ...]:
    tokens, grants = access_tables.tokens, access_tables.grants
    rights: dict[str, dict[str, Right]] = {}
    for row in connection.execute(select(grants).order_by(grants.c.endpoint)):
        rights.setdefault(row.principal, {})[row.endpoint] = Right(row.level)
    live = select(tokens).where(tokens.c.revoked_at.is_(None)).order_by(tokens.c.id)
    return tuple(
        Grant(
            row.id,
            row.name,
            row.digest,
            row.admin,
            None if row.expires_at is None else row.expires_at / 1000,
            rights.get(row.name, {}),
        )
        for row in connection.execute(live)
    )
