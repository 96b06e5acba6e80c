"""The journal: what happened, when and by whom. Nothing here changes or deletes an entry."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from serinus.store import tables
from serinus.store.instants import from_millis, to_millis

__all__ = ["JournalEntry", "append", "last_of", "read", "read_back"]


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One thing that happened."""

    #: Who did it: a person's name, or ``controller``.
    actor: str
    #: What happened, e.g. ``config_activated``.
    kind: str
    at: datetime
    endpoint_id: str | None = None
    #: Particulars; JSON values only.
    data: dict[str, Any] = field(default_factory=dict)
    #: Rises with every entry; 0 until it is stored.
    id: int = 0
    rollout_id: str | None = None


def append(connection: Connection, entries: Sequence[JournalEntry]) -> None:
    """Add entries inside the caller's transaction."""
    if not entries:
        return
    connection.execute(
        insert(tables.entries),
        [
            {
                "at": to_millis(entry.at),
                "actor": entry.actor,
                "endpoint_id": entry.endpoint_id,
                "rollout_id": entry.rollout_id,
                "kind": entry.kind,
                "data": entry.data,
            }
            for entry in entries
        ],
    )


def read(
    connection: Connection,
    endpoint_id: str | None,
    after: int,
    limit: int,
    rollout_id: str | None = None,
) -> tuple[JournalEntry, ...]:
    """Entries with an id above ``after``, oldest first; of every endpoint and rollout for None."""
    query = select(tables.entries).where(tables.entries.c.id > after)
    if endpoint_id is not None:
        query = query.where(tables.entries.c.endpoint_id == endpoint_id)
    if rollout_id is not None:
        query = query.where(tables.entries.c.rollout_id == rollout_id)
    rows = connection.execute(query.order_by(tables.entries.c.id).limit(limit))
    return tuple(
        JournalEntry(
            id=row.id,
            at=from_millis(row.at),
            actor=row.actor,
            endpoint_id=row.endpoint_id,
            rollout_id=row.rollout_id,
            kind=row.kind,
            data=row.data,
        )
        for row in rows
    )


def read_back(
    connection: Connection, rollout_id: str, until: Callable[[JournalEntry], bool], limit: int
) -> tuple[JournalEntry, ...]:
    """The newest entries of a rollout back to the one that ``until`` looks for, oldest first.

    One by one: an entry holds all the evidence of its moment, and the newest is mostly enough.
    """
    query = select(tables.entries.c.id).where(tables.entries.c.rollout_id == rollout_id)
    newest = connection.execute(query.order_by(tables.entries.c.id.desc()).limit(limit)).scalars()
    found: list[JournalEntry] = []
    for id_ in newest.all():
        found += read(connection, None, id_ - 1, 1, rollout_id)
        if until(found[-1]):
            break
    return tuple(reversed(found))


def last_of(
    connection: Connection, endpoint_id: str, kind: str, version: str | None = None
) -> JournalEntry | None:
    """The newest entry of one kind that speaks of an endpoint (and of one served version)."""
    of_kind = (tables.entries.c.endpoint_id == endpoint_id) & (tables.entries.c.kind == kind)
    if version is not None:
        of_kind &= tables.entries.c.data["version"].as_string() == version
    query = select(tables.entries.c.id).where(of_kind)
    newest = connection.execute(query.order_by(tables.entries.c.id.desc()).limit(1)).scalar()
    return read(connection, endpoint_id, newest - 1, 1)[0] if newest is not None else None
