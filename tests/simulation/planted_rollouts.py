"""Bugs in how rollouts are decided, heard, stored and told of."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from serinus.controller import (
    facts,
    messages,
    reconcile,
    rollouts,
)
from serinus.controller import routes as route
from serinus.controller import snapshot as snapshots
from serinus.rollout import consequences, gate, machine, moves, tick, verbs
from serinus.rollout import routing as routings
from serinus.rollout.events import PoolState, Revert
from serinus.rollout.state import Phase, Position
from serinus.testing import configs
from serinus.testing import rollouts as fake_rollouts
from serinus.testing.rollouts import FakeRollouts
from tests.simulation.planting import Bug, Plant

__all__ = ["BUGS"]


def stale_decision_stored(plant: Plant) -> None:
    """Neither the epoch nor the revision is looked at."""
    original = FakeRollouts.decide

    def decide(self, rollout, state, effects, at, *, epoch, heard=(), entries=()):
        known = self._memory.now.rollouts.get(state.id, rollout)
        made_from = replace(rollout, revision=known.revision)
        return original(
            self, made_from, state, effects, at, epoch=1 << 60, heard=heard, entries=entries
        )

    plant(FakeRollouts, "decide", decide)


def wish_dropped_without_fence(plant: Plant) -> None:
    """The other bug that the simulation found: a controller that was replaced drops a wish."""
    original = FakeRollouts.drop_wish

    def drop(self, wish_id, *, epoch, entries=()):
        return original(self, wish_id, epoch=1 << 60, entries=entries)

    plant(FakeRollouts, "drop_wish", drop)


def nothing_published_on_rollback(plant: Plant) -> None:
    original = route.routes_of

    def routes(snapshot, groups_, cutting):
        back = any(view.state.phase is Phase.ROLLING_BACK for view in snapshot.rollouts)
        return snapshot.published.endpoints if back else original(snapshot, groups_, cutting)

    plant(reconcile, "routes_of", routes)


def weight_to_what_is_not_ready(plant: Plant) -> None:
    original = tick.look

    def look(state, event):
        return original(
            state, replace(event, facts=replace(event.facts, candidate=PoolState.READY))
        )

    plant(machine, "look", look)


def no_data_advances(plant: Plant) -> None:
    original = gate.gate

    def forgiving(spec, facts_, *, now_bp, next_bp, compare=True, forgive_no_data=False):
        return original(
            spec, facts_, now_bp=now_bp, next_bp=next_bp, compare=compare, forgive_no_data=True
        )

    plant(tick, "gate", forgiving)


def undecided_advances(plant: Plant) -> None:
    plant(gate, "_unproved", lambda each, next_bp: False)


def effects_before_stored(plant: Plant) -> None:
    """The webhook is called as soon as it is decided, before anything is written down."""
    original = rollouts._decide

    def decided(desk, rollout, event, **rest):
        for effect in machine.decide(rollout.state, event).effects:
            if type(effect).__name__ == "Notify":
                _hand(desk.store)("", {"id": effect.id})
        return original(desk, rollout, event, **rest)

    plant(rollouts, "_decide", decided)


def _hand(store: Any) -> Callable[[str, dict[str, str]], None]:
    """The post port of the controller that this store port belongs to."""
    controller: Any = None
    for cell in store.publish.__closure__:
        if hasattr(cell.cell_contents, "messenger"):
            controller = cell.cell_contents
    post: Callable[[str, dict[str, str]], None] = controller.messenger._outside.post
    return post


def delivered_again_and_again(plant: Plant) -> None:
    plant(messages.Messenger, "_done", lambda self, *_: None)


def message_lost_when_undelivered(plant: Plant) -> None:
    def again(self, message, why):
        self._store.rollouts.done(message.id)

    plant(messages.Messenger, "_again", again)


def reverted_to_the_wrong_version(plant: Plant) -> None:
    original = fake_rollouts._apply

    def apply(tables, rollout, effect, at):
        if isinstance(effect, Revert):
            configs.copy_to_active(tables, rollout.endpoint_id, rollout.target_version, at)
        else:
            original(tables, rollout, effect, at)

    plant(fake_rollouts, "_apply", apply)


def warm_pool_dropped_at_once(plant: Plant) -> None:
    original = routings.pools

    def pools(state, at):
        return original(state, at.replace(year=9000) if state.phase.terminal else at)

    plant(snapshots, "pools", pools)


def winner_kept_for_ever(plant: Plant) -> None:
    """The third bug that the simulation found: who won once runs on when it has been replaced."""

    def pools(view, at):
        by_name = {"stable": view.stable, "candidate": view.candidate, "control": view.control}
        return tuple(by_name[name] for name in sorted(routings.pools(view.state, at)))

    plant(snapshots.RolloutView, "pools", pools)
    # A second guard hides it: once nothing else is kept warm, the rollout is not looked at.
    plant(rollouts, "_is_cold", lambda _rollout, _at: False)


def older_acknowledgement_accepted(plant: Plant) -> None:
    """Any stage that was acknowledged will do."""

    def stage(snapshot, view):
        return view.state.stage if snapshot.acknowledged >= 0 else -1

    plant(facts, "acknowledged_stage", stage)
    plant(rollouts, "acknowledged_stage", stage)


def rollback_done_unacknowledged(plant: Plant) -> None:
    original = tick.look

    def look(state, event):
        if state.position is Position.BACK:
            return moves.rolled_back(state, event.at)
        return original(state, event)

    def always(snapshot, view):
        return snapshot.replicas is not None and not view.state.phase.terminal

    plant(machine, "look", look)
    # A second guard hides it: without the gateways' word there is no look on the way back.
    plant(rollouts, "_is_worth_a_look", always)


def rollback_forgets_the_traffic(plant: Plant) -> None:
    def back(state, at, cause, reason):
        return replace(
            moves.roll_back(state, at, cause, reason),
            candidate_bp=state.candidate_bp,
            stage=state.stage,
            stage_at=state.stage_at,
        )

    plant(tick, "roll_back", back)
    plant(verbs, "roll_back", back)


def regression_ignored(plant: Plant) -> None:
    plant(tick, "danger", lambda spec, facts_: None)
    plant(tick, "gate", lambda spec, facts_, **_: None)


def approval_not_waited_for(plant: Plant) -> None:
    plant(tick, "_pause_over", lambda state, at: state.stage_at is not None)


def steps_not_waited_for(plant: Plant) -> None:
    plant(tick, "_lasted", lambda state, at: 1e9)


def wish_heard_and_not_kept(plant: Plant) -> None:
    """The wish is dropped first; a crash in between forgets it."""
    original = rollouts._hear

    def hear(desk, rollout, wish):
        desk.store.rollouts.drop_wish(wish.id, epoch=desk.epoch)
        return original(desk, rollout, wish)

    plant(rollouts, "_hear", hear)


def decision_torn_in_two(plant: Plant) -> None:
    """The new state in one transaction, its effects in the next."""
    original = rollouts._decide

    def decided(desk, rollout, event, *, judged=None, wish=None):
        decision = machine.decide(rollout.state, event)
        if not decision.effects:
            return original(desk, rollout, event, judged=judged, wish=wish)
        store, epoch = desk.store.rollouts, desk.epoch
        heard = [wish.id] if wish is not None else []
        first = store.decide(rollout, decision.state, (), event.at, epoch=epoch, heard=heard)
        return store.decide(first, decision.state, decision.effects, event.at, epoch=epoch)

    plant(rollouts, "_decide", decided)


def effect_ids_start_again(plant: Plant) -> None:
    original = consequences.consequences

    def made(old, new):
        return original(old, replace(new, effects=0))

    plant(machine, "consequences", made)


def stage_stands_still(plant: Plant) -> None:
    """Shares change and the stage does not: what was acknowledged for one counts for the next."""
    original = moves.reroute

    def reroute(state, **shares):
        return replace(original(state, **shares), stage=state.stage, stage_at=state.stage_at)

    plant(moves, "reroute", reroute)


BUGS: tuple[Bug, ...] = (
    stale_decision_stored,
    wish_dropped_without_fence,
    nothing_published_on_rollback,
    weight_to_what_is_not_ready,
    no_data_advances,
    undecided_advances,
    effects_before_stored,
    delivered_again_and_again,
    message_lost_when_undelivered,
    reverted_to_the_wrong_version,
    warm_pool_dropped_at_once,
    winner_kept_for_ever,
    older_acknowledgement_accepted,
    rollback_done_unacknowledged,
    rollback_forgets_the_traffic,
    regression_ignored,
    approval_not_waited_for,
    steps_not_waited_for,
    wish_heard_and_not_kept,
    decision_torn_in_two,
    effect_ids_start_again,
    stage_stands_still,
)
