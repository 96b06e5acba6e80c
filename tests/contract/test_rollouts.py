"""The unmodified databricks-sdk on an endpoint with a policy: its update comes as a rollout.

The controller is the real one over a fake engine, turning in a thread; time is real.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import InvalidParameterValue, OperationFailed
from databricks.sdk.service.serving import (
    EndpointCoreConfigInput,
    EndpointStateConfigUpdate,
    Route,
    ServedEntityInput,
    ServedModelStateDeployment,
    ServingEndpointDetailed,
    TrafficConfig,
)

from serinus.api.app import create_app
from serinus.client import Client
from tests.contract.conftest import listening
from tests.unit.controller.world import World

SHORT = timedelta(seconds=30)
PROGRESS = EndpointStateConfigUpdate.IN_PROGRESS

POLICY: dict[str, Any] = {
    "rollout": {
        "guardrails": [],
        "steps": [{"set_weight": "10%"}, {"pause": {}}, {"set_weight": "50%"}],
        "step": {"min_duration": "50ms", "warmup": 0},
    },
    "direct_updates": "refuse",
}


@dataclass(frozen=True)
class Rolled:
    """A running control API whose controller rolls out, and both clients of it."""

    sdk: WorkspaceClient
    own: Client

    def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.02)

    def until_paused(self) -> None:
        """The rollout waits for approval."""
        self.until(lambda: self.own.rollout("fraud")["cause"] == "approval")


@pytest.fixture
def rolled(tmp_path: Path) -> Iterator[Rolled]:
    world = World(tmp_path)
    world.unknown.add("models:/main.ml.fraud/unknown")
    stopping, woken = threading.Event(), threading.Event()

    def turning() -> None:
        while not stopping.is_set():
            world.at = datetime.now(UTC)
            world.turn()
            woken.wait(0.02)
            woken.clear()

    app = create_app(
        world.store,
        wake=woken.set,
        replica_logs=lambda endpoint_id, served: "",
        clock=lambda: datetime.now(UTC),
        new_id=lambda: uuid4().hex,
        workspace_id="4711",
    )
    thread = threading.Thread(target=turning, daemon=True)
    thread.start()
    try:
        with listening(app) as url, Client(url, actor="ada") as own:
            sdk = WorkspaceClient(host=url, token="x")
            sdk.serving_endpoints.create_and_wait(
                name="fraud", config=EndpointCoreConfigInput("fraud", served_entities=[model("1")])
            )
            own.set_policy("fraud", POLICY)
            yield Rolled(sdk, own)
    finally:
        stopping.set()
        woken.set()
        thread.join(20)
        assert not thread.is_alive()
        world.close()


def model(version: str) -> ServedEntityInput:
    return ServedEntityInput(entity_name="main.ml.fraud", entity_version=version)


def shares(endpoint: ServingEndpointDetailed) -> dict[str, int]:
    return {
        route.served_entity_name: route.traffic_percentage
        for route in endpoint.config.traffic_config.routes
    }


def test_an_update_is_a_rollout_that_ends_well(rolled):
    update = rolled.sdk.serving_endpoints.update_config("fraud", served_entities=[model("2")])
    asked = update.response
    assert asked.state.config_update is PROGRESS
    assert [each.name for each in asked.config.served_entities] == ["fraud-1"]
    assert [each.name for each in asked.pending_config.served_entities] == ["fraud-2"]

    rolled.until_paused()
    between = rolled.sdk.serving_endpoints.get("fraud")
    assert between.state.config_update is PROGRESS
    assert shares(between) == {"fraud-1": 90, "fraud-2": 10}
    assert [each.name for each in between.pending_config.served_entities] == ["fraud-2"]
    ready = [each.state.deployment for each in between.config.served_entities]
    assert ready == [ServedModelStateDeployment.DEPLOYMENT_READY] * 2

    rolled.own.ask("fraud", "approve")
    ended = update.result(timeout=SHORT)
    assert ended.state.config_update is EndpointStateConfigUpdate.NOT_UPDATING
    assert ended.pending_config is None
    assert shares(ended) == {"fraud-2": 100}
    rolled.until(lambda: rolled.own.rollout("fraud")["phase"] == "SUCCEEDED")
    approved = [each for each in rolled.own.journal("fraud") if each["actor"] == "ada"]
    assert [each["data"]["event"] for each in approved] == ["approve"]


def test_an_update_that_is_rolled_back_fails_for_the_client_that_waits(rolled):
    update = rolled.sdk.serving_endpoints.update_config("fraud", served_entities=[model("2")])
    rolled.until_paused()
    # Sent again, as by a client that lost the answer, it is the same rollout.
    asked = rolled.own.rollout("fraud")
    rolled.sdk.serving_endpoints.update_config("fraud", served_entities=[model("2")])
    assert rolled.own.rollout("fraud")["id"] == asked["id"]
    assert rolled.own.rollout("fraud")["cause"] == "approval"
    rolled.own.ask("fraud", "abort", reason="bad numbers")
    with pytest.raises(OperationFailed):
        update.result(timeout=SHORT)
    ended = rolled.sdk.serving_endpoints.get("fraud")
    assert ended.state.config_update is EndpointStateConfigUpdate.UPDATE_FAILED
    assert shares(ended) == {"fraud-1": 100}
    (entity,) = ended.pending_config.served_entities
    assert entity.state.deployment is ServedModelStateDeployment.DEPLOYMENT_ABORTED
    assert "bad numbers" in entity.state.deployment_state_message


def test_a_version_that_can_not_be_had_fails_the_update(rolled):
    with pytest.raises(OperationFailed):
        rolled.sdk.serving_endpoints.update_config_and_wait(
            "fraud", served_entities=[model("unknown")], timeout=SHORT
        )
    ended = rolled.sdk.serving_endpoints.get("fraud")
    assert ended.state.config_update is EndpointStateConfigUpdate.UPDATE_FAILED
    assert shares(ended) == {"fraud-1": 100}


def test_a_direct_way_to_users_is_refused_in_words(rolled):
    split = TrafficConfig(
        routes=[
            Route(served_entity_name="fraud-1", traffic_percentage=50),
            Route(served_entity_name="fraud-2", traffic_percentage=50),
        ]
    )
    with pytest.raises(InvalidParameterValue, match="serinus rollout start fraud --candidate"):
        rolled.sdk.serving_endpoints.update_config(
            "fraud", served_entities=[model("1"), model("2")], traffic_config=split
        )


def test_a_newer_update_takes_the_place_of_the_older(rolled):
    rolled.sdk.serving_endpoints.update_config("fraud", served_entities=[model("2")])
    rolled.until_paused()
    newer = rolled.sdk.serving_endpoints.update_config("fraud", served_entities=[model("3")])
    assert newer.response.state.config_update is PROGRESS
    rolled.until_paused()
    assert shares(rolled.sdk.serving_endpoints.get("fraud")) == {"fraud-1": 90, "fraud-3": 10}
    rolled.own.ask("fraud", "promote", full=True)
    assert shares(newer.result(timeout=SHORT)) == {"fraud-3": 100}


def test_undo_after_an_update(rolled):
    update = rolled.sdk.serving_endpoints.update_config("fraud", served_entities=[model("2")])
    rolled.until_paused()
    rolled.own.ask("fraud", "promote", full=True)
    update.result(timeout=SHORT)
    rolled.until(lambda: rolled.own.rollout("fraud")["phase"] == "SUCCEEDED")
    undone = rolled.own.undo("fraud")
    rolled.until(lambda: rolled.own.rollout("fraud", undone["id"])["phase"] == "SUCCEEDED")
    assert shares(rolled.sdk.serving_endpoints.get("fraud")) == {"fraud-1": 100}
