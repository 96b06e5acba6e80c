"""Rollouts of a `FakeStore`: states, wishes, messages, policies, refused models, evidence."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

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
from serinus.store.journal import JournalEntry
from serinus.store.rollouts import Message, Refusal, StaleDecision, StoredRollout, Unreadable, Wish
from serinus.testing import configs
from serinus.testing.memory import KeptMessage, Memory, Tables, append, broken, instant, plain

__all__ = ["FakeRollouts"]

_ENDED = (Phase.SUCCEEDED, Phase.ROLLED_BACK)


class FakeRollouts:
    """See `serinus.store.rollouts.Rollouts`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def cascade(self, tables: Tables, endpoint_id: str) -> None:
        """Forget all that belongs to an endpoint which is forgotten."""
        gone = {r.state.id for r in tables.rollouts.values() if r.endpoint_id == endpoint_id}
        for id_ in gone:
            del tables.rollouts[id_]
        tables.wishes = {k: w for k, w in tables.wishes.items() if w.rollout_id not in gone}
        tables.messages = {
            k: m for k, m in tables.messages.items() if m.message.rollout_id not in gone
        }
        tables.evidence = {k: e for k, e in tables.evidence.items() if e[0] not in gone}
        tables.refusals = {k: r for k, r in tables.refusals.items() if k[0] != endpoint_id}
        tables.policies.pop(endpoint_id, None)

    def create(
        self,
        endpoint_name: str,
        target_from: Callable[[int], EndpointConfig],
        rollout_from: Callable[[int, int], RolloutState],
        at: datetime,
        *,
        entries: Sequence[JournalEntry] = (),
    ) -> StoredRollout:
        """See `Rollouts.create`."""
        with self._memory.write() as tables:
            row = configs.live(tables, endpoint_name)
            target = configs.put_pending(tables, row, target_from, at)
            if row.active is None:
                raise broken("rollouts.stable_version is null")
            state = rollout_from(row.active, target.version)
            if state.id in tables.rollouts:
                raise broken("rollouts.id is taken")
            stored = StoredRollout(row.bare.id, row.active, target.version, state)
            tables.rollouts[state.id] = stored
            append(tables, entries)
            return stored

    def get(self, rollout_id: str) -> StoredRollout:
        """See `Rollouts.get`."""
        found = self._memory.now.rollouts.get(rollout_id)
        if found is None:
            raise ResourceDoesNotExist(f"There is no rollout '{rollout_id}'.")
        return found

    def of_endpoint(self, endpoint_id: str, *, limit: int = 100) -> tuple[StoredRollout, ...]:
        """See `Rollouts.of_endpoint`."""
        own = [r for r in self._memory.now.rollouts.values() if r.endpoint_id == endpoint_id]
        own.sort(key=lambda rollout: rollout.state.started_at, reverse=True)
        return tuple(own[:limit])

    def relevant(self, ended_since: datetime) -> tuple[StoredRollout, ...]:
        """See `Rollouts.relevant`."""
        found = [
            rollout
            for rollout in self._memory.now.rollouts.values()
            if rollout.state.phase not in _ENDED
            or (rollout.state.ended_at is not None and rollout.state.ended_at > ended_since)
        ]
        if len(found) > 1:
            found.sort(key=lambda rollout: rollout.state.started_at)
        return tuple(found)

    def unreadable(self) -> tuple[Unreadable, ...]:
        """See `Rollouts.unreadable`; what is kept as a value can always be read."""
        return ()

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
        """See `Rollouts.decide`."""
        with self._memory.write(epoch) as tables:
            known = tables.rollouts.get(state.id)
            if known is None or known.revision != rollout.revision:
                raise StaleDecision(state.id)
            after = replace(rollout, state=state, revision=rollout.revision + 1)
            tables.rollouts[state.id] = after
            if rollout.state.phase.terminal and not state.phase.terminal:
                configs.resume_pending(tables, rollout.endpoint_id, rollout.target_version, at)
            for effect in effects:
                _apply(tables, after, effect, at)
            for wish_id in heard:
                tables.wishes.pop(wish_id, None)
            append(tables, entries)
            return after

    # --- wishes -----------------------------------------------------------------------------

    def wish(
        self, rollout_id: str, verb: str, actor: str, at: datetime, data: dict[str, Any]
    ) -> None:
        """See `Rollouts.wish`."""
        with self._memory.write() as tables:
            if rollout_id not in tables.rollouts:
                raise broken("rollout_events.rollout_id is unknown")
            tables.last_wish += 1
            id_ = tables.last_wish
            tables.wishes[id_] = Wish(id_, rollout_id, verb, actor, instant(at), plain(data))

    def wishes(self) -> tuple[Wish, ...]:
        """See `Rollouts.wishes`."""
        wishes = self._memory.now.wishes.values()
        return tuple(replace(w, data=plain(w.data)) if w.data else w for w in wishes)

    def drop_wish(self, wish_id: int, *, epoch: int, entries: Sequence[JournalEntry] = ()) -> None:
        """See `Rollouts.drop_wish`."""
        with self._memory.write(epoch) as tables:
            tables.wishes.pop(wish_id, None)
            append(tables, entries)

    # --- messages ---------------------------------------------------------------------------

    def messages(self, at: datetime) -> tuple[Message, ...]:
        """See `Rollouts.messages`."""
        due = [kept for kept in self._memory.now.messages.values() if kept.not_before <= at]
        due.sort(key=lambda kept: kept.at)
        return tuple(replace(k.message, data=plain(k.message.data)) for k in due)

    def done(self, message_id: str, *, entries: Sequence[JournalEntry] = ()) -> None:
        """See `Rollouts.done`."""
        with self._memory.write() as tables:
            tables.messages.pop(message_id, None)
            append(tables, entries)

    def postpone(self, message_id: str, until: datetime) -> None:
        """See `Rollouts.postpone`."""
        with self._memory.write() as tables:
            kept = tables.messages.get(message_id)
            if kept is not None:
                tried = replace(kept.message, tries=kept.message.tries + 1)
                later = replace(kept, message=tried, not_before=instant(until))
                tables.messages[message_id] = later

    # --- evidence, policy and refusals --------------------------------------------------------

    def keep_evidence(self, rollout_id: str, key: str, kept: dict[str, Any], at: datetime) -> None:
        """See `Rollouts.keep_evidence`."""
        instant(at)
        with self._memory.write() as tables:
            if rollout_id not in tables.rollouts:
                raise broken("evidence.rollout_id is unknown")
            owner = tables.evidence[key][0] if key in tables.evidence else rollout_id
            tables.evidence[key] = (owner, plain(kept))

    def evidence(self, key: str) -> dict[str, Any] | None:
        """See `Rollouts.evidence`."""
        found = self._memory.now.evidence.get(key)
        return None if found is None else plain(found[1])

    def policy(self, endpoint_id: str) -> dict[str, Any] | None:
        """See `Rollouts.policy`."""
        found = self._memory.now.policies.get(endpoint_id)
        return None if found is None else plain(found)

    def set_policy(
        self,
        endpoint_id: str,
        policy: dict[str, Any],
        at: datetime,
        *,
        entries: Sequence[JournalEntry] = (),
    ) -> None:
        """See `Rollouts.set_policy`."""
        instant(at)
        with self._memory.write() as tables:
            if endpoint_id not in tables.endpoints:
                raise broken("policies.endpoint_id is unknown")
            tables.policies[endpoint_id] = plain(policy)
            append(tables, entries)

    def refused(self, endpoint_id: str) -> dict[str, Refusal]:
        """See `Rollouts.refused`."""
        kept = self._memory.now.refusals
        return {digest: refusal for (of, digest), refusal in kept.items() if of == endpoint_id}

    def journal(
        self, rollout_id: str, *, after: int = 0, limit: int = 1000
    ) -> tuple[JournalEntry, ...]:
        """See `Rollouts.journal`."""
        return self.entries(None, rollout_id, after, limit)

    def entries_back_to(
        self, rollout_id: str, found: Callable[[JournalEntry], bool], limit: int = 20
    ) -> tuple[JournalEntry, ...]:
        """See `Rollouts.entries_back_to`."""
        newest: list[JournalEntry] = []
        for entry in reversed(self.journal(rollout_id, limit=sys.maxsize)):
            if len(newest) == limit:
                break
            newest.append(entry)
            if found(entry):
                break
        return tuple(reversed(newest))

    def entries(
        self, endpoint_id: str | None, rollout_id: str | None, after: int, limit: int
    ) -> tuple[JournalEntry, ...]:
        """Entries with an id above ``after``, oldest first; of everybody for None."""
        found = [
            replace(entry, data=plain(entry.data))
            for entry in self._memory.now.journal
            if entry.id > after
            and endpoint_id in (None, entry.endpoint_id)
            and rollout_id in (None, entry.rollout_id)
        ]
        return tuple(found[:limit])


