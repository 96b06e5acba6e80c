"""Controllers with one bug each. Every one must be caught; see `test_planted`.

A bug is a function that replaces parts of the controller and gives them back at the end.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from serinus.controller import executor, facts, groups, links, loop, messages, reconcile, rollouts
from serinus.controller import observe as observing
from serinus.controller import routes as route
from serinus.controller import snapshot as snapshots
from serinus.controller.snapshot import Activate, Publish
from serinus.engine.engine import EngineUnreachable, ReplicaPhase
from serinus.rollout import consequences, gate, machine, moves, tick, verbs
from serinus.rollout import routing as routings
from serinus.rollout.events import PoolState, Revert
from serinus.rollout.state import Phase, Position
from serinus.testing import configs
from serinus.testing import rollouts as fake_rollouts
from serinus.testing.rollouts import FakeRollouts
from serinus.testing.store import FakeStore

__all__ = ["PLANTED", "Plant"]

#: Puts something in the place of an attribute until the end.
Plant = Callable[[object, str, Any], None]
Bug = Callable[[Plant], None]


def retired_before_acknowledged(plant: Plant) -> None:
    """What is out of the newest table is stopped, whoever still serves by an older one."""
    original = reconcile._retire

    def retire(snapshot, groups_):
        yield from original(replace(snapshot, acknowledged=1 << 60), groups_)

    plant(reconcile, "_retire", retire)


def retired_while_routed(plant: Plant) -> None:
    """It looks neither at the routes nor at who has acknowledged them."""
    original = reconcile._retire

    def retire(snapshot, groups_):
        empty = replace(snapshot.published, endpoints=())
        yield from original(replace(snapshot, published=empty, acknowledged=1 << 60), groups_)

    plant(reconcile, "_retire", retire)


def disconnected_counts_as_acknowledged(plant: Plant) -> None:
    def acknowledged(self):
        newest = self._table.generation if self._table is not None else -1
        connected = [g.acknowledged for g in self._gateways.values() if g.connection is not None]
        return min(connected, default=newest)

    plant(links.GatewayLinks, "acknowledged", acknowledged)


def one_gateway_is_enough(plant: Plant) -> None:
    def acknowledged(self):
        newest = self._table.generation if self._table is not None else -1
        return max((g.acknowledged for g in self._gateways.values()), default=newest)

    plant(links.GatewayLinks, "acknowledged", acknowledged)


def earlier_gateways_forgotten(plant: Plant) -> None:
    """The bug that the simulation found: a new controller takes an unknown gateway for none."""
    plant(links.GatewayLinks, "recall", lambda self: None)


def sent_counts_as_acknowledged(plant: Plant) -> None:
    original = links._send

    def send(gateway, frame):
        original(gateway, frame)
        gateway.acknowledged = 1 << 60

    plant(links, "_send", send)


def active_before_acknowledged(plant: Plant) -> None:
    original = reconcile._route

    def routed(snapshot, groups_, cutting):
        actions = original(snapshot, groups_, cutting)
        return actions + [
            Activate(endpoint.id, endpoint.pending.version)
            for endpoint in snapshot.endpoints
            if endpoint.id in cutting and endpoint.pending is not None
            if not any(isinstance(action, Activate) for action in actions)
        ]

    plant(reconcile, "_route", routed)


def active_in_place_of_routes(plant: Plant) -> None:
    """The pointer moves as soon as all is ready; routes follow."""

    def routed(snapshot, groups_, cutting):
        now = [
            Activate(endpoint.id, endpoint.pending.version)
            for endpoint in snapshot.endpoints
            if endpoint.id in cutting and endpoint.pending is not None
        ]
        routes = route.routes_of(snapshot, groups_, set())
        return now + ([Publish(routes)] if routes != snapshot.published.endpoints else [])

    plant(reconcile, "_route", routed)


def published_without_fence(plant: Plant) -> None:
    original = FakeStore.publish

    def publish(self, endpoints, *, epoch, journal=()):
        return original(self, endpoints, epoch=1 << 60, journal=journal)

    plant(FakeStore, "publish", publish)


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


def entities_saved_without_fence(plant: Plant) -> None:
    original = FakeStore.save_entity

    def save(self, *args, epoch=None, journal=()):
        return original(self, *args, epoch=None, journal=journal)

    plant(FakeStore, "save_entity", save)


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


def stored_and_not_sent(plant: Plant) -> None:
    """The table is stored; the gateways hear of it with the next controller."""
    plant(links.GatewayLinks, "publish", lambda self, table: None)


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

    def decided(store, rollout, event, **rest):
        for effect in machine.decide(rollout.state, event).effects:
            if type(effect).__name__ == "Notify":
                _hand(store)("", {"id": effect.id})
        return original(store, rollout, event, **rest)

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


def crashes_forgotten_each_turn(plant: Plant) -> None:
    original = loop.Loop._observe

    def observed(self, at):
        self._executor.crashes.clear()
        return original(self, at)

    plant(loop.Loop, "_observe", observed)


def deleted_endpoint_routed(plant: Plant) -> None:
    original = route.routes_of

    def routes(snapshot, groups_, cutting):
        back = tuple(replace(each, deleted=False) for each in snapshot.endpoints)
        return original(replace(snapshot, endpoints=back), groups_, cutting)

    plant(reconcile, "routes_of", routes)


def purged_at_once(plant: Plant) -> None:
    original = reconcile.reconcile

    def all_(snapshot):
        gone = [snapshots.Purge(each.id) for each in snapshot.endpoints if each.deleted]
        return [*gone, *original(snapshot)]

    plant(loop, "reconcile", all_)


def failed_update_takes_the_active_down(plant: Plant) -> None:
    original = reconcile._without_pending

    def without(snapshot, ids):
        found = original(snapshot, ids)
        endpoints = tuple(
            replace(each, active=None) if each.id in ids else each for each in found.endpoints
        )
        return replace(found, endpoints=endpoints)

    plant(reconcile, "_without_pending", without)


def reverted_to_the_wrong_version(plant: Plant) -> None:
    original = fake_rollouts._apply

    def apply(tables, rollout, effect, at):
        if isinstance(effect, Revert):
            configs.copy_to_active(tables, rollout.endpoint_id, rollout.target_version, at)
        else:
            original(tables, rollout, effect, at)

    plant(fake_rollouts, "_apply", apply)


def reconcile_cuts_over_what_is_governed(plant: Plant) -> None:
    plant(reconcile, "_governed", lambda *_: False)


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


def older_acknowledgement_accepted(plant: Plant) -> None:
    """Any stage that was acknowledged will do."""

    def stage(snapshot, view):
        return view.state.stage if snapshot.acknowledged >= 0 else -1

    plant(facts, "_acknowledged_stage", stage)


def any_acknowledgement_counts_for_the_newest(plant: Plant) -> None:
    """The generation in it is not looked at."""

    def acknowledge(self, gateway, frame):
        gateway.acknowledged = self._table.generation

    plant(links.GatewayLinks, "_acknowledge", acknowledge)


def rollback_done_unacknowledged(plant: Plant) -> None:
    original = tick.look

    def look(state, event):
        if state.position is Position.BACK:
            return moves.rolled_back(state, event.at)
        return original(state, event)

    plant(machine, "look", look)


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

    def hear(store, rollout, wish, *, epoch):
        store.rollouts.drop_wish(wish.id, epoch=epoch)
        return original(store, rollout, wish, epoch=epoch)

    plant(rollouts, "_hear", hear)


def decision_torn_in_two(plant: Plant) -> None:
    """The new state in one transaction, its effects in the next."""
    original = rollouts._decide

    def decided(store, rollout, event, *, epoch, judged=None, wish=None):
        decision = machine.decide(rollout.state, event)
        if not decision.effects:
            return original(store, rollout, event, epoch=epoch, judged=judged, wish=wish)
        heard = [wish.id] if wish is not None else []
        first = store.rollouts.decide(
            rollout, decision.state, (), event.at, epoch=epoch, heard=heard
        )
        return store.rollouts.decide(first, decision.state, decision.effects, event.at, epoch=epoch)

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


def failure_never_told(plant: Plant) -> None:
    """A candidate that can't be fetched is asked for again and again."""
    plant(executor.Executor, "_fail", lambda self, action, at: self._forget(action.endpoint_id))


