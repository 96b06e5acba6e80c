"""What can happen to an endpoint's configs, inside the caller's transaction. No policy."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from serinus.entities import ConfigUpdate, Deployment, EndpointConfig
from serinus.errors import InvalidState, ResourceConflict, ResourceDoesNotExist
from serinus.store import rows, tables
from serinus.store.failures import FencedOut
from serinus.store.instants import to_millis
from serinus.store.reading import config_at, live_row

__all__ = [
    "MISSING",
    "NOTHING_TO_STOP",
    "STOPPED",
    "activate",
    "anew",
    "copy_to_active",
    "fail",
    "fence",
    "insert_config",
    "live",
    "put_pending",
    "resume_pending",
    "start",
    "stop",
    "update_endpoint",
    "versions",
]

_endpoints, _configs, _entities = tables.endpoints, tables.configs, tables.served_entities

# The words of the service that the clients were written for.
MISSING = "Endpoint with name '{}' does not exist."
STOPPED = (
    "Endpoint '{0}' is stopped. Start it first: POST /api/2.0/serving-endpoints/{0}/config:start."
)
NOTHING_TO_STOP = (
    "Endpoint '{}' serves nothing that could be stopped; delete it, or mend its config."
)


def live(connection: Connection, name: str) -> Row[Any]:
    """The row of the endpoint of that name; raises ResourceDoesNotExist."""
    row = live_row(connection, name)
    if row is None:
        raise ResourceDoesNotExist(MISSING.format(name))
    return row


def fence(connection: Connection, epoch: int | None) -> None:
    """Raise FencedOut when a newer controller has taken its epoch."""
    if epoch is None:
        return
    newest = int(connection.execute(select(tables.control.c.epoch)).scalar_one())
    if epoch < newest:
        raise FencedOut(f"The controller of epoch {epoch} was replaced by that of epoch {newest}.")


def insert_config(connection: Connection, endpoint_id: str, config: EndpointConfig) -> None:
    """Keep a new config."""
    connection.execute(insert(_configs).values(rows.config_row(endpoint_id, config)))
    if config.entities:
        connection.execute(insert(_entities), rows.entity_rows(endpoint_id, config))


def update_endpoint(
    connection: Connection, endpoint_id: str, at: datetime, **values: object
) -> None:
    """Change columns of an endpoint."""
    connection.execute(
        update(_endpoints)
        .where(_endpoints.c.id == endpoint_id)
        .values(updated_at=to_millis(at), **values)
    )


def put_pending(
    connection: Connection,
    row: Row[Any],
    config_from: Callable[[int], EndpointConfig],
    at: datetime,
) -> EndpointConfig:
    """Start an update with the config made for the next version; raises ResourceConflict."""
    _must_be_idle(row)
    config = config_from(row.last_version + 1)
    if config.version != row.last_version + 1:
        raise ValueError(f"version {config.version} was made for {row.last_version + 1}")
    insert_config(connection, row.id, config)
    update_endpoint(
        connection,
        row.id,
        at,
        pending_version=config.version,
        last_version=config.version,
        config_update=ConfigUpdate.IN_PROGRESS.value,
    )
    return config


def activate(connection: Connection, endpoint_id: str, version: int, at: datetime) -> bool:
    """Make the pending config the active one; False when that version is not being deployed."""
    if not _is_deploying(connection, endpoint_id, version):
        return False
    update_endpoint(
        connection,
        endpoint_id,
        at,
        active_version=version,
        pending_version=None,
        config_update=ConfigUpdate.NOT_UPDATING.value,
    )
    return True


def fail(
    connection: Connection, endpoint_id: str, version: int, message: str, at: datetime
) -> bool:
    """End an update as failed; False when that version is not being deployed.

    The pending config stays readable: entities that FAILED keep their own message (or get this
    one), all others become ABORTED. The active config is untouched.
    """
    if not _is_deploying(connection, endpoint_id, version):
        return False
    of_config = (_entities.c.endpoint_id == endpoint_id, _entities.c.version == version)
    failed = _entities.c.deployment == Deployment.FAILED.value
    connection.execute(
        update(_entities)
        .where(*of_config, failed, _entities.c.deployment_message == "")
        .values(deployment_message=message)
    )
    connection.execute(
        update(_entities)
        .where(*of_config, ~failed)
        .values(
            deployment=Deployment.ABORTED.value,
            deployment_message=f"Served model creation aborted: {message}",
        )
    )
    update_endpoint(connection, endpoint_id, at, config_update=ConfigUpdate.UPDATE_FAILED.value)
    return True


def drop(connection: Connection, endpoint_id: str, version: int, at: datetime) -> bool:
    """End an update as if it had never been asked for; False when it is not being deployed."""
    if not _is_deploying(connection, endpoint_id, version):
        return False
    update_endpoint(
        connection,
        endpoint_id,
        at,
        pending_version=None,
        config_update=ConfigUpdate.NOT_UPDATING.value,
    )
    return True


def resume_pending(connection: Connection, endpoint_id: str, version: int, at: datetime) -> None:
    """Take up a failed update again; raises ResourceConflict while another is in progress."""
    row = connection.execute(select(_endpoints).where(_endpoints.c.id == endpoint_id)).one()
    _must_be_idle(row)
    connection.execute(
        update(_entities)
        .where(_entities.c.endpoint_id == endpoint_id, _entities.c.version == version)
        .values(deployment=Deployment.CREATING.value, deployment_message="Trying again.")
    )
    update_endpoint(
        connection,
        endpoint_id,
        at,
        pending_version=version,
        config_update=ConfigUpdate.IN_PROGRESS.value,
    )


def copy_to_active(connection: Connection, endpoint_id: str, version: int, at: datetime) -> None:
    """Make an earlier config the active one again, as a new version: versions never go back."""
    row = connection.execute(select(_endpoints).where(_endpoints.c.id == endpoint_id)).one()
    earlier = config_at(connection, endpoint_id, version)
    if earlier is None:
        raise ValueError(f"endpoint {endpoint_id} has no config {version}")
    copy = replace(earlier, version=row.last_version + 1, created_at=at)
    insert_config(connection, endpoint_id, copy)
    update_endpoint(
        connection,
        endpoint_id,
        at,
        active_version=copy.version,
        last_version=copy.version,
    )


def stop(connection: Connection, row: Row[Any], at: datetime) -> bool:
    """Let the endpoint answer nobody; False when it is stopped already.

    Raises ResourceConflict while an update is in progress, InvalidState when nothing serves.
    """
    if row.stopped:
        return False
    _must_be_idle(row)
    if row.active_version is None:
        raise InvalidState(NOTHING_TO_STOP.format(row.name))
    connection.execute(
        update(_entities)
        .where(_entities.c.endpoint_id == row.id, _entities.c.version == row.active_version)
        .values(deployment=Deployment.RECOVERING.value, deployment_message="Stopped.")
    )
    update_endpoint(connection, row.id, at, stopped=True)
    return True


def start(connection: Connection, row: Row[Any], at: datetime) -> bool:
    """Have what was stopped deployed again, as the next version; False when it is not stopped."""
    if not row.stopped:
        return False
    update_endpoint(connection, row.id, at, stopped=False)
    stopped = config_at(connection, row.id, row.active_version)
    if stopped is None:
        raise ValueError(f"endpoint {row.id} has no config {row.active_version}")
    awake = live(connection, row.name)
    put_pending(connection, awake, lambda version: anew(stopped, version, at), at)
    return True


def anew(config: EndpointConfig, version: int, at: datetime) -> EndpointConfig:
    """The config as one that is to be deployed: of the same pinned models."""
    entities = tuple(
        replace(
            each,
            environment=None,
            deployment=Deployment.CREATING,
            deployment_message="Starting again.",
        )
        for each in config.entities
    )
    return replace(config, version=version, entities=entities, created_at=at)


def versions(connection: Connection, endpoint_id: str, before: int | None, limit: int) -> list[int]:
    """Config versions of an endpoint below ``before``, the newest first."""
    query = select(_configs.c.version).where(_configs.c.endpoint_id == endpoint_id)
    if before is not None:
        query = query.where(_configs.c.version < before)
    found = connection.execute(query.order_by(_configs.c.version.desc()).limit(limit))
    return [int(each) for each in found.scalars()]


def _must_be_idle(row: Row[Any]) -> None:
    if row.stopped:
        raise InvalidState(STOPPED.format(row.name))
    if row.config_update == ConfigUpdate.IN_PROGRESS.value:
        raise ResourceConflict(
            f"Endpoint {row.name} is currently updating. Wait until its config_update is "
            f"NOT_UPDATING, then send the change again."
        )


def _is_deploying(connection: Connection, endpoint_id: str, version: int) -> bool:
    count = select(func.count()).where(
        _endpoints.c.id == endpoint_id,
        _endpoints.c.pending_version == version,
        _endpoints.c.config_update == ConfigUpdate.IN_PROGRESS.value,
        _endpoints.c.deleted_at.is_(None),
    )
    return bool(connection.execute(count).scalar_one())