def _apply(tables: Tables, rollout: StoredRollout, effect: Effect, at: datetime) -> None:
    endpoint_id, state = rollout.endpoint_id, rollout.state
    match effect:
        case Activate():
            configs.activate(tables, endpoint_id, rollout.target_version, at)
        case Revert():
            configs.copy_to_active(tables, endpoint_id, rollout.stable_version, at)
        case FailUpdate(_, reason):
            configs.fail(tables, endpoint_id, rollout.target_version, reason, at)
        case DropUpdate():
            configs.drop(tables, endpoint_id, rollout.target_version, at)
        case RememberRefused(_, _, reason):
            _refuse(tables, rollout, reason)
        case Notify(id_, moment, text):
            _send(tables, id_, state.id, "notify", {"moment": moment.value, "text": text}, at)
        case MoveAlias(id_, to):
            _send(tables, id_, state.id, "alias", {"to": to.value}, at)


def _refuse(tables: Tables, rollout: StoredRollout, reason: str) -> None:
    target = tables.configs.get((rollout.endpoint_id, rollout.target_version))
    entity = target.entity(rollout.state.candidate) if target is not None else None
    if entity is None or entity.model is None:
        return
    key = (rollout.endpoint_id, entity.served_digest)
    tables.refusals[key] = Refusal(rollout.state.id, reason)


def _send(
    tables: Tables, id_: str, rollout_id: str, kind: str, data: dict[str, Any], at: datetime
) -> None:
    if id_ in tables.messages:
        raise broken("rollout_messages.id is taken")
    at = instant(at)
    tables.messages[id_] = KeptMessage(Message(id_, rollout_id, kind, data, 0), at, at)
