"""Gathers what a diagnosis looks at: counts, sampled rows, verification, routes, journal.

What can't be had stays empty, and the diagnosis says so. It judges nothing.
"""

from collections.abc import Callable, Iterable
from datetime import datetime

import numpy as np

from serinus.entities import Endpoint, ServedEntity
from serinus.errors import InvalidState, ResourceDoesNotExist
from serinus.parity.contract import Contract, Field, Kind
from serinus.parity.diagnosis.offline import Offline
from serinus.parity.diagnosis.rows import Rows, column_of
from serinus.parity.diagnosis.values import (
    Event,
    Golden,
    LibraryDifference,
    RefusedExample,
    Replica,
    Scope,
    Snapshot,
)
from serinus.parity.folder import Bundle
from serinus.parity.live import Record
from serinus.parity.sketch import Sketch, SliceKey
from serinus.parity.verification import GateResult
from serinus.store.hours import versions_seen
from serinus.store.live import LiveHour
from serinus.store.repository import Store
from serinus.store.verifications import Verified, key_of

__all__ = ["Assembly", "Evidence", "entity_of"]

#: ``records(endpoint_id, served_name)`` → (served entity, rows that its replicas keep).
Evidence = Callable[[str, str], list[tuple[str, list[Record]]]]
_HOUR_S = 3600
_EVENTS = 2000
_KEYS = 5000
#: How an entry of the journal is told as an event.
_KINDS = (
    ("config", "deploy"),
    ("update", "deploy"),
    ("entity", "deploy"),
    ("rollout", "route"),
    ("routes", "route"),
    ("environment", "environment"),
)


def entity_of(endpoint: Endpoint, version: str | None) -> ServedEntity:
    """The served entity of that name, or the one with most weight.

    Raises InvalidState when nothing serves, ResourceDoesNotExist for a name that nothing has.
    """
    config = endpoint.active
    if config is None or not config.entities:
        raise InvalidState(f"Endpoint '{endpoint.name}' serves nothing yet.")
    if version is None:
        return max(config.entities, key=lambda each: config.weights.get(each.name, 0))
    found = config.entity(version)
    if found is None:
        names = ", ".join(each.name for each in config.entities)
        raise ResourceDoesNotExist(
            f"Endpoint '{endpoint.name}' has no served entity '{version[:80]}'; it has {names}."
        )
    return found


class Assembly:
    """Over one store; see `create_app` for ``refresh`` and ``records``."""

    def __init__(
        self,
        store: Store,
        *,
        refresh: Callable[[], None],
        bundle_of: Callable[[str], Bundle | None],
        records: Evidence,
    ) -> None:
        self._store = store
        self._refresh = refresh
        self._bundle_of = bundle_of
        self._records = records

    def snapshot(
        self,
        endpoint: Endpoint,
        entity: ServedEntity,
        *,
        since: datetime,
        until: datetime,
        caller: str | None = None,
        offline: Offline | None = None,
    ) -> Snapshot:
        """All that is known of one served entity in the window. Raises InvalidState."""
        bundle = self._bundle_of(entity.model.digest) if entity.model is not None else None
        if bundle is None:
            raise InvalidState(
                f"'{entity.name}' has no contract yet by which its values could be judged; wait "
                "until its model is fetched."
            )
        self._refresh()
        hours = self._store.live.read(
            endpoint.id,
            since=int(since.timestamp()) // _HOUR_S,
            served_name=entity.name,
        )
        key = key_of(entity)
        verified = self._store.verifications.of([key] if key else []).get(key)
        rows, refused = self.evidence(endpoint, entity, bundle.contract)
        return Snapshot(
            scope=Scope(
                endpoint=endpoint.name,
                served=entity.name,
                since=since,
                until=until,
                caller=caller,
            ),
            contract=bundle.contract,
            profile=bundle.profile,
            replicas=_replicas(entity, bundle, hours, until),
            environment=_environment(verified),
            live=_live(hours, bundle.id),
            refused=refused,
            golden=_golden(verified),
            offline=offline,
            rows=rows.of(caller),
            events=self._events(endpoint, since, until),
        )

    def evidence(
        self, endpoint: Endpoint, entity: ServedEntity, contract: Contract
    ) -> tuple[Rows, list[RefusedExample]]:
        """The sampled rows of its replicas as columns, and examples of what they refused."""
        records = [each for _, some in self._records(endpoint.id, entity.name) for each in some]
        refused = [
            RefusedExample(
                field=each.field, kind=each.violation, got=each.detail, caller=each.caller
            )
            for each in records
            if each.violation
        ]
        return rows_of([each for each in records if not each.violation], contract), refused

    def keys(
        self, endpoint: Endpoint, entity: ServedEntity, names: list[str]
    ) -> list[dict[str, object]]:
        """The different values that sampled rows have in some fields."""
        records = [each for _, some in self._records(endpoint.id, entity.name) for each in some]
        found = {
            tuple(row.get(name) for name in names): None
            for each in records
            if not each.violation
            for row in each.rows
        }
        return [dict(zip(names, each, strict=True)) for each in list(found)[:_KEYS]]

    def _events(self, endpoint: Endpoint, since: datetime, until: datetime) -> list[Event]:
        found, after = [], 0
        while True:
            page = self._store.journal(endpoint.id, after=after, limit=_EVENTS)
            for entry in page:
                kind = next((word for start, word in _KINDS if entry.kind.startswith(start)), "")
                if kind and entry.at <= until:
                    text = f"{entry.kind.replace('_', ' ')} by {entry.actor}"
                    found.append(Event(at=entry.at, kind=kind, text=text))
            if len(page) < _EVENTS:
                return [each for each in found if each.at >= since] or found[-1:]
            after = page[-1].id


