"""What `/metrics` shows comes from what the control loop saw and what replicas told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serinus.controller.rollouts import Judgement
from serinus.controller.told import Told
from serinus.engine.engine import ReplicaPhase
from serinus.entities import WHOLE
from serinus.evidence.condition import Batched, ServedCondition
from serinus.parity.live import Live
from serinus.rollout.events import GuardrailVerdict, Verdict
from serinus.rollout.state import Phase
from tests.unit.controller.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def served(world: World) -> dict[str, ServedCondition]:
    return {each.served: each for each in world.diary.condition().served}


def test_nothing_was_seen_before_the_first_turn(world: World) -> None:
    condition = world.diary.condition()
    assert (condition.served, condition.rollouts, condition.gateways) == ([], [], {})


def test_replicas_that_are_wanted_ready_and_started_again_are_counted(world: World) -> None:
    world.serve()
    world.pass_time(5)
    mine = served(world)["m-1"]
    assert (mine.endpoint, mine.weight_bp, mine.wanted) == ("e", WHOLE, 1)
    assert (mine.ready, mine.restarts) == (1, 0)
    [replica] = world.engine.list()
    world.engine.crash(replica.spec.replica_id)
    world.turn()
    mine = served(world)["m-1"]
    assert (mine.ready, mine.restarts) == (0, 1)
    world.until(lambda: served(world)["m-1"].ready == 1)
    assert served(world)["m-1"].restarts == 1
    [replica] = [each for each in world.engine.list() if each.phase is ReplicaPhase.READY]
    world.engine.crash(replica.spec.replica_id)
    world.turn()
    assert served(world)["m-1"].restarts == 2


def test_a_rollout_is_shown_with_its_phase_its_share_and_its_verdicts(world: World) -> None:
    world.serve()

    def judge(*_: object) -> Judgement:
        return Judgement((GuardrailVerdict("error_rate", Verdict.UNDECIDED, "wait"),))

    world.judge = judge
    world.roll_out(2, steps=[{"set_weight": "10%"}, {"set_weight": "50%"}])
    world.until(lambda: world.state().candidate_bp == 1000)
    world.turn(2)
    [rollout] = world.diary.condition().rollouts
    assert (rollout.endpoint, rollout.phase) == ("e", world.phase().value)
    assert rollout.candidate_bp == 1000
    assert rollout.verdicts == {"error_rate": "UNDECIDED"}
    assert {"m-1", "m-2"} <= served(world).keys()
    assert served(world)["m-2"].weight_bp == 1000
    world.ask("abort")
    world.until(lambda: world.phase() is Phase.ROLLED_BACK)
    world.turn()
    shown = world.diary.condition().rollouts
    assert [(each.phase, each.verdicts) for each in shown] in ([("ROLLED_BACK", {})], [])


def test_turns_are_timed_also_those_that_fail(world: World) -> None:
    def fails() -> bool:
        raise OSError

    assert world.diary.timed(lambda: True)() is True
    with pytest.raises(OSError):  # noqa: PT011 - any
        world.diary.timed(fails)()
    turns = world.diary.condition().turns
    assert sum(turns.buckets) == 2
    assert turns.seconds == pytest.approx(2.0)


def test_what_replicas_told_is_added_up_once_and_outlives_them() -> None:
    told = Told()

    def live(incarnation: str, batches: list[int], nan: int = 0, lost: int = 0) -> Live:
        return Live(
            incarnation, 1, "", batches=batches, batched=sum(batches), nan=nan,
            dropped=lost, evicted=2 * lost, failed=3 * lost,
        )  # fmt: skip

    for _ in range(3):
        told.take("id", "m", live("a", [1, 2], nan=1))
    told.take("id", "m", live("a", [2, 2], nan=3))
    told.take("id", "m", live("b", [0, 1, 4], lost=5))
    told.take("id", "other", live("c", [1]))
    assert told.all()["id", "m"] == Batched((2, 3, 4), 9, 3, 0, 5, 10, 15)
    for number in range(200):
        told.take("id", "m", live(f"later-{number}", [1]))
        told.take("id", "other", live(f"later-{number}", [1]))
        told.take("id", "other", live("c", [1]))  # it goes on, however many come and go
    assert told.all()["id", "m"] == Batched((202, 3, 4), 209, 3, 0, 5, 10, 15)
    assert told.all()["id", "other"] == Batched((201,), 201)
    told.keep(frozenset())
    assert told.all() == {}
