"""What can happen to an endpoint's configs, inside the caller's transaction. No policy."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from serinus.entities import ConfigUpdate, Deployment, EndpointConfig
from serinus.errors import ResourceConflict, ResourceDoesNotExist
from serinus.store import rows, tables
from serinus.store.failures import FencedOut
from serinus.store.instants import to_millis
from serinus.store.reading import config_at, live_row

__all__ = [
    "MISSING",
    "activate",
    "copy_to_active",
    "fail",
    "fence",
    "insert_config",
    "live",
    "put_pending",
    "resume_pending",
    "update_endpoint",
]

_endpoints, _configs, _entities = tables.endpoints, tables.configs, tables.served_entities

# The words of the service that the clients were written for.
MISSING = "Endpoint with name '{}' does not exist."


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


def _must_be_idle(row: Row[Any]) -> None:
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
