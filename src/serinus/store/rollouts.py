"""Rollouts in the store: states, wishes, policies, refused models.

A decision and what it changes is one transaction. What it does inside the store (the active
config, a failed update) happens with it; what it does outside (a webhook, a registry alias) is kept
as a message until it is known to have been done.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select, update

from serinus.entities import EndpointConfig
from serinus.errors import ResourceDoesNotExist
from serinus.rollout.events import (
    Activate,
    DropUpdate,
    Effect,
    FailUpdate,
    MoveAlias,
    Notify,
    RememberRefused,
    Revert,
)
from serinus.rollout.state import Phase, RolloutState
from serinus.store import configs, journal, rollout_tables
from serinus.store.database import Database
from serinus.store.instants import from_millis, to_millis
from serinus.store.journal import JournalEntry
from serinus.store.reading import config_at
from serinus.store.rollout_rows import StoredRollout, Unreadable, readable, rollout_of, rollout_row

__all__ = ["Message", "Refusal", "Rollouts", "StaleDecision", "StoredRollout", "Unreadable", "Wish"]

_rollouts, _events = rollout_tables.rollouts, rollout_tables.events
_messages, _policies = rollout_tables.messages, rollout_tables.policies
# A FAILED rollout still routes: a person must look before anything changes.
_ENDED = (Phase.SUCCEEDED.value, Phase.ROLLED_BACK.value)


class StaleDecision(Exception):
    """The rollout has changed since the decision's state was read; decide again."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A verb that somebody asked for: ``promote``, ``pause`` …"""

    id: int
    rollout_id: str
    verb: str
    actor: str
    at: datetime
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a model must not be rolled out again."""

    rollout_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Message:
    """An effect outside the store that is still to be done."""

    id: str
    rollout_id: str
    kind: str
    data: dict[str, Any]
    tries: int


class Rollouts:
    """The part of the store that knows rollouts; shares its database and its errors."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: As last given out by `relevant`; a revision is one state, for ever.
        self._kept: dict[str, StoredRollout] = {}
        self._unreadable: tuple[Unreadable, ...] = ()

    def create(
        self,
        endpoint_name: str,
        target_from: Callable[[int], EndpointConfig],
        rollout_from: Callable[[int, int], RolloutState],
        at: datetime,
        *,
        entries: Sequence[JournalEntry] = (),
    ) -> StoredRollout:
        """Store the target as the endpoint's pending config, and a rollout towards it.

        ``rollout_from`` gets the versions of the stable and of the target config. Raises
        ResourceConflict while another update is in progress.
        """
        with self._database.write() as connection:
            row = configs.live(connection, endpoint_name)
            target = configs.put_pending(connection, row, target_from, at)
            state = rollout_from(row.active_version, target.version)
            stored = StoredRollout(row.id, row.active_version, target.version, state)
            connection.execute(insert(_rollouts).values(rollout_row(stored)))
            journal.append(connection, entries)
            return stored

    def get(self, rollout_id: str) -> StoredRollout:
        """One rollout; raises ResourceDoesNotExist."""
        with self._database.read() as connection:
            row = connection.execute(
                select(_rollouts).where(_rollouts.c.id == rollout_id)
            ).one_or_none()
        if row is None:
            raise ResourceDoesNotExist(f"There is no rollout '{rollout_id}'.")
        return rollout_of(row)

    def of_endpoint(self, endpoint_id: str, *, limit: int = 100) -> tuple[StoredRollout, ...]:
        """The endpoint's rollouts, the newest first."""
        with self._database.read() as connection:
            query = select(_rollouts).where(_rollouts.c.endpoint_id == endpoint_id)
            found = connection.execute(
                query.order_by(
                    _rollouts.c.started_at.desc(), _rollouts.c.target_version.desc()
                ).limit(limit)
            )
            return tuple(rollout_of(row) for row in found)

    def relevant(self, ended_since: datetime) -> tuple[StoredRollout, ...]:
        """All that are under way, and those that ended after ``ended_since``, oldest first.

        Those that can't be read are left out; `unreadable` names them.
        """
        wanted = or_(
            _rollouts.c.phase.not_in(_ENDED), _rollouts.c.ended_at > to_millis(ended_since)
        )
        query = select(_rollouts.c.id, _rollouts.c.revision).where(wanted)
        by_age = query.order_by(_rollouts.c.started_at, _rollouts.c.target_version)
        with self._database.read() as connection:
            revisions: dict[str, int] = {row.id: row.revision for row in connection.execute(by_age)}
            kept = {id_: r for id_, r in self._kept.items() if revisions.get(id_) == r.revision}
            changed = revisions.keys() - kept.keys()
            self._unreadable = ()
            if changed:
                found = connection.execute(select(_rollouts).where(_rollouts.c.id.in_(changed)))
                read = [readable(row) for row in found]
                kept.update((r.state.id, r) for r in read if isinstance(r, StoredRollout))
                self._unreadable = tuple(r for r in read if isinstance(r, Unreadable))
        self._kept = kept
        return tuple(kept[id_] for id_ in revisions if id_ in kept)

    def unreadable(self) -> tuple[Unreadable, ...]:
        """Those under way whose state the last `relevant` could make nothing of."""
        return self._unreadable

    def decide(
        self,
        rollout: StoredRollout,
        state: RolloutState,
        effects: Sequence[Effect],
        at: datetime,
        *,
        epoch: int,
        heard: Sequence[int] = (),
        entries: Sequence[JournalEntry] = (),
    ) -> StoredRollout:
        """Store a decision made from ``rollout``, with its effects, in one transaction.

        ``heard`` are the wishes that it answers. Raises StaleDecision when the rollout changed.
        """
        with self._database.write() as connection:
            configs.fence(connection, epoch)
            after = replace(rollout, state=state, revision=rollout.revision + 1)
            stored = connection.execute(
                update(_rollouts)
                .where(_rollouts.c.id == state.id, _rollouts.c.revision == rollout.revision)
                .values(rollout_row(after))
            )
            if not stored.rowcount:
                raise StaleDecision(state.id)
            if rollout.state.phase.terminal and not state.phase.terminal:
                configs.resume_pending(connection, rollout.endpoint_id, rollout.target_version, at)
            for effect in effects:
                _apply(connection, after, effect, at)
            if heard:
                connection.execute(delete(_events).where(_events.c.id.in_(heard)))
            journal.append(connection, entries)
            return after

    # --- wishes -----------------------------------------------------------------------------

    def wish(
        self, rollout_id: str, verb: str, actor: str, at: datetime, data: dict[str, Any]
    ) -> None:
        """Keep what somebody asks of a rollout until the controller has heard it."""
        with self._database.write() as connection:
            connection.execute(
                insert(_events).values(
                    rollout_id=rollout_id, verb=verb, actor=actor, at=to_millis(at), data=data
                )
            )

    def wishes(self) -> tuple[Wish, ...]:
        """Everything not heard yet, in the order in which it was asked."""
        with self._database.read() as connection:
            found = connection.execute(select(_events).order_by(_events.c.id))
            return tuple(
                Wish(row.id, row.rollout_id, row.verb, row.actor, from_millis(row.at), row.data)
                for row in found
            )

    def drop_wish(self, wish_id: int, *, epoch: int, entries: Sequence[JournalEntry] = ()) -> None:
        """Forget a wish that did not fit the state it met."""
        with self._database.write() as connection:
            configs.fence(connection, epoch)
            connection.execute(delete(_events).where(_events.c.id == wish_id))
            journal.append(connection, entries)

    # --- messages ---------------------------------------------------------------------------

    def messages(self, at: datetime) -> tuple[Message, ...]:
        """Those that are due."""
        with self._database.read() as connection:
            found = connection.execute(
                select(_messages)
                .where(_messages.c.not_before <= to_millis(at))
                .order_by(_messages.c.at)
            )
            return tuple(
                Message(row.id, row.rollout_id, row.kind, row.data, row.tries) for row in found
            )

    def done(self, message_id: str, *, entries: Sequence[JournalEntry] = ()) -> None:
        """The message was delivered, or given up."""
        with self._database.write() as connection:
            connection.execute(delete(_messages).where(_messages.c.id == message_id))
            journal.append(connection, entries)

    def postpone(self, message_id: str, until: datetime) -> None:
        """The message could not be delivered; try again then."""
        with self._database.write() as connection:
            connection.execute(
                update(_messages)
                .where(_messages.c.id == message_id)
                .values(tries=_messages.c.tries + 1, not_before=to_millis(until))
            )

    # --- evidence ---------------------------------------------------------------------------

    def keep_evidence(self, rollout_id: str, key: str, kept: dict[str, Any], at: datetime) -> None:
        """Replace what is kept under ``key``."""
        table = rollout_tables.evidence
        values = {"kept": kept, "updated_at": to_millis(at)}
        with self._database.write() as connection:
            known = connection.execute(update(table).where(table.c.key == key).values(values))
            if not known.rowcount:
                connection.execute(insert(table).values(key=key, rollout_id=rollout_id, **values))

    def evidence(self, key: str) -> dict[str, Any] | None:
        """What is kept under ``key``, or None."""
        table = rollout_tables.evidence
        with self._database.read() as connection:
            query = select(table.c.kept).where(table.c.key == key)
            found: dict[str, Any] | None = connection.execute(query).scalar_one_or_none()
            return found

    # --- policy and refusals ----------------------------------------------------------------

    def policy(self, endpoint_id: str) -> dict[str, Any] | None:
        """The endpoint's policy as it was set, or None."""
        with self._database.read() as connection:
            query = select(_policies.c.policy).where(_policies.c.endpoint_id == endpoint_id)
            found: dict[str, Any] | None = connection.execute(query).scalar_one_or_none()
            return found

    def set_policy(
        self,
        endpoint_id: str,
        policy: dict[str, Any],
        at: datetime,
        *,
        entries: Sequence[JournalEntry] = (),
    ) -> None:
        """Replace the endpoint's policy."""
        values = {"policy": policy, "updated_at": to_millis(at)}
        with self._database.write() as connection:
            known = connection.execute(
                update(_policies).where(_policies.c.endpoint_id == endpoint_id).values(values)
            )
            if not known.rowcount:
                connection.execute(insert(_policies).values(endpoint_id=endpoint_id, **values))
            journal.append(connection, entries)

    def refused(self, endpoint_id: str) -> dict[str, Refusal]:
        """Model digest → which rollout rolled it back last, and why."""
        table = rollout_tables.refusals
        with self._database.read() as connection:
            found = connection.execute(select(table).where(table.c.endpoint_id == endpoint_id))
            return {row.digest: Refusal(row.rollout_id, row.reason) for row in found}

    def journal(
        self, rollout_id: str, *, after: int = 0, limit: int = 1000
    ) -> tuple[JournalEntry, ...]:
        """Entries that speak of this rollout, oldest first."""
        with self._database.read() as connection:
            return journal.read(connection, None, after, limit, rollout_id)

    def entries_back_to(
        self, rollout_id: str, found: Callable[[JournalEntry], bool], limit: int = 20
    ) -> tuple[JournalEntry, ...]:
        """The newest entries of this rollout back to the one looked for, oldest first."""
        with self._database.read() as connection:
            return journal.read_back(connection, rollout_id, found, limit)


