"""Live requests kept as evidence: an even sample of each hour, and the first of each refusal.

Bounded by hour and by bytes; where there are too many, whole entities go and not single requests.
What is written is what a replica has redacted. It judges nothing.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, and_, delete, func, insert, or_, select, update

from serinus.evidence.exposure import client_key, request_key
from serinus.parity.live import Record
from serinus.store import tables
from serinus.store.database import Database
from serinus.store.outcomes import Label, Taken

__all__ = ["Sampled", "Samples"]

_table = tables.live_rows
_at = _table.c
#: Answered requests of one served version and hour; refused ones of each kind.
_HOURLY, _REFUSED = 1_000, 20
#: So many entities at least share the room of an hour.
_ENTITIES = 4
#: Of one endpoint.
_MOST_BYTES = 64 << 20
#: So much may be written until the bounds are looked at again.
_SLACK_BYTES = 1 << 20
_OVERHEAD = 200
#: SQLite takes so many bound values in one statement; a row has thirteen.
_AT_ONCE = 50
_PAGE = 500
_KEY = ("endpoint_id", "served_name", "source", "request")
#: Rows that are equal in these share the room of an hour.
_TOGETHER = ("endpoint_id", "served_name", "model_digest", "hour")

#: By the kind of id and the id: the rows of that request.
_Found = dict[tuple[str, int | None], list[dict[str, Any]]]


class _Named(msgspec.Struct, gc=False):
    client_request_id: str | int | None = None


@dataclass(frozen=True, slots=True)
class Sampled:
    """One request that a replica has kept, and what was told of it later."""

    endpoint_id: str
    served_name: str
    #: The replica's incarnation.
    source: str
    model_digest: str
    record: Record
    #: Metric → value.
    outcomes: dict[str, float] = field(default_factory=dict)


class Samples:
    """The part of the store that keeps them; shares its database and its errors."""

    def __init__(
        self, database: Database, *, hourly: int = _HOURLY, most_bytes: int = _MOST_BYTES
    ) -> None:
        self._database = database
        self._hourly = hourly
        self._most_bytes = most_bytes
        self._written = _SLACK_BYTES  # what an earlier process left is looked at first

    def keep(self, some: Iterable[Sampled], *, not_before: int) -> None:
        """Keep those that are not kept yet, within bounds; forget hours before ``not_before``."""
        rows = [_row(each) for each in some]
        with self._database.write() as connection:
            new = _unknown(connection, rows)
            for begin in range(0, len(new), _AT_ONCE):
                connection.execute(insert(_table), new[begin : begin + _AT_ONCE])
            for key in {tuple(row[name] for name in _TOGETHER) for row in new}:
                _thin(connection, key, self._hourly)
            connection.execute(delete(_table).where(_at.hour < not_before))
            self._written += sum(row["size"] for row in new)
            if self._written >= _SLACK_BYTES:
                self._written = 0
                for endpoint_id in {row["endpoint_id"] for row in new}:
                    _shorten(connection, endpoint_id, self._most_bytes)

    def read(
        self, endpoint_id: str, served_name: str, *, model_digest: str = "", since_us: int = 0
    ) -> list[Sampled]:
        """Those of one served entity (and model) from a time on, the oldest first."""
        query = (
            select(_table)
            .where(
                _at.endpoint_id == endpoint_id,
                _at.served_name == served_name,
                _at.hour >= since_us // 3_600_000_000,
                _at.at >= since_us,
            )
            .order_by(_at.at, _at.request)
        )
        if model_digest:
            query = query.where(_at.model_digest == model_digest)
        with self._database.read() as connection:
            found = connection.execute(query).all()
        return [_sampled(row) for row in found]

    def label(self, endpoint_id: str, labels: Sequence[Label]) -> list[Taken]:
        """Take labels; what became of each. A label without a metric has the empty name."""
        with self._database.write() as connection:
            taken = []
            for begin in range(0, len(labels), _PAGE):
                page = labels[begin : begin + _PAGE]
                rows = _asked_for(connection, endpoint_id, page)
                taken += [_label(connection, rows, each) for each in page]
        return taken


def _row(sampled: Sampled) -> dict[str, Any]:
    record = sampled.record
    content = zlib.compress(msgspec.msgpack.encode(record), 1)
    name = record.request_id
    if record.violation:
        # One request may be refused for several reasons.
        name = f"{name}\0{record.violation}\0{record.field}"
    return {
        "endpoint_id": sampled.endpoint_id,
        "served_name": sampled.served_name,
        "source": sampled.source,
        "request": request_key(name.encode("utf-8", "surrogatepass")),
        "client": _client(record),
        "model_digest": sampled.model_digest,
        "hour": int(record.at // 3600),
        "at": int(record.at * 1e6),
        "entity": record.entity,
        "violation": record.violation[:64],
        "size": len(content) + _OVERHEAD,
        "outcomes": None,
        "content": content,
    }


def _client(record: Record) -> int | None:
    if record.body is None or record.format != "JSON" or b'"client_request_id"' not in record.body:
        return None
    try:
        found = msgspec.json.decode(record.body, type=_Named).client_request_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None if found is None else client_key(str(found))


def _sampled(row: Row[Any]) -> Sampled:
    record = msgspec.msgpack.decode(zlib.decompress(row.content), type=Record)
    outcomes = row.outcomes or {}
    return Sampled(row.endpoint_id, row.served_name, row.source, row.model_digest, record, outcomes)


def _place(row: Any) -> tuple[Any, ...]:
    return tuple(row[name] for name in _KEY)


def _unknown(connection: Connection, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each row once, of those that are not there yet."""
    known = set()
    for begin in range(0, len(rows), _PAGE):
        requests = [row["request"] for row in rows[begin : begin + _PAGE]]
        query = select(*[_at[name] for name in _KEY]).where(_at.request.in_(requests))
        known |= {_place(row._mapping) for row in connection.execute(query)}
    return list({_place(row): row for row in rows if _place(row) not in known}.values())


