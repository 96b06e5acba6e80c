"""Verifications in the store: what the gates found, by what was verified, the last of each.

It decides nothing: whether a report is good enough, and for what, is the controller's.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Row, insert, select, update

from serinus.entities import Optimize, Reading, ServedEntity
from serinus.parity.verification import Verification
from serinus.store import configs, journal, tables
from serinus.store.database import Database
from serinus.store.instants import from_millis, to_millis
from serinus.store.journal import JournalEntry

__all__ = ["Verifications", "Verified", "key_of"]

_table = tables.verifications


@dataclass(frozen=True, slots=True)
class Verified:
    """One verification, under way or ended."""

    #: See `key_of`.
    key: str
    model_digest: str
    #: The rollout's attempt or the endpoint's config that asked.
    asked_for: str
    started_at: datetime
    ended_at: datetime | None = None
    #: None while it runs.
    report: Verification | None = None
    #: What else an answer may depend on: versions and settings of the server.
    settings: str = ""


def key_of(entity: ServedEntity) -> str:
    """What is verified, as one digest: model, environment, variables, form; "" until prepared.

    Endpoints that serve the same share it.
    """
    if entity.model is None or entity.environment is None:
        return ""
    variables = tuple(sorted(entity.environment_vars.items()))
    reading = () if entity.intake is Reading.STRICT else (entity.intake.value,)
    form = () if entity.optimize is Optimize.NONE else (f"optimize {entity.optimize.value}",)
    return _digest(entity.model.digest, entity.environment.digest, variables, *reading, *form)


@lru_cache(maxsize=1 << 12)  # asked several times a turn
def _digest(*identity: object) -> str:
    return hashlib.sha256(msgspec.json.encode(identity)).hexdigest()


class Verifications:
    """The part of the store that knows verifications; shares its database and its errors."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, verified: Verified, *, epoch: int, entries: Sequence[JournalEntry] = ()) -> None:
        """Replace what is known under its key."""
        with self._database.write() as connection:
            configs.fence(connection, epoch)
            values = _row(verified)
            of_key = update(_table).where(_table.c.key == verified.key).values(values)
            if not connection.execute(of_key).rowcount:
                connection.execute(insert(_table).values(values))
            journal.append(connection, entries)

    def of(self, keys: Iterable[str]) -> dict[str, Verified]:
        """What is known of these, by key."""
        wanted = sorted(set(keys))
        if not wanted:
            return {}
        with self._database.read() as connection:
            found = connection.execute(select(_table).where(_table.c.key.in_(wanted)))
            return {row.key: _verified(row) for row in found}


def _row(verified: Verified) -> dict[str, Any]:
    ended, report = verified.ended_at, verified.report
    return {
        "key": verified.key,
        "model_digest": verified.model_digest,
        "asked_for": verified.asked_for,
        "started_at": to_millis(verified.started_at),
        "ended_at": None if ended is None else to_millis(ended),
        "report": None if report is None else msgspec.to_builtins(report),
        "settings": verified.settings,
    }


def _verified(row: Row[Any]) -> Verified:
    return Verified(
        row.key,
        row.model_digest,
        row.asked_for,
        from_millis(row.started_at),
        None if row.ended_at is None else from_millis(row.ended_at),
        None if row.report is None else msgspec.convert(row.report, Verification),
        row.settings,
    )
