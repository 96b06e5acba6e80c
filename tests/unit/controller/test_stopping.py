"""An endpoint that is stopped and started: routes first, replicas after, the same bytes again."""

from pathlib import Path

import pytest

from serinus.entities import ConfigUpdate
from serinus.traffic import EndpointRoutes
from tests.unit.controller.world import World


@pytest.fixture
def world(tmp_path: Path):
    world = World(tmp_path)
    yield world
    world.close()


def test_replicas_end_only_when_no_gateway_routes_to_them_any_more(world: World) -> None:
    world.serve()
    world.gateways.prompt = False
    world.store.stop_endpoint("e", world.at)
    world.pass_time(1)
    # Told, and not taken up yet: requests still arrive, and are answered.
    assert world.gateways.now == EndpointRoutes("e", (), stopped=True)
    world.pass_time(60)
    assert world.running() == {"d1"}
    world.gateways.prompt = True
    world.gateways.catch_up()
    world.pass_time(1)
    world.pass_time(10)
    assert world.running() == set()
    # Nothing brings it back but the wish.
    world.start()
    world.pass_time(120)
    assert world.running() == set()
    assert world.store.endpoint("e").update is ConfigUpdate.NOT_UPDATING


def test_it_starts_with_the_bytes_that_it_was_stopped_with(world: World) -> None:
    world.serve()
    world.store.stop_endpoint("e", world.at)
    world.pass_time(1)
    world.pass_time(10)
    assert world.running() == set()
    world.unknown.add("models:/m/1")  # the registry has forgotten it; the server has not
    world.store.start_endpoint("e", world.at)
    world.until(lambda: world.store.endpoint("e").update is ConfigUpdate.NOT_UPDATING)
    active = world.store.endpoint("e").active
    assert active is not None
    assert (active.version, world.running()) == (2, {"d1"})
    assert world.weights() == {"m-1": 10_000}
    assert not world.gateways.now.stopped


def test_after_a_rollout_a_stop_ends_what_was_kept_warm_too(world: World) -> None:
    world.serve()
    world.roll_out(2, strategy="blue-green", guardrails=[], bake=None, rollback={"keep_warm": "1h"})
    world.until(lambda: world.phase().terminal)
    world.pass_time(1)
    assert world.running() == {"d1", "d2"}
    world.store.stop_endpoint("e", world.at)
    world.pass_time(1)
    world.pass_time(10)
    assert world.running() == set()