def unreachable_means_nothing_runs(plant: Plant) -> None:
    original = observing.observe

    def observed(*args, **kwargs):
        found = original(*args, **kwargs)
        return replace(found, replicas=()) if found.replicas is None else found

    plant(loop, "observe", observed)


def one_failed_action_is_the_last(plant: Plant) -> None:
    """After the engine was out of reach once nothing is carried out any more."""

    def act(self, action, at):
        if not getattr(self._executor, "broken", False):
            try:
                self._executor.execute(action, at)
            except EngineUnreachable:
                self._executor.broken = True

    plant(loop.Loop, "_act", act)


def draining_counts_as_living(plant: Plant) -> None:
    """A replica on its way out still gets requests."""
    original = groups.groups_of

    def all_(snapshot):
        living = tuple(
            replace(each, phase=ReplicaPhase.READY, address="/gone")
            if each.phase is ReplicaPhase.EXITED
            else each
            for each in snapshot.replicas or ()
        )
        return original(replace(snapshot, replicas=living))

    plant(reconcile, "groups_of", all_)
    plant(rollouts, "groups_of", all_)


PLANTED: dict[str, Bug] = {
    bug.__name__: bug
    for bug in (
        retired_before_acknowledged,
        retired_while_routed,
        disconnected_counts_as_acknowledged,
        one_gateway_is_enough,
        earlier_gateways_forgotten,
        sent_counts_as_acknowledged,
        active_before_acknowledged,
        active_in_place_of_routes,
        published_without_fence,
        stale_decision_stored,
        entities_saved_without_fence,
        wish_dropped_without_fence,
        nothing_published_on_rollback,
        stored_and_not_sent,
        weight_to_what_is_not_ready,
        no_data_advances,
        undecided_advances,
        effects_before_stored,
        delivered_again_and_again,
        message_lost_when_undelivered,
        crashes_forgotten_each_turn,
        deleted_endpoint_routed,
        purged_at_once,
        failed_update_takes_the_active_down,
        reverted_to_the_wrong_version,
        reconcile_cuts_over_what_is_governed,
        warm_pool_dropped_at_once,
        winner_kept_for_ever,
        older_acknowledgement_accepted,
        any_acknowledgement_counts_for_the_newest,
        rollback_done_unacknowledged,
        rollback_forgets_the_traffic,
        regression_ignored,
        approval_not_waited_for,
        steps_not_waited_for,
        wish_heard_and_not_kept,
        decision_torn_in_two,
        effect_ids_start_again,
        stage_stands_still,
        failure_never_told,
        unreachable_means_nothing_runs,
        one_failed_action_is_the_last,
        draining_counts_as_living,
    )
}


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """The controller has this bug inside."""
    before: list[tuple[object, str, Any]] = []

    def plant(owner: object, name: str, value: Any) -> None:
        before.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    bug(plant)
    try:
        yield
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)
