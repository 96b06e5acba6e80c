"""Who is changing the store, and the record of it, written in the transaction of the change itself.

Whoever writes need not think of it, so nobody can forget it. It must never keep a secret: of the
variables of a model it keeps the names.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from serinus.access import Right
from serinus.entities import EndpointConfig
from serinus.store import access_tables as tables
from serinus.store.instants import to_millis
from serinus.store.reading import read_endpoints
from serinus.store.rollout_tables import policies
from serinus.store.tables import endpoints

__all__ = ["NOTHING", "Act", "about", "acting", "current_act", "described", "hash_of", "record"]

#: What the first row follows.
NOTHING = "0" * 64


@dataclass(frozen=True, slots=True)
class Act:
    """Something that somebody asked for, and that may change the store."""

    actor: str
    #: What was called, e.g. ``PUT /api/2.0/serving-endpoints/{name}/config``.
    action: str
    at: datetime
    #: The endpoint it is about; empty: tokens.
    endpoint: str = ""
    token_id: str = ""


_ACT: ContextVar[Act | None] = ContextVar("act", default=None)


@contextmanager
def acting(act: Act) -> Iterator[None]:
    """Every change of the store in here is recorded as part of ``act``."""
    token = _ACT.set(act)
    try:
        yield
    finally:
        _ACT.reset(token)


@contextmanager
def about(endpoint: str) -> Iterator[None]:
    """What is done in here is about that endpoint: a new one is named by no path."""
    act = current_act()
    if act is None:
        yield
        return
    with acting(replace(act, endpoint=endpoint)):
        yield


def current_act() -> Act | None:
    """What is being done; None for what nobody asked for."""
    return _ACT.get()


def described(connection: Connection, act: Act) -> dict[str, Any]:
    """What the act is about, as it is now, without any secret."""
    if not act.endpoint:
        return _tokens(connection)
    found = read_endpoints(
        connection, endpoints.c.name == act.endpoint, endpoints.c.deleted_at.is_(None)
    )
    shown: dict[str, Any] = {"permissions": _permissions(connection, act.endpoint)}
    if not found:
        return shown
    endpoint = found[0]
    for name in ("id", "description", "tags", "default", "caller", "route_optimized", "echo"):
        shown[name] = getattr(endpoint, name)
    shown["stopped"] = endpoint.stopped
    shown["update"] = endpoint.update.value
    shown["rate_limits"] = [[each.calls, each.key, each.principal] for each in endpoint.rate_limits]
    shown["active"] = _config(endpoint.active)
    shown["pending"] = _config(endpoint.pending)
    policy = select(policies.c.policy).where(policies.c.endpoint_id == endpoint.id)
    shown["policy"] = connection.execute(policy).scalar_one_or_none()
    return shown


def record(connection: Connection, act: Act, before: dict[str, Any]) -> None:
    """Add the act, with what of its object is different now."""
    after = described(connection, act)
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    newest = select(tables.audit.c.hash).order_by(tables.audit.c.id.desc()).limit(1)
    row: dict[str, Any] = {
        "at": to_millis(act.at),
        "actor": act.actor[:255],
        "token_id": act.token_id,
        "action": act.action[:255],
        "object": act.endpoint[:255],
        "before": _text(before, changed),
        "after": _text(after, changed),
        "previous": connection.execute(newest).scalar_one_or_none() or NOTHING,
    }
    connection.execute(insert(tables.audit).values(**row, hash=hash_of(row)))


def hash_of(row: Mapping[str, Any] | Row[Any]) -> str:
    """SHA-256 over a row and, by ``previous``, over all that came before it."""
    values = row if isinstance(row, Mapping) else row._mapping
    names = ("previous", "at", "actor", "token_id", "action", "object", "before", "after")
    return hashlib.sha256(json.dumps([values[name] for name in names]).encode()).hexdigest()


def _text(values: Mapping[str, Any], keys: set[str]) -> str:
    shown = {key: values[key] for key in keys & values.keys()}
    return json.dumps(shown, sort_keys=True, ensure_ascii=False, default=str)


def _config(config: EndpointConfig | None) -> dict[str, Any] | None:
    if config is None:
        return None
    served = {
        entity.name: {
            "entity_name": entity.entity_name,
            "entity_version": entity.entity_version,
            "replicas": entity.replicas,
            "intake": entity.intake.value,
            "optimize": entity.optimize.value,
            "environment_vars": sorted(entity.environment_vars),
        }
        for entity in config.entities
    }
    return {"version": config.version, "served_entities": served, "weights_bp": config.weights}


def _permissions(connection: Connection, endpoint: str) -> dict[str, str]:
    query = select(tables.grants).where(tables.grants.c.endpoint == endpoint)
    return {row.principal: Right(row.level).level for row in connection.execute(query)}


def _tokens(connection: Connection) -> dict[str, Any]:
    rights: dict[str, dict[str, str]] = {}
    for row in connection.execute(select(tables.grants)):
        rights.setdefault(row.principal, {})[row.endpoint] = Right(row.level).level
    live = select(tables.tokens).where(tables.tokens.c.revoked_at.is_(None))
    return {
        row.name: {
            "id": row.id,
            "admin": row.admin,
            "expires_at": row.expires_at,
            "rights": rights.get(row.name, {}),
        }
        for row in connection.execute(live)
    }
