"""Calls that a client sends again because it never saw the answer: recognised by what they ask for.

Pure, and without a memory of its own: what was stored tells it, so it holds after a restart too. It
must never take for a repeat what another caller asks for, or what asks for anything else.
"""

import re
from datetime import datetime, timedelta

from serinus.api.target import identity
from serinus.api.wishes import same_config
from serinus.entities import ConfigUpdate, Endpoint, EndpointConfig

__all__ = ["repeats_create", "repeats_rollout", "repeats_update"]

#: As long as the known clients go on trying.
_WINDOW = timedelta(minutes=5)
#: Model URIs that never lead to another model: not an alias, not a path.
_PINNED = re.compile(r"models:/[^/@]+/\d+|runs:/.+")


def repeats_create(known: Endpoint, first: EndpointConfig | None, asked: Endpoint) -> bool:
    """Whether ``asked``, whose name ``known`` has, is what made it; ``first``: its first config."""
    return (
        _lately(known.created_at, asked.created_at)
        and _labels(known) == _labels(asked)
        and first is not None
        and asked.pending is not None
        and same_config(first, asked.pending)
    )


def repeats_update(known: Endpoint, asked: EndpointConfig, actor: str) -> bool:
    """Whether ``asked`` is being deployed, or was just deployed, because that caller asked for it.

    A failed update is begun anew, and so is one whose URIs may lead elsewhere by now.
    """
    if known.update is ConfigUpdate.IN_PROGRESS:
        newest = known.pending
    elif known.update is ConfigUpdate.NOT_UPDATING and not known.stopped and _is_pinned(asked):
        newest = known.active
    else:
        return False
    return (
        newest is not None
        and _lately(newest.created_at, asked.created_at)
        and all(each.creator == actor for each in newest.entities)
        and same_config(newest, asked)
    )


def repeats_rollout(
    target: EndpointConfig | None, by: str, asked: EndpointConfig, actor: str
) -> bool:
    """Whether the rollout to ``target`` is what that caller's ``asked`` became by the policy."""
    return (
        target is not None
        and by == actor
        and _lately(target.created_at, asked.created_at)
        and _served(target) == _served(asked)
    )


def _lately(then: datetime, at: datetime) -> bool:
    return abs(at - then) <= _WINDOW


def _labels(endpoint: Endpoint) -> tuple[object, ...]:
    return (
        endpoint.creator,
        endpoint.description,
        endpoint.tags,
        endpoint.route_optimized,
        endpoint.echo,
        endpoint.rate_limits,
    )


def _is_pinned(config: EndpointConfig) -> bool:
    return all(_PINNED.fullmatch(each.model_uri) for each in config.entities)


def _served(config: EndpointConfig) -> list[tuple[object, ...]]:
    # A rollout gives its own names and weights.
    return sorted((*identity(each), each.replicas) for each in config.entities)
