"""Gathers what a diagnosis looks at: counts, sampled rows, verification, routes, journal.

What can't be had stays empty, and the diagnosis says so. It judges nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from serinus.api.divided import late_of, shares_of
from serinus.api.identified import Identities, replicas_of
from serinus.api.measured import measured_of
from serinus.api.sampled import refused_of, repeated_of, rows_of
from serinus.api.staged import staged_of
from serinus.api.starting import live_rollout
from serinus.api.switched import switched_units
from serinus.entities import Endpoint, ServedEntity
from serinus.errors import InvalidState, ResourceDoesNotExist
from serinus.parity.diagnosis.offline import Offline
from serinus.parity.diagnosis.values import (
    Event,
    Golden,
    LibraryDifference,
    Replica,
    Routing,
    Scope,
    Snapshot,
)
from serinus.parity.folder import Bundle
from serinus.parity.gates.environment import Difference, lock_differences
from serinus.parity.sketch import Sketch, SliceKey
from serinus.parity.verification import Difference as Reported
from serinus.parity.verification import GateResult
from serinus.parity.wire import Answer, Inspection, Request, Running
from serinus.store.hours import versions_seen
from serinus.store.live import LiveHour
from serinus.store.repository import Store
from serinus.store.samples import Sampled
from serinus.store.verifications import Verified, key_of

__all__ = ["Again", "Apart", "Assembly", "Identities", "entity_of"]

#: ``again(endpoint_id, served_name, requests)``: what a replica answers to the first of these now.
Again = Callable[[str, str, Sequence[Request]], list[Answer]]
#: ``apart(endpoint_id, served_name, requests)``: the first of these, each taken apart alone.
Apart = Callable[[str, str, Sequence[Request]], list[Inspection]]
_HOUR_S = 3600
_EVENTS = 2000
_KEYS = 5000
#: Configs of an endpoint whose models are known by their digest.
_CONFIGS = 20
_EVER = datetime(1970, 1, 2, tzinfo=UTC)
#: How an entry of the journal is told as an event.
_KINDS = (
    ("config", "deploy"),
    ("update", "deploy"),
    ("entity", "deploy"),
    ("rollout", "route"),
    ("routes", "route"),
    ("environment", "environment"),
)


def entity_of(store: Store, endpoint: Endpoint, version: str | None) -> ServedEntity:
    """The served entity of that name, a rollout's candidate included; else that of most weight.

    Raises InvalidState when nothing serves, ResourceDoesNotExist for a name that nothing has.
    """
    config = endpoint.active
    if config is None or not config.entities:
        raise InvalidState(f"Endpoint '{endpoint.name}' serves nothing yet.")
    if version is None:
        return max(config.entities, key=lambda each: config.weights.get(each.name, 0))
    found = config.entity(version)
    if found is None:
        rollout = live_rollout(store, endpoint.id)
        target = store.config(endpoint.id, rollout.target_version) if rollout is not None else None
        found = target.entity(version) if target is not None else None
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
        replicas: Identities,
        again: Again,
        apart: Apart,
        routing: Callable[[str], Routing | None],
    ) -> None:
        self._store = store
        self._refresh = refresh
        self._bundle_of = bundle_of
        self._replicas = replicas
        self._again = again
        self._apart = apart
        self._routing = routing

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
        told = self._replicas(endpoint.id, entity.name)
        routing = self._routing(endpoint.name)
        replicas = replicas_of(entity, bundle, told, hours, until)
        earliest = since - (until - since)
        sampled = self._sampled(endpoint, entity, earliest)
        begin = int(since.timestamp()) // _HOUR_S * _HOUR_S
        records = [each.record for each in sampled if each.record.at >= begin]
        switched, units = switched_units(self._store, endpoint)
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
            replicas=replicas,
            known_digests=self._digests(endpoint),
            shares=shares_of(endpoint, routing),
            late_gateways=late_of(routing),
            switched_units=switched,
            units=units,
            environment=_environment(verified, bundle, told),
            live=_live(hours, bundle.id),
            refused=refused_of(records),
            golden=_golden(verified, replicas),
            offline=offline,
            rows=rows_of(records, bundle.contract).of(caller),
            repeated=repeated_of(records, partial(self._again, endpoint.id, entity.name)),
            staged=staged_of(records, partial(self._apart, endpoint.id, entity.name)),
            events=self._events(endpoint, since, until),
            measured=measured_of(
                sampled, bundle.contract, begin, partial(self._others, endpoint, entity, earliest)
            ),
        )

    def _sampled(self, endpoint: Endpoint, entity: ServedEntity, since: datetime) -> list[Sampled]:
        digest = entity.model.digest if entity.model is not None else ""
        since_us = int(since.timestamp()) // _HOUR_S * _HOUR_S * 1_000_000
        return self._store.samples.read(
            endpoint.id, entity.name, model_digest=digest, since_us=since_us
        )

    def keys(
        self, endpoint: Endpoint, entity: ServedEntity, names: list[str]
    ) -> list[dict[str, object]]:
        """The different values that sampled rows have in some fields."""
        self._refresh()
        found = {
            tuple(row.get(name) for name in names): None
            for each in self._sampled(endpoint, entity, _EVER)
            if not each.record.violation
            for row in each.record.rows
        }
        return [dict(zip(names, each, strict=True)) for each in list(found)[-_KEYS:]]

    def _others(self, endpoint: Endpoint, entity: ServedEntity, since: datetime) -> list[Sampled]:
        """What the endpoint's other models answered."""
        own = entity.model.digest if entity.model is not None else ""
        since_us = int(since.timestamp()) * 1_000_000
        names = sorted({each.name for each in self._entities(endpoint)})
        found = [self._store.samples.read(endpoint.id, each, since_us=since_us) for each in names]
        return [each for some in found for each in some if each.model_digest != own]

    def _digests(self, endpoint: Endpoint) -> frozenset[str]:
        """Of the models that the endpoint serves or has served of late."""
        models = (each.model for each in self._entities(endpoint))
        return frozenset(each.digest for each in models if each is not None)

    def _entities(self, endpoint: Endpoint) -> Iterator[ServedEntity]:
        """All that the endpoint serves or has served of late."""
        newest = max(
            (each.version for each in (endpoint.active, endpoint.pending) if each is not None),
            default=0,
        )
        for version in range(newest, max(0, newest - _CONFIGS), -1):
            config = self._store.config(endpoint.id, version)
            yield from config.entities if config is not None else ()

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


