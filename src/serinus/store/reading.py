"""The queries that put endpoints together. They only read; the caller owns the transaction."""

from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, or_, select

from serinus.entities import Endpoint, EndpointConfig
from serinus.store import rows, tables

__all__ = ["config_at", "live_row", "read_endpoints"]

_endpoints, _configs, _entities = tables.endpoints, tables.configs, tables.served_entities


def live_row(connection: Connection, name: str) -> Row[Any] | None:
    """The row of the endpoint of that name that is not deleted."""
    return connection.execute(
        select(_endpoints).where(_endpoints.c.name == name, _endpoints.c.deleted_at.is_(None))
    ).one_or_none()


def read_endpoints(connection: Connection, *where: ColumnElement[bool]) -> tuple[Endpoint, ...]:
    """Endpoints by name with their active and pending configs: three queries, however many."""
    found = connection.execute(
        select(_endpoints).where(*where).order_by(_endpoints.c.name, _endpoints.c.created_at)
    ).all()
    if not found:
        return ()
    current = and_(
        _endpoints.c.id == _configs.c.endpoint_id,
        or_(
            _endpoints.c.active_version == _configs.c.version,
            _endpoints.c.pending_version == _configs.c.version,
        ),
    )
    config_query = select(_configs).join(_endpoints, current).where(*where)
    entity_query = (
        select(_entities)
        .join(
            _configs,
            and_(
                _configs.c.endpoint_id == _entities.c.endpoint_id,
                _configs.c.version == _entities.c.version,
            ),
        )
        .join(_endpoints, current)
        .where(*where)
        .order_by(_entities.c.endpoint_id, _entities.c.version, _entities.c.position)
    )
    entities = {
        key: tuple(group)
        for key, group in groupby(
            connection.execute(entity_query), key=lambda row: (row.endpoint_id, row.version)
        )
    }
    configs = {
        (row.endpoint_id, row.version): rows.config_of(
            row, entities.get((row.endpoint_id, row.version), ())
        )
        for row in connection.execute(config_query)
    }
    return tuple(rows.endpoint_of(row, configs) for row in found)


def config_at(connection: Connection, endpoint_id: str, version: int) -> EndpointConfig | None:
    """One config of an endpoint, whether it is current or not."""
    row = connection.execute(
        select(_configs).where(_configs.c.endpoint_id == endpoint_id, _configs.c.version == version)
    ).one_or_none()
    if row is None:
        return None
    entities = connection.execute(
        select(_entities)
        .where(_entities.c.endpoint_id == endpoint_id, _entities.c.version == version)
        .order_by(_entities.c.position)
    )
    return rows.config_of(row, entities)
