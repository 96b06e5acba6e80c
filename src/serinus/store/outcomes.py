"""Exposures of requests, and the outcomes told of them, for as long as a rollout waits for them.

Bounded per rollout; what does not fit is said to have been dropped. It judges nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, or_, select, tuple_, update

from serinus.evidence.exposure import MOST_EXPOSURES, Exposure
from serinus.evidence.outcomes import Settled
from serinus.store import rollout_tables
from serinus.store.database import Database

__all__ = ["Label", "Outcomes", "Taken"]

_exposures, _rollouts = rollout_tables.exposures, rollout_tables.rollouts
#: Rows asked for in one query.
_PAGE = 500


class Taken(Enum):
    """What became of one label."""

    ACCEPTED = "accepted"
    #: The request has one already; the first counts.
    DUPLICATE = "duplicate"
    #: The label window of its request is over.
    TOO_LATE = "too_late"
    #: No rollout waits for it; it is kept with a request that was sampled for diagnoses.
    SAMPLED = "sampled"
    #: No request of that id is kept.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Label:
    """How one request turned out; it is known by one of its two ids."""

    value: float
    request: int | None = None
    client: int | None = None
    #: Empty: the only one that the rollout asks for.
    metric: str = ""


class Outcomes:
    """The part of the store that knows exposures; shares its database and its errors."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: Rows by rollout, as counted at the last purge and since.
        self._sizes: dict[str, int] = {}

    def keep(self, exposures: Iterable[Exposure], *, most: int = MOST_EXPOSURES) -> int:
        """Keep those that are not kept yet; how many there was no room for.

        Of a sticky unit the first one is kept, and of a rollout that is not there none.
        """
        by_rollout: dict[str, list[Exposure]] = {}
        for each in exposures:
            by_rollout.setdefault(each.rollout_id.partition("#")[0], []).append(each)
        dropped = 0
        with self._database.write() as connection:
            for rollout_id, found in by_rollout.items():
                dropped += self._keep(connection, rollout_id, found, most)
        return dropped

    def _keep(
        self, connection: Connection, rollout_id: str, found: list[Exposure], most: int
    ) -> int:
        known = select(_rollouts.c.id).where(_rollouts.c.id == rollout_id)
        if connection.execute(known).one_or_none() is None:
            return 0
        if rollout_id not in self._sizes:
            self._sizes[rollout_id] = _count(connection, rollout_id)
        new = _new(connection, found)
        room = max(0, most - self._sizes[rollout_id])
        fitting = new[:room]
        if fitting:
            connection.execute(insert(_exposures), [_row(rollout_id, each) for each in fitting])
            self._sizes[rollout_id] += len(fitting)
        return len(new) - len(fitting)

    def settled(
        self, key: str, metric: str, after: tuple[int, int], until_us: int, *, limit: int = 5000
    ) -> list[Settled]:
        """Units exposed behind ``after`` (time, request) and up to ``until_us``, in that order."""
        columns = _exposures.c
        query = (
            select(_exposures)
            .where(
                columns.key == key,
                columns.at <= until_us,
                tuple_(columns.at, columns.request) > tuple_(*after),
            )
            .order_by(columns.at, columns.request)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [
                Settled(
                    row.at,
                    row.request,
                    row.on_candidate,
                    row.candidate_bp,
                    (row.outcomes or {}).get(metric),
                )
                for row in connection.execute(query)
            ]

    def label(
        self, labels: Sequence[Label], windows: Mapping[str, Mapping[str, int]], at_us: int
    ) -> list[Taken]:
        """Take labels that have come at ``at_us``; what became of each.

        ``windows``: evidence key → metric → its label window in microseconds.
        """
        with self._database.write() as connection:
            rows = _find(connection, labels, list(windows))
            told: dict[tuple[str, int], dict[str, float]] = {}
            taken = [_take(each, rows, windows, told, at_us) for each in labels]
            if told:
                change = (
                    update(_exposures)
                    .where(
                        _exposures.c.key == bindparam("of_key"),
                        _exposures.c.request == bindparam("of_request"),
                    )
                    .values(outcomes=bindparam("told"))
                )
                connection.execute(
                    change,
                    [
                        {"of_key": key, "of_request": request, "told": values}
                        for (key, request), values in told.items()
                    ],
                )
        return taken

    def purge(self, key: str, before_us: int) -> None:
        """Forget exposures of which no outcome could be told any more."""
        with self._database.write() as connection:
            gone = connection.execute(
                delete(_exposures).where(_exposures.c.key == key, _exposures.c.at < before_us)
            )
            if gone.rowcount:
                self._sizes.pop(key.partition("#")[0], None)


#: By request key, and by client key: rows in order of exposure.
_Found = tuple[dict[int, list[Row[Any]]], dict[int, list[Row[Any]]]]


def _find(connection: Connection, labels: Sequence[Label], keys: list[str]) -> _Found:
    by_request: dict[int, list[Row[Any]]] = {}
    by_client: dict[int, list[Row[Any]]] = {}
    columns = _exposures.c
    for start in range(0, len(labels), _PAGE):
        page = labels[start : start + _PAGE]
        requests = [each.request for each in page if each.request is not None]
        clients = [each.client for each in page if each.client is not None]
        query = (
            select(_exposures)
            .where(
                columns.key.in_(keys),
                or_(columns.request.in_(requests), columns.client.in_(clients)),
            )
            .order_by(columns.at, columns.request)
        )
        for row in connection.execute(query):
            by_request.setdefault(row.request, []).append(row)
            if row.client is not None and row not in by_client.get(row.client, ()):
                by_client.setdefault(row.client, []).append(row)
    return by_request, by_client


def _take(
    label: Label,
    rows: _Found,
    windows: Mapping[str, Mapping[str, int]],
    told: dict[tuple[str, int], dict[str, float]],
    at_us: int,
) -> Taken:
    by_request, by_client = rows
    if label.request is not None:
        found = by_request.get(label.request, [])
    else:
        found = by_client.get(label.client, []) if label.client is not None else []
    result = Taken.UNKNOWN
    for row in found:
        metrics = windows[row.key]
        metric = label.metric or (next(iter(metrics)) if len(metrics) == 1 else "")
        if metric not in metrics:
            continue
        place = (row.key, row.request)
        known = told.get(place, row.outcomes or {})
        if metric in known:
            result = Taken.DUPLICATE
        elif at_us > row.at + metrics[metric]:
            result = Taken.TOO_LATE
        else:
            told[place] = {**known, metric: label.value}
            return Taken.ACCEPTED
    return result


def _new(connection: Connection, found: list[Exposure]) -> list[Exposure]:
    """Those whose request, and whose sticky unit, is not kept yet."""
    requests: set[tuple[str, int]] = set()
    units: set[tuple[str, int]] = set()
    columns = _exposures.c
    for start in range(0, len(found), _PAGE):
        page = found[start : start + _PAGE]
        query = select(columns.key, columns.request, columns.unit).where(
            columns.key.in_({each.rollout_id for each in page}),
            or_(
                columns.request.in_([each.request for each in page]),
                columns.unit.in_([each.unit for each in page if each.unit is not None]),
            ),
        )
        for row in connection.execute(query):
            requests.add((row.key, row.request))
            if row.unit is not None:
                units.add((row.key, row.unit))
    new = []
    for each in sorted(found, key=lambda each: (each.at_us, each.request)):
        request = (each.rollout_id, each.request)
        unit = None if each.unit is None else (each.rollout_id, each.unit)
        if request in requests or unit in units:
            continue
        requests.add(request)
        if unit is not None:
            units.add(unit)
        new.append(each)
    return new


def _count(connection: Connection, rollout_id: str) -> int:
    query = select(func.count()).where(_exposures.c.rollout_id == rollout_id)
    return int(connection.execute(query).scalar_one())


def _row(rollout_id: str, each: Exposure) -> dict[str, Any]:
    return {
        "key": each.rollout_id,
        "request": each.request,
        "rollout_id": rollout_id,
        "client": each.client,
        "unit": each.unit,
        "at": each.at_us,
        "on_candidate": each.on_candidate,
        "stage": each.stage,
        "candidate_bp": each.candidate_bp,
    }
