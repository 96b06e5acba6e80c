"""Rows ↔ entities, by hand both ways. No queries in here, and nothing that decides."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import msgspec
from sqlalchemy import Row

from serinus.access import Grant
from serinus.entities import (
    ConfigUpdate,
    Deployment,
    Endpoint,
    EndpointConfig,
    EnvironmentRef,
    ModelRef,
    Optimize,
    RateLimit,
    Reading,
    ServedEntity,
)
from serinus.store.instants import from_millis, to_millis
from serinus.traffic import EndpointRoutes

__all__ = [
    "BUILD_LOG_LIMIT",
    "config_of",
    "config_row",
    "endpoint_of",
    "endpoint_row",
    "entity_progress",
    "entity_rows",
    "grants_of",
    "grants_row",
    "limits_row",
    "routes_of",
    "routes_row",
]

#: Characters of a build log that are kept; the end of it says what went wrong.
BUILD_LOG_LIMIT = 256 * 1024


def endpoint_row(endpoint: Endpoint) -> dict[str, Any]:
    """The row of a new endpoint."""
    pending = endpoint.pending
    active = endpoint.active
    versions = [config.version for config in (active, pending) if config is not None]
    return {
        "id": endpoint.id,
        "name": endpoint.name,
        "creator": endpoint.creator,
        "created_at": to_millis(endpoint.created_at),
        "updated_at": to_millis(endpoint.updated_at),
        "description": endpoint.description,
        "tags": endpoint.tags,
        "route_optimized": endpoint.route_optimized,
        "is_default": endpoint.default,
        "caller": endpoint.caller,
        "cache_ttl_ms": round(endpoint.cache_ttl_s * 1000),
        "stopped": endpoint.stopped,
        "echo": endpoint.echo,
        "rate_limits": limits_row(endpoint.rate_limits),
        "verify_after": to_millis(endpoint.verify_after) if endpoint.verify_after else None,
        "config_update": endpoint.update.value,
        "last_version": max(versions, default=0),
        "active_version": active.version if active else None,
        "pending_version": pending.version if pending else None,
    }


def endpoint_of(row: Row[Any], configs: dict[tuple[str, int], EndpointConfig]) -> Endpoint:
    """The endpoint of a row, with its configs taken from ``{(endpoint id, version): config}``."""
    return Endpoint(
        id=row.id,
        name=row.name,
        creator=row.creator,
        created_at=from_millis(row.created_at),
        updated_at=from_millis(row.updated_at),
        active=configs.get((row.id, row.active_version)),
        pending=configs.get((row.id, row.pending_version)),
        update=ConfigUpdate(row.config_update),
        description=row.description,
        tags=row.tags,
        route_optimized=row.route_optimized,
        default=row.is_default,
        verify_after=None if row.verify_after is None else from_millis(row.verify_after),
        deleted=row.deleted_at is not None,
        caller=row.caller,
        stopped=row.stopped,
        echo=row.echo,
        rate_limits=msgspec.convert(row.rate_limits, tuple[RateLimit, ...]),
        cache_ttl_s=row.cache_ttl_ms / 1000,
    )


def limits_row(limits: tuple[RateLimit, ...]) -> list[dict[str, Any]]:
    """Rate limits as JSON values."""
    return [asdict(limit) for limit in limits]


def config_row(endpoint_id: str, config: EndpointConfig) -> dict[str, Any]:
    """The row of a config, its entities apart."""
    return {
        "endpoint_id": endpoint_id,
        "version": config.version,
        "created_at": to_millis(config.created_at),
        "auto_capture": config.auto_capture,
    }


def config_of(row: Row[Any], entity_rows: Iterable[Row[Any]]) -> EndpointConfig:
    """The config of a row and of its entities' rows, which come in their order."""
    rows = tuple(entity_rows)
    return EndpointConfig(
        version=row.version,
        entities=tuple(map(_entity_of, rows)),
        weights={each.name: each.weight_bp for each in rows if each.weight_bp is not None},
        created_at=from_millis(row.created_at),
        auto_capture=row.auto_capture,
    )


def entity_rows(endpoint_id: str, config: EndpointConfig) -> list[dict[str, Any]]:
    """The rows of a config's served entities; raises ValueError for a weight that is nobody's."""
    strangers = set(config.weights) - {entity.name for entity in config.entities}
    if strangers:
        raise ValueError(f"weights for entities that are not served: {sorted(strangers)}")
    return [
        {
            "endpoint_id": endpoint_id,
            "version": config.version,
            "name": entity.name,
            "position": position,
            "weight_bp": config.weights.get(entity.name),
            "entity_name": entity.entity_name,
            "entity_version": entity.entity_version,
            "replicas": entity.replicas,
            "environment_vars": entity.environment_vars,
            "intake": entity.intake.value,
            "optimize": entity.optimize.value,
            "echo": entity.echo,
            "creator": entity.creator,
            "created_at": None if entity.created_at is None else to_millis(entity.created_at),
            **entity_progress(entity),
        }
        for position, entity in enumerate(config.entities)
    ]


def entity_progress(entity: ServedEntity) -> dict[str, Any]:
    """The columns that change while an entity is being deployed."""
    return {
        "model": asdict(entity.model) if entity.model else None,
        "environment": asdict(entity.environment) if entity.environment else None,
        "deployment": entity.deployment.value,
        "deployment_message": entity.deployment_message,
        "form": entity.form,
        "form_reason": entity.form_reason,
        "build_log": entity.build_log[-BUILD_LOG_LIMIT:],
    }


def _entity_of(row: Row[Any]) -> ServedEntity:
    return ServedEntity(
        name=row.name,
        entity_name=row.entity_name,
        entity_version=row.entity_version,
        replicas=row.replicas,
        environment_vars=row.environment_vars,
        intake=Reading(row.intake),
        optimize=Optimize(row.optimize),
        form=row.form,
        form_reason=row.form_reason,
        echo=row.echo,
        model=msgspec.convert(row.model, ModelRef | None),
        environment=msgspec.convert(row.environment, EnvironmentRef | None),
        deployment=Deployment(row.deployment),
        deployment_message=row.deployment_message,
        build_log=row.build_log,
        creator=row.creator,
        created_at=None if row.created_at is None else from_millis(row.created_at),
    )


def routes_row(endpoints: tuple[EndpointRoutes, ...]) -> list[dict[str, Any]]:
    """Routes as JSON values."""
    return [msgspec.to_builtins(endpoint) for endpoint in endpoints]


def routes_of(value: list[dict[str, Any]]) -> tuple[EndpointRoutes, ...]:
    """Routes from JSON values."""
    return msgspec.convert(value, tuple[EndpointRoutes, ...])


def grants_row(grants: tuple[Grant, ...]) -> list[dict[str, Any]]:
    """Tokens in force as JSON values."""
    return [msgspec.to_builtins(grant) for grant in grants]


def grants_of(value: list[dict[str, Any]]) -> tuple[Grant, ...]:
    """Tokens in force from JSON values."""
    return msgspec.convert(value, tuple[Grant, ...])