def _apply(connection: Connection, rollout: StoredRollout, effect: Effect, at: datetime) -> None:
    endpoint_id, state = rollout.endpoint_id, rollout.state
    match effect:
        case Activate():
            configs.activate(connection, endpoint_id, rollout.target_version, at)
        case Revert():
            configs.copy_to_active(connection, endpoint_id, rollout.stable_version, at)
        case FailUpdate(_, reason):
            configs.fail(connection, endpoint_id, rollout.target_version, reason, at)
        case DropUpdate():
            configs.drop(connection, endpoint_id, rollout.target_version, at)
        case RememberRefused(_, _, reason):
            _refuse(connection, rollout, reason, at)
        case Notify(id_, moment, text):
            data: dict[str, Any] = {"moment": moment.value, "text": text}
            _send(connection, id_, state.id, "notify", data, at)
        case MoveAlias(id_, to):
            _send(connection, id_, state.id, "alias", {"to": to.value}, at)


def _refuse(connection: Connection, rollout: StoredRollout, reason: str, at: datetime) -> None:
    table = rollout_tables.refusals
    target = config_at(connection, rollout.endpoint_id, rollout.target_version)
    entity = target.entity(rollout.state.candidate) if target is not None else None
    if entity is None or entity.model is None:
        return  # it was never fetched: there is nothing to recognise it by
    digest = entity.served_digest
    connection.execute(
        delete(table).where(table.c.endpoint_id == rollout.endpoint_id, table.c.digest == digest)
    )
    connection.execute(
        insert(table).values(
            endpoint_id=rollout.endpoint_id,
            digest=digest,
            rollout_id=rollout.state.id,
            reason=reason,
            at=to_millis(at),
        )
    )


def _send(
    connection: Connection, id_: str, rollout_id: str, kind: str, data: dict[str, Any], at: datetime
) -> None:
    connection.execute(
        insert(_messages).values(
            id=id_,
            rollout_id=rollout_id,
            at=to_millis(at),
            kind=kind,
            data=data,
            tries=0,
            not_before=to_millis(at),
        )
    )
