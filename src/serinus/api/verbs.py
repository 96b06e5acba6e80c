"""Whether a verb fits a rollout now, so that its caller is told at once and not by a journal."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from serinus.api.starting import live_rollout
from serinus.errors import InvalidState, ResourceConflict
from serinus.rollout.asked import event_of
from serinus.rollout.machine import decide
from serinus.store.repository import Store
from serinus.store.rollouts import StoredRollout

__all__ = ["check_verb"]


def check_verb(
    store: Store,
    rollout: StoredRollout,
    verb: str,
    actor: str,
    at: datetime,
    data: Mapping[str, Any],
) -> None:
    """Raise InvalidState or ResourceConflict when the verb would be refused."""
    state = rollout.state
    for wish in store.rollouts.wishes():  # what was asked just before and not heard yet
        if wish.rollout_id == state.id:
            try:
                state = decide(state, event_of(wish.verb, wish.actor, wish.at, wish.data)).state
            except InvalidState:  # the controller will refuse it in the same way
                continue
    decide(state, event_of(verb, actor, at, data))
    if verb == "retry":
        _check_retry(store, rollout)


def _check_retry(store: Store, rollout: StoredRollout) -> None:
    """A retry goes from the version that served then; it must be the one that serves now."""
    state = rollout.state
    live = live_rollout(store, rollout.endpoint_id)
    if live is not None:
        raise ResourceConflict(
            f"Rollout {live.state.id} of endpoint '{state.endpoint}' is under way "
            f"({live.state.phase.value}); abort it, or wait for it, before a retry of {state.id}."
        )
    active = store.endpoint(state.endpoint).active
    before = store.config(rollout.endpoint_id, rollout.stable_version)
    was = before.entity(state.stable) if before is not None else None
    now = active.entity(state.stable) if active is not None else None
    same = was is not None and now is not None and was.model == now.model
    if not same or active is None or not active.weights.get(state.stable):
        raise InvalidState(
            f"Rollout {state.id} went from {state.stable}, which does not serve any more; start "
            f"a new rollout with --candidate {state.spec.candidate}."
        )
