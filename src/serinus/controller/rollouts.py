"""Moves rollouts: hears what people asked, looks at the world, stores each decision.

The decision is `rollout.machine`'s, the evidence is the judge's; this only brings them together.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from serinus.controller.facts import acknowledged_stage, facts_of
from serinus.controller.faults import give_up
from serinus.controller.groups import Group, groups_of
from serinus.controller.retreats import Retreat, Retreats, is_retreat
from serinus.controller.snapshot import RolloutView, Snapshot
from serinus.entities import Endpoint, EndpointConfig, ServedEntity
from serinus.errors import InternalError, InvalidState, ResourceConflict, SerinusError, described
from serinus.rollout.asked import event_of
from serinus.rollout.events import Event, GuardrailVerdict, Observed, Verdict
from serinus.rollout.machine import decide
from serinus.rollout.replay import facts_mapping, verdicts_mapping
from serinus.rollout.routing import pools
from serinus.rollout.state import Decision, Phase
from serinus.store.failures import STORE_FAULTS
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store
from serinus.store.rollouts import StaleDecision, StoredRollout, Wish

__all__ = ["Desk", "Judge", "Judgement", "advance_rollouts", "views"]

_log = structlog.get_logger("serinus.controller")
#: Ended rollouts are looked at for as long as they may keep something warm.
_WARM_AT_MOST = timedelta(days=8)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the evidence says of one rollout now."""

    verdicts: tuple[GuardrailVerdict, ...] = ()
    #: Shadowed and compared requests of the stage.
    shadow_requests: int = 0
    #: All that was judged by, as JSON values; empty without evidence.
    evidence: dict[str, Any] = field(default_factory=dict)
    #: The exposure that SAFE was asked for.
    next_bp: int = 0


Judge = Callable[[RolloutView, datetime], Judgement]


def views(store: Store, endpoints: Sequence[Endpoint], at: datetime) -> tuple[RolloutView, ...]:
    """Every rollout that still matters, with its two versions; deleted endpoints have none.

    One that has ended matters while it keeps something warm, and when somebody asks for it.
    """
    rollouts = store.rollouts.relevant(at - _WARM_AT_MOST)
    if not rollouts:
        return ()
    living = {endpoint.id: endpoint for endpoint in endpoints if not endpoint.deleted}
    asked: dict[str, list[Wish]] = {}
    for wish in store.rollouts.wishes():
        asked.setdefault(wish.rollout_id, []).append(wish)
    found = []
    for rollout in rollouts:
        endpoint = living.get(rollout.endpoint_id)
        wishes = tuple(asked.get(rollout.state.id, ()))
        if endpoint is None or (_is_cold(rollout, at) and not wishes):
            continue
        stable_config = _config(store, endpoint, rollout.stable_version)
        target_config = _config(store, endpoint, rollout.target_version)
        if stable_config is None or target_config is None:
            continue
        stable = stable_config.entity(rollout.state.stable)
        candidate = target_config.entity(rollout.state.candidate)
        if stable is not None and candidate is not None:
            objection = _objection(store, rollout, stable, candidate)
            found.append(RolloutView(rollout, stable, candidate, objection, wishes))
    return tuple(found)


def _is_cold(rollout: StoredRollout, at: datetime) -> bool:
    """It has ended and keeps nothing warm any more."""
    return rollout.state.phase.terminal and len(pools(rollout.state, at)) == 1


def _config(store: Store, endpoint: Endpoint, version: int) -> EndpointConfig | None:
    for current in (endpoint.active, endpoint.pending):
        if current is not None and current.version == version:
            return current
    return store.config(endpoint.id, version)


def _objection(
    store: Store, rollout: StoredRollout, stable: ServedEntity, candidate: ServedEntity
) -> str:
    """Why this very model must not be rolled out; known only once it is fetched."""
    state = rollout.state
    if state.spec.self_test:
        return ""  # it is meant to be the very model that serves
    if candidate.model is None or state.attempt > 1 or state.phase is not Phase.PENDING:
        return ""
    if stable.served_digest == candidate.served_digest:
        return "it is, byte for byte, the model that serves now"
    refusal = store.rollouts.refused(rollout.endpoint_id).get(candidate.served_digest)
    if refusal is None or refusal.rollout_id == state.id:
        return ""
    return (
        f"rollout {refusal.rollout_id} has rolled this very model back ({refusal.reason}); "
        f"serinus rollout retry {state.endpoint} --id {refusal.rollout_id} takes that one up again"
    )


@dataclass(frozen=True, slots=True)
class Desk:
    """Where decisions are written down, and who is told of a way back that could not be."""

    store: Store
    epoch: int
    retreats: Retreats


def advance_rollouts(snapshot: Snapshot, desk: Desk, judge: Judge) -> bool:
    """One turn of every rollout under way; True when a state changed.

    Raises what the store raises, its faults when every rollout had its turn. A rollout that changed
    meanwhile is left for the next turn.
    """
    fault: SerinusError | None = None
    store, epoch = desk.store, desk.epoch
    changed = False
    groups = groups_of(snapshot)
    for view in snapshot.rollouts:
        try:
            rollout = _advance(snapshot, view, groups, desk, judge)
        except StaleDecision:
            changed = True
            continue
        except STORE_FAULTS as error:
            fault = error  # another one's way back must not wait for it
            continue
        except Exception as error:
            if isinstance(error, SerinusError) and not isinstance(error, InternalError):
                raise  # the store's, or a newer controller's word
            if view.state.phase.terminal:
                raise
            _log.exception("rollout_not_carried_on", rollout=view.state.id)
            reason = described(error)
            rollout = give_up(
                store, store.rollouts.get(view.state.id), reason, snapshot.at, epoch=epoch
            )
        changed = changed or rollout is not view.rollout
    if fault is not None:
        raise fault
    return changed


