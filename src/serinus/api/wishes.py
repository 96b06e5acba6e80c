"""From a request to entities: what the client wants, checked. It reads and writes nothing."""

import re
from datetime import datetime

from serinus.api.naming import checked_name, default_served_name, is_uri
from serinus.api.schemas import ConfigInput, RouteInput, ServedInput
from serinus.entities import (
    WHOLE,
    ConfigUpdate,
    Endpoint,
    EndpointConfig,
    Optimize,
    Reading,
    ServedEntity,
)
from serinus.errors import InvalidParameterValue, NotImplementedHere

__all__ = [
    "MASK",
    "check_model",
    "config_from",
    "registered",
    "same_as_wanted",
    "same_config",
]

#: What replies show instead of the value of an environment variable.
MASK = "***"

_PERCENT = WHOLE // 100
# Kept for the reply only; see schemas.ServedInput.
_ECHOED = {
    *("workload_size", "workload_type", "scale_to_zero_enabled", "instance_profile_arn"),
    *("burst_scaling_enabled", "min_provisioned_concurrency", "max_provisioned_concurrency"),
    *("min_provisioned_throughput", "max_provisioned_throughput", "provisioned_model_units"),
}


def config_from(wanted: ConfigInput, *, version: int, creator: str, at: datetime) -> EndpointConfig:
    """The config that a client asks for; raises InvalidParameterValue with the field's name."""
    entities = tuple(_entity(each, creator=creator, at=at) for each in _served(wanted))
    names = [entity.name for entity in entities]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidParameterValue(
            f"served_entities: the name {twice[0]!r} stands for more than one served entity. "
            f"Give each its own 'name'."
        )
    routes = wanted.traffic_config.routes if wanted.traffic_config else []
    capture = wanted.auto_capture_config
    return EndpointConfig(
        version=version,
        entities=entities,
        weights=_weights(names, routes),
        created_at=at,
        auto_capture=capture.model_dump(exclude_none=True) if capture else None,
    )


def same_as_wanted(endpoint: Endpoint, asked: EndpointConfig) -> bool:
    """True when the endpoint serves, or is about to serve, what ``asked`` asks for."""
    busy = endpoint.update is ConfigUpdate.IN_PROGRESS
    known = endpoint.pending if busy else endpoint.active
    return (
        known is not None
        and endpoint.update is not ConfigUpdate.UPDATE_FAILED
        and same_config(known, asked)
    )


def same_config(known: EndpointConfig, asked: EndpointConfig) -> bool:
    """True when ``known`` was made for what ``asked`` asks for."""
    return (
        known.weights == asked.weights
        and asked.auto_capture in (None, known.auto_capture)
        and [_asked(each) for each in known.entities] == [_asked(each) for each in asked.entities]
    )


def _asked(entity: ServedEntity) -> ServedEntity:
    """The entity as it was asked for, without how far it has come."""
    return ServedEntity(
        entity.name,
        entity.entity_name,
        entity.entity_version,
        entity.replicas,
        entity.environment_vars,
        entity.echo,
        intake=entity.intake,
        optimize=entity.optimize,
    )


def _served(wanted: ConfigInput) -> list[ServedInput]:
    if wanted.served_entities and wanted.served_models:
        raise InvalidParameterValue(
            "Give served_entities or served_models (its older form), not both."
        )
    served = wanted.served_entities or wanted.served_models
    if not served:
        raise InvalidParameterValue(
            "served_entities is missing or empty: a config names all that it serves, "
            "also when an update changes only the traffic."
        )
    return served


