"""The rows of a `FakeStore`: values that are only ever replaced, so a copy may be shallow.

It keeps no rule of the store but two: all or nothing, and nobody gets hold of what is kept.
"""

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError

from serinus.entities import Endpoint, EndpointConfig, ServedEntity
from serinus.errors import SerinusError
from serinus.store.failures import FencedOut
from serinus.store.instants import from_millis, to_millis
from serinus.store.journal import JournalEntry
from serinus.store.rollouts import Message, Refusal, StoredRollout, Wish
from serinus.store.rows import BUILD_LOG_LIMIT
from serinus.store.verifications import Verified
from serinus.traffic import RouteTable

__all__ = [
    "EndpointRow",
    "KeptMessage",
    "Memory",
    "Tables",
    "append",
    "broken",
    "config_copy",
    "config_kept",
    "instant",
    "plain",
]


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """An endpoint without its configs, which are kept apart."""

    bare: Endpoint
    active: int | None
    pending: int | None
    last_version: int


@dataclass(frozen=True, slots=True)
class KeptMessage:
    """A message and when it is due."""

    message: Message
    at: datetime
    not_before: datetime


@dataclass(slots=True)
class Tables:
    """Every table, by key."""

    epoch: int = 0
    routes: RouteTable = field(default_factory=RouteTable)
    endpoints: dict[str, EndpointRow] = field(default_factory=dict)
    configs: dict[tuple[str, int], EndpointConfig] = field(default_factory=dict)
    journal: tuple[JournalEntry, ...] = ()
    rollouts: dict[str, StoredRollout] = field(default_factory=dict)
    wishes: dict[int, Wish] = field(default_factory=dict)
    last_wish: int = 0
    messages: dict[str, KeptMessage] = field(default_factory=dict)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    evidence: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    refusals: dict[tuple[str, str], Refusal] = field(default_factory=dict)
    verifications: dict[str, Verified] = field(default_factory=dict)

    def copy(self) -> "Tables":
        """The same rows, to be changed on their own."""
        return Tables(
            self.epoch,
            self.routes,
            dict(self.endpoints),
            dict(self.configs),
            self.journal,
            dict(self.rollouts),
            dict(self.wishes),
            self.last_wish,
            dict(self.messages),
            dict(self.policies),
            dict(self.evidence),
            dict(self.refusals),
            dict(self.verifications),
        )


class Memory:
    """All tables; ``now`` is what is committed."""

    def __init__(self, tables: Tables | None = None) -> None:
        self.now = tables or Tables()
        #: What writing raises, as on a disk that is full; None: nothing.
        self.fault: SerinusError | None = None

    def copy(self) -> "Memory":
        """Another memory that begins as this one is."""
        return Memory(self.now.copy())

    @contextmanager
    def write(self, epoch: int | None = None) -> Iterator[Tables]:
        """A transaction: what it leaves is committed, unless it raises.

        Raises FencedOut when ``epoch`` is not the newest.
        """
        if epoch is not None and epoch < self.now.epoch:
            raise FencedOut(
                f"The controller of epoch {epoch} was replaced by that of epoch {self.now.epoch}."
            )
        if self.fault is not None:
            raise self.fault
        tables = self.now.copy()
        yield tables
        self.now = tables


def append(tables: Tables, entries: Sequence[JournalEntry]) -> None:
    """Add to the journal; raises TypeError for what is not JSON."""
    if not entries:
        return
    last = tables.journal[-1].id if tables.journal else 0
    kept = (
        replace(entry, at=instant(entry.at), data=plain(entry.data), id=last + number)
        for number, entry in enumerate(entries, start=1)
    )
    tables.journal = (*tables.journal, *kept)


def instant(at: datetime) -> datetime:
    """The moment as it is kept: in UTC, to the millisecond; raises ValueError without a zone."""
    return from_millis(to_millis(at))


def plain(data: dict[str, Any]) -> dict[str, Any]:
    """A copy as JSON would give it back."""
    found: dict[str, Any] = json.loads(json.dumps(data))
    return found


def broken(what: str) -> IntegrityError:
    """The error of a database whose constraints were violated."""
    return IntegrityError(what, {}, Exception(what))


def config_copy(config: EndpointConfig) -> EndpointConfig:
    """A config that shares nothing that can be changed."""
    auto = config.auto_capture
    return EndpointConfig(
        config.version,
        tuple(map(_entity_copy, config.entities)),
        dict(config.weights),
        config.created_at,
        copy.deepcopy(auto) if auto else auto,
    )


def config_kept(config: EndpointConfig) -> EndpointConfig:
    """A new config as it is kept; raises ValueError for a weight that is nobody's."""
    strangers = set(config.weights) - {entity.name for entity in config.entities}
    if strangers:
        raise ValueError(f"weights for entities that are not served: {sorted(strangers)}")
    weights = {
        entity.name: config.weights[entity.name]
        for entity in config.entities
        if entity.name in config.weights
    }
    entities = tuple(
        replace(
            _entity_copy(entity),
            created_at=None if entity.created_at is None else instant(entity.created_at),
            build_log=entity.build_log[-BUILD_LOG_LIMIT:],
        )
        for entity in config.entities
    )
    return replace(
        config_copy(config),
        entities=entities,
        weights=weights,
        created_at=instant(config.created_at),
    )


def _entity_copy(entity: ServedEntity) -> ServedEntity:
    return ServedEntity(
        entity.name,
        entity.entity_name,
        entity.entity_version,
        entity.replicas,
        dict(entity.environment_vars),
        copy.deepcopy(entity.echo) if entity.echo else {},
        entity.model,
        entity.environment,
        entity.deployment,
        entity.deployment_message,
        entity.build_log,
        entity.creator,
        entity.created_at,
        entity.intake,
        entity.optimize,
        entity.form,
        entity.form_reason,
    )
