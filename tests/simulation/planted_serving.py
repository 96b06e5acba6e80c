"""Bugs in what serves: routes and who acknowledged them, configs, replicas, fences."""

from dataclasses import replace

from serinus.controller import (
    executor,
    groups,
    links,
    loop,
    reconcile,
    rollouts,
)
from serinus.controller import observe as observing
from serinus.controller import routes as route
from serinus.controller import snapshot as snapshots
from serinus.controller.snapshot import Activate, Publish
from serinus.engine.engine import EngineUnreachable, ReplicaPhase
from serinus.testing import FakeEngine
from serinus.testing.store import FakeStore
from tests.simulation.planting import Bug, Plant

__all__ = ["BUGS"]


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

    def publish(self, endpoints, grants=(), *, epoch, above=0, journal=()):
        return original(self, endpoints, grants, epoch=1 << 60, above=above, journal=journal)

    plant(FakeStore, "publish", publish)


def entities_saved_without_fence(plant: Plant) -> None:
    original = FakeStore.save_entity

    def save(self, *args, epoch=None, journal=()):
        return original(self, *args, epoch=None, journal=journal)

    plant(FakeStore, "save_entity", save)


def stored_and_not_sent(plant: Plant) -> None:
    """The table is stored; the gateways hear of it with the next controller."""
    plant(links.GatewayLinks, "publish", lambda self, table: None)


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


def reconcile_cuts_over_what_is_governed(plant: Plant) -> None:
    plant(reconcile, "_governed", lambda *_: False)


def any_acknowledgement_counts_for_the_newest(plant: Plant) -> None:
    """The generation in it is not looked at."""

    def acknowledge(self, gateway, frame):
        gateway.acknowledged = self._table.generation

    plant(links.GatewayLinks, "_acknowledge", acknowledge)


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


def stopped_without_fence(plant: Plant) -> None:
    """A controller that was replaced may still end what its successor needs."""
    original = FakeEngine.stop

    def stop(self, replica_id, *, grace_s, fence_epoch):
        original(self, replica_id, grace_s=grace_s, fence_epoch=max(fence_epoch, self.epoch))

    plant(FakeEngine, "stop", stop)


def kept_endpoints_for_ever(plant: Plant) -> None:
    """What was read once is never read again."""
    original = FakeStore.endpoints

    def endpoints(self, *, include_deleted=False):
        return self._given or original(self, include_deleted=include_deleted)

    plant(FakeStore, "endpoints", endpoints)


BUGS: tuple[Bug, ...] = (
    retired_before_acknowledged,
    retired_while_routed,
    disconnected_counts_as_acknowledged,
    one_gateway_is_enough,
    earlier_gateways_forgotten,
    sent_counts_as_acknowledged,
    active_before_acknowledged,
    active_in_place_of_routes,
    published_without_fence,
    entities_saved_without_fence,
    stored_and_not_sent,
    crashes_forgotten_each_turn,
    deleted_endpoint_routed,
    purged_at_once,
    failed_update_takes_the_active_down,
    reconcile_cuts_over_what_is_governed,
    any_acknowledgement_counts_for_the_newest,
    failure_never_told,
    unreachable_means_nothing_runs,
    one_failed_action_is_the_last,
    draining_counts_as_living,
    stopped_without_fence,
    kept_endpoints_for_ever,
)
