"""What can happen to an endpoint's configs in a `FakeStore`: the counterpart of `store.configs`."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from serinus.entities import ConfigUpdate, Deployment, Endpoint, EndpointConfig, ServedEntity
from serinus.errors import InvalidState, ResourceConflict, ResourceDoesNotExist
from serinus.store.configs import MISSING, NOTHING_TO_STOP, STOPPED, anew
from serinus.testing.memory import EndpointRow, Tables, config_copy, config_kept, instant

__all__ = [
    "activate",
    "copy_to_active",
    "current",
    "endpoint_of",
    "fail",
    "live",
    "put_pending",
    "resume_pending",
    "start",
    "stop",
    "update_endpoint",
]


def endpoint_of(tables: Tables, row: EndpointRow) -> Endpoint:
    """The endpoint with copies of its configs."""
    bare = row.bare
    return Endpoint(
        bare.id,
        bare.name,
        bare.creator,
        bare.created_at,
        bare.updated_at,
        _config(tables, bare.id, row.active),
        _config(tables, bare.id, row.pending),
        bare.update,
        bare.description,
        dict(bare.tags),
        bare.route_optimized,
        bare.default,
        bare.deleted,
        bare.verify_after,
        bare.caller,
        bare.stopped,
        dict(bare.echo),
        bare.rate_limits,
        bare.cache_ttl_s,
    )


def current(
    tables: Tables, row: EndpointRow
) -> tuple[EndpointConfig | None, EndpointConfig | None]:
    """The active and the pending config as they are kept."""
    versions = (row.active, row.pending)
    active, pending = (
        None if v is None else tables.configs.get((row.bare.id, v)) for v in versions
    )
    return active, pending


def _config(tables: Tables, endpoint_id: str, version: int | None) -> EndpointConfig | None:
    if version is None:
        return None
    found = tables.configs.get((endpoint_id, version))
    return None if found is None else config_copy(found)


def live(tables: Tables, name: str) -> EndpointRow:
    """The endpoint of that name; raises ResourceDoesNotExist."""
    for row in tables.endpoints.values():
        if row.bare.name == name and not row.bare.deleted:
            return row
    raise ResourceDoesNotExist(MISSING.format(name))


def update_endpoint(
    tables: Tables, row: EndpointRow, at: datetime, bare: Endpoint | None = None
) -> EndpointRow:
    """Keep a changed row; ``bare`` are its new fields, if they changed."""
    row = replace(row, bare=replace(bare or row.bare, updated_at=instant(at)))
    tables.endpoints[row.bare.id] = row
    return row


def put_pending(
    tables: Tables,
    row: EndpointRow,
    config_from: Callable[[int], EndpointConfig],
    at: datetime,
) -> EndpointConfig:
    """Start an update with the config made for the next version; raises ResourceConflict."""
    _must_be_idle(row)
    version = row.last_version + 1
    config = config_from(version)
    if config.version != version:
        raise ValueError(f"version {config.version} was made for {version}")
    tables.configs[row.bare.id, version] = config_kept(config)
    bare = replace(row.bare, update=ConfigUpdate.IN_PROGRESS)
    update_endpoint(tables, replace(row, pending=version, last_version=version), at, bare)
    return config


def activate(tables: Tables, endpoint_id: str, version: int, at: datetime) -> bool:
    """Make the pending config the active one; False when that version is not being deployed."""
    row = _deploying(tables, endpoint_id, version)
    if row is None:
        return False
    bare = replace(row.bare, update=ConfigUpdate.NOT_UPDATING)
    update_endpoint(tables, replace(row, active=version, pending=None), at, bare)
    return True


def fail(tables: Tables, endpoint_id: str, version: int, message: str, at: datetime) -> bool:
    """End an update as failed; False when that version is not being deployed."""
    row = _deploying(tables, endpoint_id, version)
    if row is None:
        return False
    config = tables.configs[endpoint_id, version]
    aborted = f"Served model creation aborted: {message}"

    def after(entity: ServedEntity) -> ServedEntity:
        if entity.deployment is Deployment.FAILED:
            return replace(entity, deployment_message=entity.deployment_message or message)
        return replace(entity, deployment=Deployment.ABORTED, deployment_message=aborted)

    entities = tuple(map(after, config.entities))
    tables.configs[endpoint_id, version] = replace(config, entities=entities)
    update_endpoint(tables, row, at, replace(row.bare, update=ConfigUpdate.UPDATE_FAILED))
    return True


def drop(tables: Tables, endpoint_id: str, version: int, at: datetime) -> bool:
    """End an update as if it had never been asked for; False when it is not being deployed."""
    row = _deploying(tables, endpoint_id, version)
    if row is None:
        return False
    bare = replace(row.bare, update=ConfigUpdate.NOT_UPDATING)
    update_endpoint(tables, replace(row, pending=None), at, bare)
    return True


def resume_pending(tables: Tables, endpoint_id: str, version: int, at: datetime) -> None:
    """Take up a failed update again; raises ResourceConflict while another is in progress."""
    row = tables.endpoints[endpoint_id]
    _must_be_idle(row)
    config = tables.configs[endpoint_id, version]
    entities = tuple(
        replace(entity, deployment=Deployment.CREATING, deployment_message="Trying again.")
        for entity in config.entities
    )
    tables.configs[endpoint_id, version] = replace(config, entities=entities)
    bare = replace(row.bare, update=ConfigUpdate.IN_PROGRESS)
    update_endpoint(tables, replace(row, pending=version), at, bare)


def copy_to_active(tables: Tables, endpoint_id: str, version: int, at: datetime) -> None:
    """Make an earlier config the active one again, as a new version: versions never go back."""
    row = tables.endpoints[endpoint_id]
    earlier = tables.configs.get((endpoint_id, version))
    if earlier is None:
        raise ValueError(f"endpoint {endpoint_id} has no config {version}")
    new = row.last_version + 1
    tables.configs[endpoint_id, new] = replace(earlier, version=new, created_at=instant(at))
    update_endpoint(tables, replace(row, active=new, last_version=new), at)


def stop(tables: Tables, row: EndpointRow, at: datetime) -> bool:
    """Let the endpoint answer nobody; False when it is stopped already."""
    if row.bare.stopped:
        return False
    _must_be_idle(row)
    if row.active is None:
        raise InvalidState(NOTHING_TO_STOP.format(row.bare.name))
    config = tables.configs[row.bare.id, row.active]
    entities = tuple(
        replace(entity, deployment=Deployment.RECOVERING, deployment_message="Stopped.")
        for entity in config.entities
    )
    tables.configs[row.bare.id, row.active] = replace(config, entities=entities)
    update_endpoint(tables, row, at, replace(row.bare, stopped=True))
    return True


def start(tables: Tables, row: EndpointRow, at: datetime) -> bool:
    """Have what was stopped deployed again, as the next version; False when it is not stopped."""
    if not row.bare.stopped:
        return False
    row = update_endpoint(tables, row, at, replace(row.bare, stopped=False))
    stopped, _ = current(tables, row)
    if stopped is None:
        raise ValueError(f"endpoint {row.bare.id} has no config {row.active}")
    put_pending(tables, row, lambda version: anew(stopped, version, at), at)
    return True


def _deploying(tables: Tables, endpoint_id: str, version: int) -> EndpointRow | None:
    row = tables.endpoints.get(endpoint_id)
    if row is None or row.bare.deleted or row.pending != version:
        return None
    return row if row.bare.update is ConfigUpdate.IN_PROGRESS else None


def _must_be_idle(row: EndpointRow) -> None:
    if row.bare.stopped:
        raise InvalidState(STOPPED.format(row.bare.name))
    if row.bare.update is ConfigUpdate.IN_PROGRESS:
        raise ResourceConflict(
            f"Endpoint {row.bare.name} is currently updating. Wait until its config_update is "
            f"NOT_UPDATING, then send the change again."
        )