def _thin(connection: Connection, key: tuple[Any, ...], most: int) -> None:
    """Bring one hour of one served version within its bounds."""
    here = and_(*[_at[name] == value for name, value in zip(_TOGETHER, key, strict=True)])
    counts = select(_at.violation, func.count()).where(here).group_by(_at.violation)
    for violation, count in connection.execute(counts).all():
        same = and_(here, _at.violation == violation)
        if not violation and count > most:
            _fewer_entities(connection, same, most)
        elif violation and count > _REFUSED:
            _first(connection, same, _REFUSED)


def _fewer_entities(connection: Connection, same: Any, most: int) -> None:
    """Those with the lowest numbers, of each its first requests: none crowds out all the others."""
    of_one = max(most // _ENTITIES, 1)
    counts = select(_at.entity, func.count()).where(same).group_by(_at.entity)
    left = most
    for entity, count in connection.execute(counts.order_by(_at.entity)).all():
        left -= min(count, of_one)
        if left < 0:
            connection.execute(delete(_table).where(same, _at.entity >= entity))
            return
        if count > of_one:
            _first(connection, and_(same, _at.entity == entity), of_one)


def _first(connection: Connection, same: Any, most: int) -> None:
    """The earliest of them; those of one moment at the limit go together."""
    ordered = select(_at.at).where(same).order_by(_at.at).offset(most).limit(1)
    cut = connection.execute(ordered).scalar_one_or_none()
    if cut is not None:
        connection.execute(delete(_table).where(same, _at.at >= cut))


def _shorten(connection: Connection, endpoint_id: str, most_bytes: int) -> None:
    """Forget the oldest hours of an endpoint that has too many bytes."""
    here = _at.endpoint_id == endpoint_id
    sizes = select(_at.hour, func.sum(_at.size)).where(here).group_by(_at.hour)
    left = most_bytes
    for hour, size in connection.execute(sizes.order_by(_at.hour.desc())).all():
        left -= int(size)
        if left < 0:
            connection.execute(delete(_table).where(here, _at.hour <= hour))
            return


def _asked_for(connection: Connection, endpoint_id: str, labels: Sequence[Label]) -> _Found:
    """The rows that labels may mean, by the kind of id and the id."""
    requests = [each.request for each in labels if each.request is not None]
    clients = [each.client for each in labels if each.client is not None]
    query = select(
        _at.endpoint_id, _at.served_name, _at.source, _at.request, _at.client, _at.outcomes
    ).where(
        _at.endpoint_id == endpoint_id,
        _at.violation == "",
        or_(_at.request.in_(requests), _at.client.in_(clients)),
    )
    found: _Found = {}
    for row in connection.execute(query):
        values = dict(row._mapping)
        found.setdefault(("request", row.request), []).append(values)
        if row.client is not None:
            found.setdefault(("client", row.client), []).append(values)
    return found


def _label(connection: Connection, rows: _Found, label: Label) -> Taken:
    """A copy that a shadow was sent has the same id, and gets the same label."""
    key = ("request", label.request) if label.request is not None else ("client", label.client)
    result = Taken.UNKNOWN
    for row in rows.get(key, []):
        known = row["outcomes"] or {}
        if label.metric in known:
            result = Taken.DUPLICATE if result is Taken.UNKNOWN else result
            continue
        row["outcomes"] = {**known, label.metric: label.value}
        place = and_(*[_at[name] == row[name] for name in _KEY])
        connection.execute(update(_table).where(place).values(outcomes=row["outcomes"]))
        result = Taken.SAMPLED
    return result