def _entity(wanted: ServedInput, *, creator: str, at: datetime) -> ServedEntity:
    if wanted.external_model is not None:
        raise NotImplementedHere(
            "Serinus does not serve external models yet. Give entity_name and entity_version."
        )
    entity_name = wanted.entity_name or ""
    version = wanted.entity_version or ""
    check_model(entity_name, version)
    masked = sorted(name for name, value in wanted.environment_vars.items() if value == MASK)
    if masked:
        # Somebody resends what a reply showed: storing it would replace the value by its mask.
        raise InvalidParameterValue(
            f"environment_vars: the value of {masked[0]} is {MASK!r}, under which replies hide "
            f"values. Send the value itself."
        )
    return ServedEntity(
        name=checked_name(wanted.name, "The served entity name")
        if wanted.name
        else default_served_name(entity_name, version),
        entity_name=entity_name,
        entity_version=version,
        replicas=wanted.replicas,
        environment_vars=wanted.environment_vars,
        intake=Reading(wanted.intake),
        optimize=Optimize(wanted.optimize),
        echo=wanted.model_dump(include=_ECHOED, exclude_none=True),
        creator=creator,
        created_at=at,
    )


def registered(uri: str) -> tuple[str, str]:
    """Name and version of ``models:/name/3``; any other URI stands for itself."""
    found = re.fullmatch(r"models:/([^/@]+)/(\d{1,64})", uri)
    return (found[1], found[2]) if found else (uri, "")


def check_model(entity_name: str, version: str, *, what: str = "entity_name") -> None:
    """Raise InvalidParameterValue, with the field ``what``, for what can't name a model."""
    problem = ""
    if not entity_name.strip():
        problem = (
            "is missing: name a registered model, a models:/ or runs:/ URI or an absolute path"
        )
    elif ".." in entity_name.split("/"):
        problem = f"{entity_name[:80]!r} contains '..': give the path itself"
    elif is_uri(entity_name):
        if version:
            problem = (
                f"{entity_name[:80]!r} says already which model it is: leave out entity_version"
            )
    elif "/" in entity_name or ":" in entity_name:
        problem = (
            f"{entity_name[:80]!r} is neither a registered model's name, nor a models:/ or runs:/ "
            f"URI, nor an absolute path"
        )
    elif not version:
        problem = (
            f"{entity_name[:80]!r} needs an entity_version, or an alias in the form "
            f"models:/{entity_name[:80]}@alias"
        )
    elif not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", version):
        raise InvalidParameterValue(
            f'entity_version {version[:80]!r} is not a version. Give its number, e.g. "3".'
        )
    if problem:
        raise InvalidParameterValue(f"{what} {problem}.")


def _weights(names: list[str], routes: list[RouteInput]) -> dict[str, int]:
    """Basis points by served name; an entity without a route has none of the traffic."""
    if not routes:
        if len(names) == 1:
            return {names[0]: WHOLE}
        raise InvalidParameterValue(
            f"traffic_config is missing: with {len(names)} served entities it must say how "
            f"traffic is split between {_listed(names)}."
        )
    weights = dict.fromkeys(names, 0)
    routed: set[str] = set()
    for route in routes:
        name = _target(route)
        if name not in weights:
            raise InvalidParameterValue(
                f"traffic_config: a route names {name[:80]!r}, which is not served. "
                f"Served entities: {_listed(names)}."
            )
        if name in routed:
            raise InvalidParameterValue(f"traffic_config: two routes name {name!r}. Join them.")
        routed.add(name)
        weights[name] = route.traffic_percentage * _PERCENT
    total = sum(route.traffic_percentage for route in routes)
    if total != 100:
        raise InvalidParameterValue(
            f"traffic_config: the sum of traffic_percentage over all routes must be 100; it is "
            f"{total}."
        )
    return weights


def _target(route: RouteInput) -> str:
    names = {name for name in (route.served_entity_name, route.served_model_name) if name}
    if len(names) > 1:
        raise InvalidParameterValue(
            "traffic_config: served_entity_name and served_model_name of one route differ. "
            "Give one of them."
        )
    if not names:
        raise InvalidParameterValue(
            "traffic_config: a route names nothing. Give its served_entity_name."
        )
    return names.pop()


def _listed(names: list[str]) -> str:
    return ", ".join(names)
