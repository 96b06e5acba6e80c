"""Live values in the store: one row for each hour, served entity, caller and replica.

A row is what that replica said last, so that writing it again changes nothing. Hours of which no
replica speaks any more are put together. It decides nothing.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select

from serinus.parity.sketch import WHOLE_HOUR, Sketch, pack, unpack
from serinus.store import tables
from serinus.store.database import Database

__all__ = ["LiveHour", "LiveHours", "joined", "without_doubles"]

_table = tables.live_hours
_KEY = ("endpoint_id", "served_name", "hour", "caller", "source")
#: SQLite takes so many bound values in one statement; a row has nine.
_AT_ONCE = 50
#: Bytes of all hours; past it the oldest go.
_MOST_BYTES = 512 << 20
#: The source of hours that were put together begins so.
_JOINED = "joined-"


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

    def __init__(self, database: Database, *, most_bytes: int = _MOST_BYTES) -> None:
        self._database = database
        self._most_bytes = most_bytes

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

    def tidy(self, *, joined_before: int) -> int:
        """Put the callers and replicas of older hours together; how many hours had to go."""
        old = _table.c.hour < joined_before
        with self._database.read() as connection:
            apart = select(_table.c.hour).where(old, ~_table.c.source.startswith(_JOINED))
            hours = connection.execute(apart.distinct().order_by(_table.c.hour)).scalars().all()
        for hour in hours:
            self._join(hour)
        return self._forget()

    def _join(self, hour: int) -> None:
        with self._database.read() as connection:
            found = connection.execute(select(_table).where(_table.c.hour == hour)).all()
        values = [_row(each) for each in joined([_hour(row._mapping) for row in found])]
        with self._database.write() as connection:
            connection.execute(delete(_table).where(_table.c.hour == hour))
            for begin in range(0, len(values), _AT_ONCE):
                connection.execute(_table.insert(), values[begin : begin + _AT_ONCE])

    def _forget(self) -> int:
        """Delete the oldest hours where there are too many bytes."""
        size = func.sum(func.length(_table.c.content))
        sizes = select(_table.c.hour, size).group_by(_table.c.hour)
        left, gone = self._most_bytes, []
        with self._database.read() as connection:
            for hour, bytes_ in connection.execute(sizes.order_by(_table.c.hour.desc())).all():
                left -= int(bytes_)
                if left < 0:
                    gone.append(hour)
        if gone:
            with self._database.write() as connection:
                connection.execute(delete(_table).where(_table.c.hour <= max(gone)))
        return len(gone)


def joined(hours: Sequence[LiveHour]) -> list[LiveHour]:
    """Whole hours: one for each served entity, contract and model."""
    groups: dict[tuple[str, str, str, str, int], list[LiveHour]] = {}
    for each in without_doubles(hours):
        key = (each.endpoint_id, each.served_name, each.contract, each.model_digest, each.hour)
        groups.setdefault(key, []).append(each)
    found = []
    for (endpoint_id, served_name, contract, digest, hour), some in groups.items():
        whole = Sketch()
        for each in some:
            sketch = unpack(each.content)
            if sketch.contract in ("", contract):
                whole.add(sketch)
        source = f"{_JOINED}{digest[:24]}-{contract[:24]}"
        found.append(
            LiveHour(
                endpoint_id,
                served_name,
                hour,
                WHOLE_HOUR,
                source,
                contract,
                digest,
                whole.rows,
                pack(whole),
            )
        )
    return found


def without_doubles(hours: Sequence[LiveHour]) -> list[LiveHour]:
    """Of one replica and hour either the callers or the whole, whichever has more rows."""
    wholes: dict[tuple[str, str, str, int], int] = {}
    parts: dict[tuple[str, str, str, int], int] = {}
    for each in hours:
        rows = wholes if each.caller == WHOLE_HOUR else parts
        key = (each.endpoint_id, each.served_name, each.source, each.hour)
        rows[key] = rows.get(key, 0) + each.rows
    kept = []
    for each in hours:
        key = (each.endpoint_id, each.served_name, each.source, each.hour)
        whole = key not in parts or wholes.get(key, 0) > parts[key]
        if whole == (each.caller == WHOLE_HOUR):
            kept.append(each)
    return kept


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