def _live(hours: list[LiveHour], contract: str) -> dict[SliceKey, Sketch]:
    found: dict[SliceKey, Sketch] = {}
    for seen in versions_seen(hours):
        if seen.contract == contract:
            found |= seen.slices
    return found


def _golden(verified: Verified | None, replicas: list[Replica]) -> Golden | None:
    report = verified.report if verified is not None else None
    if verified is None or report is None:
        return None
    who = next((each for each in report.gates if each.name == "identity"), None)
    known = who is not None and who.result is not GateResult.SKIPPED
    equal = who.result is GateResult.PASS if who is not None and known else None
    if any(_is_damaged(each) for each in replicas):
        equal = False
    return Golden(
        gates=report.gates,
        at=verified.started_at,
        rows=report.rows,
        artefact_equal=equal,
    )


def _is_damaged(replica: Replica) -> bool:
    """Whether its files, or the model that it made of them, are not what was pinned."""
    changed = replica.files_digest not in ("", replica.served_digest)
    return changed or bool(replica.strange_parts)


def _environment(
    verified: Verified | None, bundle: Bundle, told: Mapping[str, Running | None]
) -> list[LibraryDifference] | None:
    """What replicas compute with now, beside training's; else what verification found.

    None when neither could look.
    """
    locks = [each.lock for each in told.values() if each is not None and each.lock is not None]
    if locks:
        return list(
            {
                (each.name, each.running): _library(each)
                for lock in locks
                for each in lock_differences(bundle.contract, bundle.lock, lock)
            }.values()
        )
    report = verified.report if verified is not None else None
    if report is None:
        return None
    gate = next((each for each in report.gates if each.name == "environment"), None)
    if gate is None or gate.result is GateResult.SKIPPED:
        return None
    return [_library(each) for each in report.differences]


def _library(found: Difference | Reported) -> LibraryDifference:
    return LibraryDifference(
        name=found.name, trained=found.trained, serving=found.running, matters=found.matters
    )
