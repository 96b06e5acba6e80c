"""When the controller itself can't carry a rollout on: that one fails, the others go on.

A rollout that fails gives its traffic back to stable and is never taken up again by itself; whoever
runs it is told by its state, the journal and its webhooks.
"""

from dataclasses import replace
from datetime import datetime

import structlog

from serinus.controller.snapshot import Snapshot
from serinus.entities import Endpoint
from serinus.rollout.events import Fault
from serinus.rollout.machine import decide
from serinus.rollout.spec import RolloutSpec
from serinus.rollout.state import begin
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store
from serinus.store.rollouts import StoredRollout, Unreadable

__all__ = ["give_up", "give_up_unreadable"]

_log = structlog.get_logger("serinus.controller")
#: More than one decision ever has effects: ids that nobody has given out begin behind it.
_EFFECTS_A_DECISION = 16


def give_up(
    store: Store, rollout: StoredRollout, reason: str, at: datetime, *, epoch: int
) -> StoredRollout:
    """Let the rollout fail; raises what the store raises."""
    decision = decide(rollout.state, Fault(at, reason))
    failed = decision.state
    entry = JournalEntry(
        "controller",
        "rollout_failed",
        at,
        rollout.endpoint_id,
        {"from": rollout.state.phase.value, "to": failed.phase.value, "reason": failed.reason},
        rollout_id=failed.id,
    )
    stored = store.rollouts.decide(
        rollout, failed, decision.effects, at, epoch=epoch, entries=[entry]
    )
    _log.error("rollout_failed", rollout=failed.id, endpoint=failed.endpoint, reason=reason)
    return stored


def give_up_unreadable(snapshot: Snapshot, store: Store, *, epoch: int) -> bool:
    """Let each rollout fail whose stored state can't be read; True when there was one.

    Left alone, its target would be taken for an update without a rollout, and cut over to.
    """
    endpoints = {endpoint.id: endpoint for endpoint in snapshot.endpoints if not endpoint.deleted}
    broken = [each for each in store.rollouts.unreadable() if each.endpoint_id in endpoints]
    for each in broken:
        rollout = _rebuilt(each, endpoints[each.endpoint_id], snapshot, store)
        reason = f"its stored state can't be read ({each.why})"
        give_up(store, rollout, reason, snapshot.at, epoch=epoch)
    return bool(broken)


def _rebuilt(
    broken: Unreadable, endpoint: Endpoint, snapshot: Snapshot, store: Store
) -> StoredRollout:
    """As much of the rollout as its configs and the published routes still tell."""
    stable = _first_served(store, endpoint.id, broken.stable_version)
    candidate = _first_served(store, endpoint.id, broken.target_version)
    target = store.config(endpoint.id, broken.target_version)
    entity = target.entity(candidate) if target is not None else None
    state = begin(
        id=broken.id,
        endpoint=endpoint.name,
        spec=RolloutSpec(entity.model_uri if entity is not None else ""),
        stable=stable,
        candidate=candidate,
        candidate_digest="",
        config_version=broken.target_version,
        actor="",
        at=broken.started_at,
    )
    active = endpoint.active is not None and endpoint.active.version == broken.target_version
    state = replace(
        state, activated=active, exposed=True, effects=broken.revision * _EFFECTS_A_DECISION
    )
    for routes in snapshot.published.endpoints:
        stage = routes.stage
        if routes.name == endpoint.name and stage is not None:
            state = replace(
                state,
                stable=stage.stable,
                candidate=stage.candidate,
                stage=stage.stage,
                salt=stage.salt,
                candidate_bp=stage.candidate_bp,
                control_bp=stage.control_bp,
                shadow_bp=stage.shadow_bp,
            )
    return StoredRollout(
        broken.endpoint_id, broken.stable_version, broken.target_version, state, broken.revision
    )


def _first_served(store: Store, endpoint_id: str, version: int) -> str:
    """The name with the most weight in a config."""
    config = store.config(endpoint_id, version)
    weights = config.weights if config is not None else {}
    return max(weights, key=lambda name: weights[name], default="")
