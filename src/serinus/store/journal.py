"""The journal: what happened, when and by whom. Nothing here changes or deletes an entry."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from serinus.store import tables
from serinus.store.instants import from_millis, to_millis

__all__ = ["JournalEntry", "append", "read", "read_last"]


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


def read_last(connection: Connection, rollout_id: str, limit: int) -> tuple[JournalEntry, ...]:
    """The newest entries that speak of a rollout, oldest first."""
    query = select(tables.entries.c.id).where(tables.entries.c.rollout_id == rollout_id)
    newest = connection.execute(query.order_by(tables.entries.c.id.desc()).limit(limit)).scalars()
    ids = newest.all()
    return read(connection, None, ids[-1] - 1, limit, rollout_id) if ids else ()
