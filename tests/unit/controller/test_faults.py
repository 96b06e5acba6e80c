"""A fault of the controller itself costs one rollout, never the others, and is told."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serinus.controller import facts, rollouts
from serinus.errors import InternalError
from serinus.rollout import machine
from serinus.rollout.events import Observed
from serinus.rollout.state import Phase
from serinus.store.repository import Store
from tests.unit.controller.world import World

SPEC: dict[str, Any] = {
    "guardrails": [],
    "advance": {"after": "1h"},
    "steps": [{"set_weight": "10%"}],
    "notify": [{"webhook": "http://127.0.0.1/hook", "on": ["failed"]}],
}

QUICK: dict[str, Any] = {
    "guardrails": [],
    "advance": {"after": "1s"},
    "step": {"min_duration": "1s", "warmup": "0s"},
    "steps": [{"set_weight": "50%"}],
    "bake": None,
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A rollout with a tenth of the traffic."""
    world = World(tmp_path)
    world.serve(1)
    world.roll_out(2, **SPEC)
    world.until(lambda: world.state().stage_at is not None and world.state().candidate_bp == 1000)
    yield world
    world.close()


def _failed_and_told(world: World) -> None:
    """Stable serves, the person knows, and the next rollout is as good as any."""
    world.until(lambda: world.phase() is Phase.FAILED and bool(world.posted), seconds=30)
    world.messenger.settle()
    weights = {served.name: served.weight_bp for served in world.gateways.now.served}
    assert weights["m-1"] == 10_000
    assert world.posted[0][1]["phase"] == "FAILED"
    assert "rollout_failed" in [each.kind for each in world.store.rollouts.journal("r1")]
    world.roll_out(3, "r2", **QUICK)
    world.until(lambda: world.phase("r2") is Phase.SUCCEEDED)
    weights = {served.name: served.weight_bp for served in world.gateways.now.served}
    assert weights["m-3"] == 10_000


def test_a_broken_decision_fails_its_rollout(world: World, monkeypatch) -> None:
    sound = machine.decide

    def broken(state, event):
        if state.id == "r1" and isinstance(event, Observed):
            raise InternalError("Rollout r1 would go where its table does not allow.")
        return sound(state, event)

    monkeypatch.setattr(rollouts, "decide", broken)
    _failed_and_told(world)
    assert "would go where its table does not allow" in world.state().reason


def test_a_fault_of_any_kind_fails_its_rollout_only(world: World, monkeypatch) -> None:
    sound = facts.facts_of

    def broken(snapshot, view, *args, **kwargs):
        if view.state.id == "r1":
            raise KeyError("no such pool")
        return sound(snapshot, view, *args, **kwargs)

    monkeypatch.setattr(rollouts, "facts_of", broken)
    _failed_and_told(world)
    assert "KeyError" in world.state().reason


def _scribble(directory: Path) -> None:
    """The state of the rollout as no version of the program wrote it."""
    with sqlite3.connect(directory / "serinus.db") as database:
        [(text,)] = database.execute("SELECT state FROM rollouts").fetchall()
        state = json.loads(text) | {"phase": "HALFWAY"}
        database.execute("UPDATE rollouts SET state = ?", (json.dumps(state),))
    database.close()


def test_a_state_that_can_not_be_read_fails_its_rollout(world: World, tmp_path: Path) -> None:
    before = world.state()
    _scribble(tmp_path)
    world.store.close()
    world.store = Store.open(f"sqlite:///{tmp_path / 'serinus.db'}")
    with pytest.raises(InternalError, match="rollout r1 can't be read"):
        world.store.rollouts.get("r1")
    world.start()
    world.turn(2)
    failed = world.state()
    assert (failed.phase, failed.candidate_bp, failed.salt) == (Phase.FAILED, 0, before.salt)
    assert failed.stage > before.stage
    assert "HALFWAY" in failed.reason
    active = world.store.endpoint("e").active
    assert active is not None
    assert active.weights == {"m-1": 10_000}
    assert {served.name: served.weight_bp for served in world.gateways.now.served}["m-1"] == 10_000
    world.roll_out(3, "r2", **QUICK)
    world.until(lambda: world.phase("r2") is Phase.SUCCEEDED)


def test_one_that_is_over_and_can_not_be_read_is_let_be(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.serve(1)
    world.roll_out(2, **QUICK)
    world.until(lambda: world.phase() is Phase.SUCCEEDED)
    _scribble(tmp_path)
    world.store.close()
    world.store = Store.open(f"sqlite:///{tmp_path / 'serinus.db'}")
    world.start()
    world.turn(3)
    assert {served.name: served.weight_bp for served in world.gateways.now.served}["m-2"] == 10_000
    assert world.store.rollouts.journal("r1")[-1].kind != "rollout_failed"
    world.close()
