"""Starts rollouts: stores the target and the rollout towards it, and makes room for it first.

It never touches what serves: what is in the way is asked to go, and goes by its own rules.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from serinus.api.target import Target, TargetOf
from serinus.entities import EndpointConfig, Optimize
from serinus.errors import InvalidState, ResourceConflict
from serinus.rollout.events import Superseded
from serinus.rollout.machine import decide
from serinus.rollout.render import to_mapping
from serinus.rollout.spec import RolloutSpec
from serinus.rollout.state import Phase, RolloutState, begin
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store
from serinus.store.rollouts import StoredRollout

__all__ = ["Starter", "live_rollout"]

_POLL_S = 0.05


def live_rollout(store: Store, endpoint_id: str) -> StoredRollout | None:
    """The endpoint's rollout that is under way, or None."""
    for rollout in store.rollouts.of_endpoint(endpoint_id):
        if not rollout.state.phase.terminal:
            return rollout
    return None


class Starter:
    """Starts rollouts on one store. Its calls may block: they belong in a worker thread."""

    def __init__(
        self,
        store: Store,
        *,
        wake: Callable[[], None],
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        patience_s: float,
    ) -> None:
        """``patience_s``: how long a start waits for a superseded rollout to be rolled back."""
        self._store = store
        self._wake = wake
        self._clock = clock
        self._new_id = new_id
        self._patience_s = patience_s

    def base(self, name: str) -> tuple[EndpointConfig, StoredRollout | None]:
        """The config that the next rollout starts from, and the rollout that has to go first."""
        endpoint = self._store.endpoint(name)
        live = live_rollout(self._store, endpoint.id)
        config = endpoint.active
        if live is not None:  # after its promotion the active config is its target
            config = self._store.config(endpoint.id, live.stable_version)
        if config is None:
            raise InvalidState(
                f"Endpoint '{name}' serves nothing yet, so there is no stable version to roll out "
                f"from. Wait until its first config is ready."
            )
        return config, live

    def start(
        self, name: str, spec: RolloutSpec, target_of: TargetOf, actor: str, *, waive: str = ""
    ) -> StoredRollout:
        """A rollout to what ``target_of`` makes of the config that serves.

        ``waive``: why it needs no verification; empty: it does, if the policy says so.
        Raises ResourceConflict while something else changes the endpoint.
        """
        config, live = self.base(name)
        target = target_of(config)  # whatever speaks against it does so before anything moves
        if live is not None:
            self._make_room(live, target, actor)
        return self._create(name, spec, target_of, actor, waive)

    def _make_room(self, live: StoredRollout, target: Target, actor: str) -> None:
        state, at, by = live.state, self._clock(), target.candidate.model_uri
        told = f"Rollout {state.id} of endpoint '{state.endpoint}'"
        form = target.candidate.optimize
        same = by == state.spec.candidate and form is self._form_of(live)
        if same and state.phase is not Phase.ROLLING_BACK:
            raise ResourceConflict(
                f"{told} rolls {by} out already ({state.phase.value}); wait for it, or abort it."
            )
        decide(state, Superseded(at, by))
        if state.phase is not Phase.ROLLING_BACK:
            self._store.rollouts.wish(state.id, "supersede", actor, at, {"by": by})
        self._wake()
        end = time.monotonic() + self._patience_s
        while not self._store.rollouts.get(state.id).state.phase.terminal:
            if time.monotonic() >= end:
                raise ResourceConflict(
                    f"{told} is being rolled back to make room for {by}. Ask again in a moment."
                )
            time.sleep(_POLL_S)

    def _form_of(self, live: StoredRollout) -> Optimize | None:
        config = self._store.config(live.endpoint_id, live.target_version)
        entity = None if config is None else config.entity(live.state.candidate)
        return None if entity is None else entity.optimize

    def _create(
        self, name: str, spec: RolloutSpec, target_of: TargetOf, actor: str, waive: str
    ) -> StoredRollout:
        config, _ = self.base(name)
        target, at, id_ = target_of(config), self._clock(), self._new_id()
        spec = replace(spec, endpoint=name, candidate=target.candidate.model_uri)

        def rollout(stable_version: int, target_version: int) -> RolloutState:
            if stable_version != config.version:
                raise ResourceConflict(f"Endpoint '{name}' has just changed. Ask again.")
            return begin(
                id=id_,
                endpoint=name,
                spec=spec,
                stable=target.stable.name,
                candidate=target.candidate.name,
                candidate_digest=target.candidate.served_digest,
                config_version=target_version,
                actor=actor,
                at=at,
            )

        data = {
            "stable": target.stable.name,
            "candidate": target.candidate.name,
            "spec": to_mapping(spec),
            "by_time_and_approvals": not spec.guardrails,
        }
        endpoint_id = self._store.endpoint(name).id
        entry = JournalEntry(actor, "rollout_started", at, endpoint_id, data, rollout_id=id_)
        stored = self._store.rollouts.create(
            name, lambda version: target.config(version, at), rollout, at, entries=[entry]
        )
        if waive:  # as if the actor had said so in the next moment
            said = {"waive_verification": waive}
            self._store.rollouts.wish(id_, "approve", actor, at, said)
        self._wake()
        return stored