def _advance(
    snapshot: Snapshot,
    view: RolloutView,
    groups: Mapping[str, Group],
    desk: Desk,
    judge: Judge,
) -> StoredRollout:
    """What was asked of it, then a look; the rollout as it is afterwards."""
    rollout = _heard(desk, view)
    # A wish is looked at in the same turn: what a promote allows begins at once.
    now = replace(view, rollout=rollout)
    if not _is_worth_a_look(snapshot, now):
        return rollout
    judged = _judged(judge, now, snapshot.at)
    facts = facts_of(
        snapshot, now, groups, verdicts=judged.verdicts, shadow_requests=judged.shadow_requests
    )
    event = Observed(snapshot.at, facts)
    return _decide(desk, rollout, event, judged=judged)


def _heard(desk: Desk, view: RolloutView) -> StoredRollout:
    rollout = view.rollout
    for place, wish in enumerate(view.wishes, start=1):
        try:
            rollout = _hear(desk, rollout, wish)
        except STORE_FAULTS:
            # A way back must not wait behind what can't be stored.
            for later in view.wishes[place:]:
                if later.verb == "abort":
                    _hear(desk, rollout, later)
            raise
    return rollout


def _is_worth_a_look(snapshot: Snapshot, view: RolloutView) -> bool:
    """Whether a look at the world can move it.

    On its way back only the gateways' word counts: evidence would take its time for nothing.
    """
    if snapshot.replicas is None or view.state.phase.terminal:
        return False
    returning = view.state.phase is Phase.ROLLING_BACK
    return not returning or acknowledged_stage(snapshot, view) == view.state.stage


def _judged(judge: Judge, view: RolloutView, at: datetime) -> Judgement:
    """The judgement; a judge that fails makes every comparison INVALID, which holds."""
    try:
        return judge(view, at)
    except Exception as error:  # noqa: BLE001 - one rollout's evidence must not stop the others
        _log.exception("evidence_not_judged", rollout=view.state.id)
        reason = f"the evidence can't be judged: {described(error)}"
        return Judgement(
            tuple(
                GuardrailVerdict(guardrail.name, Verdict.INVALID, reason)
                for guardrail in view.state.spec.guardrails
            )
        )


def _hear(desk: Desk, rollout: StoredRollout, wish: Wish) -> StoredRollout:
    event = event_of(wish.verb, wish.actor, wish.at, wish.data)
    try:
        return _decide(desk, rollout, event, wish=wish)
    except (InvalidState, ResourceConflict) as refusal:
        data = {"verb": wish.verb, "why": refusal.message}
        entry = _entry(rollout, "wish_refused", wish.at, data, actor=wish.actor)
        desk.retreats.heard(wish.rollout_id)
        desk.store.rollouts.drop_wish(wish.id, epoch=desk.epoch, entries=[entry])
        _log.warning("wish_refused", rollout=rollout.state.id, verb=wish.verb, why=refusal.message)
        return rollout


def _decide(
    desk: Desk,
    rollout: StoredRollout,
    event: Event,
    *,
    judged: Judgement | None = None,
    wish: Wish | None = None,
) -> StoredRollout:
    decision = decide(rollout.state, event)
    if decision.state == rollout.state and wish is None:
        return rollout
    entry = _journal(rollout, decision, event, judged, wish)
    heard = () if wish is None else (wish.id,)
    act = None if wish is None else desk.retreats.act_of(rollout.state.id)
    decided = Retreat(rollout, decision, event.at, entry, heard, act=act)
    try:
        stored = desk.retreats.keep(decided)
    except STORE_FAULTS as error:
        if is_retreat(rollout, decision):
            desk.retreats.hold(replace(decided, why=error.message))
        raise
    if judged is not None and judged.evidence:
        # What was decided by can be looked at, although evidence is kept only now and then.
        key, at = stored.state.evidence_key, event.at
        desk.store.rollouts.keep_evidence(stored.state.id, key, judged.evidence, at)
    if decision.state.phase is not rollout.state.phase:
        _log.info(
            "rollout_moved",
            rollout=stored.state.id,
            endpoint=stored.state.endpoint,
            phase=stored.state.phase.value,
            reason=stored.state.reason,
        )
    return stored


def _journal(
    rollout: StoredRollout,
    decision: Decision,
    event: Event,
    judged: Judgement | None,
    wish: Wish | None,
) -> JournalEntry:
    before, after = rollout.state, decision.state
    data: dict[str, Any] = {
        "event": wish.verb if wish is not None else type(event).__name__.lower(),
        "from": before.phase.value,
        "to": after.phase.value,
        "stage": after.stage,
        "candidate_bp": after.candidate_bp,
        "shadow_bp": after.shadow_bp,
        "cause": after.cause.value if after.cause else None,
        "reason": after.reason,
        "waiting_for": after.waiting_for,
        "effects": [{"id": each.id, "kind": type(each).__name__} for each in decision.effects],
    }
    # What follows lets `serinus.rollout.replay` come to the same decision, or to another.
    if wish is not None:
        data["asked"] = wish.data
    if isinstance(event, Observed):
        data["facts"] = facts_mapping(event)
    if judged is not None:
        data["verdicts"] = verdicts_mapping(judged.verdicts)
        data["next_bp"] = judged.next_bp
        data["evidence"] = judged.evidence
    actor = wish.actor if wish is not None else "controller"
    return _entry(rollout, "rollout_decided", event.at, data, actor=actor)


def _entry(
    rollout: StoredRollout, kind: str, at: datetime, data: dict[str, Any], *, actor: str
) -> JournalEntry:
    return JournalEntry(actor, kind, at, rollout.endpoint_id, data, rollout_id=rollout.state.id)
