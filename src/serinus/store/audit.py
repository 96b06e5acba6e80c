"""The audit as it is read: who changed what, and whether the record is whole. It never writes."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select

from serinus.store import access_tables as tables
from serinus.store.acts import NOTHING, hash_of
from serinus.store.database import Database
from serinus.store.instants import from_millis

__all__ = ["Audit", "Checked", "Entry"]

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One recorded change. ``before`` and ``after`` hold only what is different."""

    id: int
    at: datetime
    actor: str
    token_id: str
    action: str
    endpoint: str
    before: dict[str, Any]
    after: dict[str, Any]
    hash: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What a look at the whole chain found."""

    entries: int
    #: The last entry's hash: whoever keeps it elsewhere can tell a shortened record.
    head: str
    #: The first entry that does not follow from the one before, or None.
    broken_at: int | None = None


class Audit:
    """The record of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def entries(
        self, *, endpoint: str | None = None, before: int | None = None, limit: int = 100
    ) -> tuple[Entry, ...]:
        """The newest first; with an id below ``before``."""
        query = select(tables.audit).order_by(tables.audit.c.id.desc()).limit(limit)
        if endpoint is not None:
            query = query.where(tables.audit.c.object == endpoint)
        if before is not None:
            query = query.where(tables.audit.c.id < before)
        with self._database.read() as connection:
            return tuple(_entry(row) for row in connection.execute(query))

    def verify(self) -> Checked:
        """Follow the whole chain: a changed, added or missing entry breaks it."""
        count, head, last = 0, NOTHING, 0
        with self._database.read() as connection:
            while True:
                query = select(tables.audit).where(tables.audit.c.id > last)
                page = connection.execute(query.order_by(tables.audit.c.id).limit(_PAGE)).all()
                for row in page:
                    if row.previous != head or hash_of(row) != row.hash:
                        return Checked(count, head, broken_at=row.id)
                    count, head, last = count + 1, row.hash, row.id
                if len(page) < _PAGE:
                    return Checked(count, head)


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        id=row.id,
        at=from_millis(row.at),
        actor=row.actor,
        token_id=row.token_id,
        action=row.action,
        endpoint=row.object,
        before=json.loads(row.before),
        after=json.loads(row.after),
        hash=row.hash,
    )
