"""A way back that can't be stored: traffic goes back at once, the record follows."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from serinus.controller.rollouts import Judgement
from serinus.controller.snapshot import RolloutView
from serinus.entities import WHOLE
from serinus.rollout.events import GuardrailVerdict, Verdict
from serinus.rollout.state import Cause, Phase
from serinus.store.acts import Act
from serinus.store.failures import StoreAway, StoreError
from serinus.store.rollouts import Wish
from serinus.testing import FakeStore
from serinus.traffic import RouteTable
from tests.unit.controller.world import World, judge_nothing

FULL = StoreError("The store s can't be used: database or disk is full. Make room on the disk.")
SPEC: dict[str, Any] = {
    "steps": [{"set_weight": "20%"}, {"pause": {}}],
    "guardrails": [],
    "bake": None,
}


@pytest.fixture
def world(tmp_path: Path):
    world = World(tmp_path, store=FakeStore())
    world.serve()
    world.roll_out(2, **SPEC)
    world.until(lambda: world.weights().get("m-2") == 2000)
    yield world
    world.close()


def _full(world: World, *, full: bool = True) -> None:
    world.store.memory.fault = FULL if full else None  # type: ignore[attr-defined]


def _abort(world: World) -> None:
    """As the API does where it could not store the wish."""
    data = {"reason": "it smells"}
    world.loop.retreats.ask(Wish(-1, "r1", "abort", "ann", world.at, data), None)


def test_an_abort_that_can_not_be_stored_takes_traffic_off_all_the_same(world: World) -> None:
    stored = world.store.routes()
    _full(world)
    _abort(world)
    assert (world.loop.retreats.waits("r1"), world.loop.retreats.in_force("r1")) == (True, False)
    world.turn()
    sent = world.gateways.tables[-1]
    assert world.weights() == {"m-1": WHOLE, "m-2": 0}
    assert sent.endpoints[0].stage is not None
    assert sent.endpoints[0].stage.candidate_bp == 0
    # The store knows nothing of it, and the table names no replica that the stored one does not.
    assert world.store.routes() == stored
    assert sent.generation > stored.generation
    assert sent.replica_ids() <= stored.replica_ids()
    assert world.loop.retreats.in_force("r1")
    assert world.phase() is Phase.PROGRESSING
    # It stays like that, and nothing is retired, for as long as the disk is full.
    for _ in range(5):
        world.pass_time(30, turns=1)
    assert world.weights() == {"m-1": WHOLE, "m-2": 0}
    assert len(world.gateways.tables) == len({each.generation for each in world.gateways.tables})
    assert world.gateways.tables[-1] == sent
    assert world.running() == {"d1", "d2"}
    # With room again it is stored, by the one who asked, and ends like any other.
    _full(world, full=False)
    world.until(lambda: world.phase() is Phase.ROLLED_BACK)
    state = world.state()
    assert state.cause is Cause.ABORTED
    assert "ann aborted it" in state.reason
    [entry] = [
        each for each in world.store.rollouts.journal("r1") if each.data.get("event") == "abort"
    ]
    assert (entry.actor, entry.data["held_back_by"]) == ("ann", FULL.message)
    assert world.store.routes().generation > sent.generation
    assert world.weights()["m-1"] == WHOLE
    assert not world.loop.retreats


def test_a_wish_that_was_stored_before_the_disk_was_full_is_heard(world: World) -> None:
    world.store.rollouts.wish("r1", "abort", "ann", world.at, {})
    _full(world)
    world.turn()
    assert world.weights() == {"m-1": WHOLE, "m-2": 0}
    _full(world, full=False)
    world.until(lambda: world.phase() is Phase.ROLLED_BACK)
    assert world.store.rollouts.wishes() == ()
    decided = [each.data.get("event") for each in world.store.rollouts.journal("r1")]
    assert decided.count("abort") == 1


def test_a_way_back_does_not_wait_behind_what_can_not_be_stored(world: World) -> None:
    world.store.rollouts.wish("r1", "promote", "ann", world.at, {})
    _full(world)
    _abort(world)
    world.turn()
    assert world.weights() == {"m-1": WHOLE, "m-2": 0}
    _full(world, full=False)
    world.until(lambda: world.phase() is Phase.ROLLED_BACK)
    assert world.store.rollouts.wishes() == ()
    assert world.weights()["m-1"] == WHOLE


def test_a_table_that_was_stored_reaches_gateways_although_the_answer_was_lost(
    tmp_path: Path,
) -> None:
    class Torn(FakeStore):
        """Goes away just after it has stored the first table in which anybody is served."""

        torn = False

        def publish(self, endpoints: Any, *arguments: Any, **named: Any) -> RouteTable:
            table = super().publish(endpoints, *arguments, **named)
            if not self.torn and any(each.served for each in endpoints):
                self.torn = True
                raise StoreAway("The server went away.")
            return table

    store = Torn()
    world = World(tmp_path, store=store)
    world.serve()
    assert store.torn
    assert world.gateways.tables[-1] == store.routes()
    assert world.weights() == {"m-1": WHOLE}
    world.close()


def test_gateways_that_have_an_unstored_table_are_overtaken_by_the_next_controller(
    world: World,
) -> None:
    """It knows nothing of the abort; but no two tables may have one generation."""
    _full(world)
    _abort(world)
    world.turn()
    unstored = world.gateways.tables[-1].generation
    _full(world, full=False)
    world.start()  # the controller was killed before there was room
    world.turn(2)
    table = world.gateways.tables[-1]
    assert table.generation > unstored
    assert table == world.store.routes()
    generations = [each.generation for each in world.gateways.tables]
    assert generations == sorted(set(generations))
    world.ask("abort")
    world.until(lambda: world.phase() is Phase.ROLLED_BACK)


def test_one_way_back_is_one_table_however_often_it_is_asked_for(world: World) -> None:
    _full(world)
    _abort(world)
    world.turn()
    first = world.gateways.tables[-1]
    world.turn(2)
    assert world.gateways.tables[-1] is first
    # An abort of what goes back already is no second one.
    _abort(world)
    world.turn(2)
    assert world.gateways.tables[-1] is first
    assert world.loop.retreats.in_force("r1")


def test_what_the_evidence_decides_is_in_force_too(world: World) -> None:
    """And stays so, whatever the evidence says later: it was decided."""

    def regressed(view: RolloutView, _: datetime) -> Judgement:
        verdict = GuardrailVerdict("error_rate", Verdict.REGRESSED, "9 of 11 errors")
        return Judgement((verdict,) if view.state.spec.guardrails else ())

    world.store.rollouts.wish("r1", "abort", "ann", world.at, {})
    world.until(lambda: world.phase() is Phase.ROLLED_BACK)
    world.roll_out(3, "r2", **{**SPEC, "guardrails": [{"error_rate": {}}]})
    world.until(lambda: world.weights().get("m-3") == 2000)
    _full(world)
    world.judge = regressed
    world.turn()
    world.judge = judge_nothing
    assert world.weights()["m-3"] == 0
    world.turn(3)
    assert world.weights()["m-3"] == 0
    _full(world, full=False)
    world.until(lambda: world.phase("r2") is Phase.ROLLED_BACK)
    assert world.state("r2").cause is Cause.REGRESSED


def test_an_abort_that_no_longer_fits_is_forgotten(world: World) -> None:
    world.ask("abort")
    world.until(lambda: world.phase() is Phase.ROLLED_BACK)
    _abort(world)
    world.turn(2)
    assert not world.loop.retreats


def test_the_audit_names_who_asked_for_what_was_stored_late(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        world.serve()
        world.roll_out(2, **SPEC)
        world.until(lambda: world.weights().get("m-2") == 2000)
        act = Act("ann", "POST …/abort", world.at, endpoint="e")
        wish = Wish(-1, "r1", "abort", "ann", world.at, {})
        world.loop.retreats.ask(wish, act)
        world.turn()
        assert not world.loop.retreats.waits("r1")
        [entry] = world.store.audit.entries(endpoint="e")
        assert (entry.actor, entry.action) == ("ann", "POST …/abort")
    finally:
        world.close()
