"""A turn in which nothing can be to do decides nothing; whatever happens ends the calm."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from serinus.controller.calm import Calm
from serinus.controller.reconcile import reconcile
from serinus.controller.snapshot import Crashes, Publish, SaveEntity, Snapshot
from serinus.engine.engine import ReplicaPhase
from serinus.store.repository import Store
from serinus.traffic import RouteTable
from tests.unit.controller.test_reconcile import AT, POLICY, config, endpoint, entity, replica
from tests.unit.controller.world import World


@pytest.fixture
def settled() -> Snapshot:
    """One endpoint whose replica serves by the routes that it should have."""
    served = entity(deployment_message="batched")
    ready = replica(served, ReplicaPhase.READY)
    snapshot = Snapshot(
        AT, (endpoint(active=config(1, served)),), (ready,), {}, {}, RouteTable(), 0, POLICY
    )
    for number in range(3):
        for action in reconcile(snapshot):
            if isinstance(action, Publish):
                table = RouteTable(number + 1, action.endpoints)
                snapshot = replace(snapshot, published=table, acknowledged=table.generation)
            elif isinstance(action, SaveEntity):
                configs = (endpoint(active=config(1, action.entity)),)
                snapshot = replace(snapshot, endpoints=configs)
    assert reconcile(snapshot) == []
    return snapshot


def test_the_same_look_is_known_however_late(settled: Snapshot) -> None:
    calm = Calm()
    assert not calm.knows(settled)
    calm.note(settled, [])
    assert calm.knows(replace(settled, at=AT + timedelta(days=1)))


@pytest.mark.parametrize(
    "changes",
    [
        {"replicas": ()},
        {"acknowledged": -1},
        {"hung": frozenset({"r1"})},
        {"crashes": {"g": Crashes(1, AT, "")}},
        {"published": RouteTable(9)},
        {"policy": replace(POLICY, epoch=2)},
        {"endpoints": ()},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_whatever_differs_is_looked_at(settled: Snapshot, changes: dict[str, Any]) -> None:
    calm = Calm()
    calm.note(settled, [])
    assert not calm.knows(replace(settled, **changes))


def test_what_goes_on_by_itself_is_never_calm(settled: Snapshot) -> None:
    lately = replace(settled, crashes={"g": Crashes(1, AT - timedelta(seconds=70), "")})
    deleted = replace(settled, endpoints=(endpoint(deleted=True),))
    unknown = replace(settled, replicas=None)
    for snapshot in (lately, deleted, unknown):
        calm = Calm()
        calm.note(snapshot, [])
        assert not calm.knows(snapshot)
    long_ago = replace(settled, crashes={"g": Crashes(1, AT - timedelta(minutes=3), "")})
    calm = Calm()
    calm.note(long_ago, [])
    assert calm.knows(long_ago)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    world.serve(1)
    world.pass_time(300)
    yield world
    world.close()


def test_a_crash_after_a_long_calm_is_made_good(world: World) -> None:
    world.pass_time(3600, turns=3)
    [before] = [each.spec.replica_id for each in world.engine.truth()]
    world.engine.crash(before)
    world.pass_time(1, turns=3)
    [after] = [each.spec.replica_id for each in world.engine.truth()]
    assert after != before


def test_what_another_process_asks_for_after_a_long_calm_is_done(
    world: World, tmp_path: Path
) -> None:
    other = Store.open(f"sqlite:///{tmp_path / 'serinus.db'}")
    other.put_config(
        "e", lambda v: replace(config(v, world.entity(2)), created_at=world.at), world.at
    )
    other.close()
    world.until(lambda: world.gateways.now.route("m-2") is not None, seconds=20)
