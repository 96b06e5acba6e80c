"""The loop's turns: what one endpoint runs into stops no other."""

from pathlib import Path

from serinus.engine.engine import ReplicaSpec, ReplicaStatus
from serinus.entities import WHOLE, ConfigUpdate, Endpoint, EndpointConfig, ServedEntity
from serinus.testing.engine import FakeEngine
from tests.unit.controller.world import World


class Picky(FakeEngine):
    """It has a fault: one kind of replica makes it raise what no engine should."""

    def ensure(self, spec: ReplicaSpec) -> ReplicaStatus:
        if spec.replica_id.startswith("odd"):
            raise ValueError("'odd one' can't be the id of a replica")
        return super().ensure(spec)


def test_a_fault_of_ours_in_one_endpoint_holds_up_no_other(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.engine = Picky(clock=lambda: world.at)
    world.start()
    config = EndpointConfig(1, (ServedEntity("odd", "m", "7"),), {"odd": WHOLE}, world.at)
    world.store.create_endpoint(
        Endpoint(
            "an-earlier-id",
            "a",
            "me",
            world.at,
            world.at,
            pending=config,
            update=ConfigUpdate.IN_PROGRESS,
        )
    )
    world.turn(4)
    world.serve()  # raises if it never does
    assert world.running() == {"d1"}
    assert world.store.endpoint("a").active is None
    world.close()