def rows_of(records: Iterable[Record], contract: Contract) -> Rows:
    """Records as columns, the oldest first."""
    flat = [
        (each, f"{each.request_id}/{at}" if at else each.request_id, row)
        for each in sorted(records, key=lambda each: each.at)
        for at, row in enumerate(each.rows)
    ]
    known = {field.name: field for field in contract.fields}
    names = dict.fromkeys([*known, *(name for _, _, row in flat for name in row)])
    return Rows(
        ids=[id_ for _, id_, _ in flat],
        at=np.array([each.at for each, _, _ in flat], dtype=np.float64),
        callers=np.array([each.caller for each, _, _ in flat], dtype=object),
        columns={
            name: column_of(name, _kind(known.get(name)), [row.get(name) for _, _, row in flat])
            for name in names
        },
    )


def _kind(field: Field | None) -> Kind:
    return Kind.TEXT if field is None else field.type.logical


def _live(hours: list[LiveHour], contract: str) -> dict[SliceKey, Sketch]:
    found: dict[SliceKey, Sketch] = {}
    for seen in versions_seen(hours):
        if seen.contract == contract:
            found |= seen.slices
    return found


def _replicas(
    entity: ServedEntity, bundle: Bundle, hours: list[LiveHour], until: datetime
) -> list[Replica]:
    """Those that counted in this hour or the last: who they were when the server connected."""
    recent = int(until.timestamp()) // _HOUR_S - 1
    last = {each.source: each for each in hours if each.hour >= recent}
    return [
        Replica(
            id=source[:16],
            served=entity.name,
            intended_digest=entity.model.digest if entity.model is not None else "",
            served_digest=each.model_digest,
            intended_contract=bundle.id,
            served_contract=each.contract,
        )
        for source, each in sorted(last.items())
    ]


def _golden(verified: Verified | None) -> Golden | None:
    report = verified.report if verified is not None else None
    if verified is None or report is None:
        return None
    who = next((each for each in report.gates if each.name == "identity"), None)
    known = who is not None and who.result is not GateResult.SKIPPED
    return Golden(
        gates=report.gates,
        at=verified.started_at,
        rows=report.rows,
        artefact_equal=who.result is GateResult.PASS if who is not None and known else None,
    )


def _environment(verified: Verified | None) -> list[LibraryDifference] | None:
    """The differences that verification found; None when its gate could not look."""
    report = verified.report if verified is not None else None
    if report is None:
        return None
    gate = next((each for each in report.gates if each.name == "environment"), None)
    if gate is None or gate.result is GateResult.SKIPPED:
        return None
    return [
        LibraryDifference(name=each.name, trained=each.trained, serving=each.running)
        for each in report.differences
    ]
