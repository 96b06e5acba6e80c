"""Live values in the store: one row for each hour, served entity, caller and replica.

A row is what that replica said last, so that writing it again changes nothing. It decides nothing
and reads no counts.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select

from serinus.store import tables
from serinus.store.database import Database

__all__ = ["LiveHour", "LiveHours"]

_table = tables.live_hours
_KEY = ("endpoint_id", "served_name", "hour", "caller", "source")
#: SQLite takes so many bound values in one statement; a row has nine.
_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class LiveHour:
    """What one replica saw of one caller in one hour."""

    endpoint_id: str
    served_name: str
    #: Whole hours since the epoch.
    hour: int
    caller: str
    #: The replica's incarnation.
    source: str
    contract: str
    model_digest: str
    rows: int
    #: A packed sketch.
    content: bytes


class LiveHours:
    """The part of the store that keeps live values; shares its database and its errors."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, hours: Sequence[LiveHour], *, not_before: int) -> None:
        """Replace what is known under these keys, and forget hours before ``not_before``."""
        # Compressed before the store is locked.
        values = [_row(each) for each in hours]
        with self._database.write() as connection:
            for row in values:
                connection.execute(
                    delete(_table).where(*[_table.c[name] == row[name] for name in _KEY])
                )
            for begin in range(0, len(values), _AT_ONCE):
                connection.execute(_table.insert(), values[begin : begin + _AT_ONCE])
            connection.execute(delete(_table).where(_table.c.hour < not_before))

    def read(
        self, endpoint_id: str, *, since: int, served_name: str = "", caller: str | None = None
    ) -> list[LiveHour]:
        """The hours from ``since`` on; of one served entity or caller when it is named."""
        wanted = select(_table).where(_table.c.endpoint_id == endpoint_id, _table.c.hour >= since)
        if served_name:
            wanted = wanted.where(_table.c.served_name == served_name)
        if caller is not None:
            wanted = wanted.where(_table.c.caller == caller)
        with self._database.read() as connection:
            found = connection.execute(wanted.order_by(_table.c.hour, _table.c.caller)).all()
        return [_hour(row._mapping) for row in found]

    def count(self) -> int:
        """How many rows there are."""
        with self._database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(_table)).scalar_one())


def _row(hour: LiveHour) -> dict[str, Any]:
    return {
        "endpoint_id": hour.endpoint_id,
        "served_name": hour.served_name,
        "hour": hour.hour,
        "caller": hour.caller,
        "source": hour.source,
        "contract": hour.contract,
        "model_digest": hour.model_digest,
        "rows": hour.rows,
        "content": zlib.compress(hour.content, 1),
    }


def _hour(row: Any) -> LiveHour:
    return LiveHour(**{**row, "content": zlib.decompress(row["content"])})
