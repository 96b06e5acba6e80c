"""Which of several replicas answers, and what is left when some of them die."""

import asyncio
from collections import Counter

from serinus.entities import WHOLE
from serinus.errors import SerinusError
from serinus.evidence.summary import Arm
from serinus.replica.protocol import Frame, Kind
from serinus.traffic import StageRoute
from tests.unit.gateway.plane import Stage, run, served, until
from tests.unit.gateway.stand_in import StandIn, echo


async def _three(stage: Stage, **limits: float) -> list[StandIn]:
    replicas = [await stage.replica(f"r{number}") for number in range(3)]
    await stage.route(1, served("a", WHOLE, *replicas, **limits))
    return replicas


def _answered(replicas: list[StandIn]) -> list[int]:
    return [len(each.received) for each in replicas]


def test_equals_take_turns() -> None:
    async def scenario(stage: Stage) -> None:
        replicas = await _three(stage)
        for _ in range(9):
            await stage.ask()
        assert _answered(replicas) == [3, 3, 3]

    run(scenario)


def test_a_new_table_does_not_begin_the_turns_anew() -> None:
    async def scenario(stage: Stage) -> None:
        replicas = await _three(stage)
        for generation in range(2, 8):  # one request under each
            await stage.route(generation, served("a", WHOLE, *replicas, queue_limit=generation))
            await stage.ask()
        assert _answered(replicas) == [2, 2, 2]

    run(scenario)


def test_a_replica_that_joins_gets_its_share_and_not_all() -> None:
    async def scenario(stage: Stage) -> None:
        replicas = await _three(stage)
        for _ in range(30):
            await stage.ask()
        replicas.append(await stage.replica("r9"))
        await stage.route(2, served("a", WHOLE, *replicas))
        for _ in range(8):
            await stage.ask()
        assert _answered(replicas) == [12, 12, 12, 2]

    run(scenario)


def test_requests_at_once_are_spread_by_what_is_in_flight() -> None:
    async def scenario(stage: Stage) -> None:
        replicas = await _three(stage, deadline_s=5.0)
        slow = replicas[0]
        slow.answer = lambda _: None
        stuck = [asyncio.create_task(stage.ask(b"stuck")) for _ in range(3)]
        await until(lambda: len(slow.received) == 1)
        await until(lambda: sum(_answered(replicas)) == 3)
        for _ in range(10):  # the one that does not answer has one in flight, the others none
            await stage.ask()
        assert _answered(replicas) == [1, 6, 6]
        slow.send(Frame(Kind.RESPONSE, slow.received[0].id, b"late", status=200))
        await asyncio.gather(*stuck)

    run(scenario)


def test_one_that_dies_leaves_the_rest_serving_and_its_own_go_to_them() -> None:
    async def scenario(stage: Stage) -> None:
        replicas = await _three(stage)
        dying = replicas[1]
        dying.answer = lambda _: dying.die()
        bodies = [b"%d" % number for number in range(12)]
        found = await asyncio.gather(*map(stage.ask, bodies))
        assert sorted(found) == sorted(("a", body) for body in bodies)
        again = Counter(frame.body for each in replicas for frame in each.received)
        assert set(again) == set(bodies)
        assert sum(again.values()) == len(bodies) + len(dying.received)

    run(scenario)


def test_what_dies_with_all_replicas_of_an_arm_is_one_event() -> None:
    async def scenario(stage: Stage) -> None:
        stable = await stage.replica("s")
        # Each dies of the first request that reaches it, with three more on their way.
        fragile = [await stage.replica(f"c{number}", lambda _: None) for number in range(2)]
        route = StageRoute("r", 1, "salt", "old", "new", WHOLE)
        await stage.stage(1, route, served("old", 0, stable), served("new", 0, *fragile))
        asked = [asyncio.create_task(stage.ask(b"%d" % number)) for number in range(8)]
        await until(lambda: _answered(fragile) == [4, 4])
        for each in fragile:
            each.die()
        failed = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(each, SerinusError) for each in failed)
        state = stage.plane.endpoint("e").stage
        assert state is not None
        recorder = state.recorder
        recorder.fold()
        assert recorder.summary.arm(Arm.CANDIDATE).failed == 8
        assert recorder.summary.error_events(Arm.CANDIDATE) == 1

    run(scenario)


def test_a_batch_of_each_replica_fails_for_itself() -> None:
    def broken(number: int) -> Frame:
        return Frame(Kind.RESPONSE, number, b"{}", status=500, aux=5, batch=1)

    async def scenario(stage: Stage) -> None:
        stable = await stage.replica("s", echo)
        pair = [await stage.replica(f"c{n}", lambda frame: broken(frame.id)) for n in range(2)]
        route = StageRoute("r", 1, "salt", "old", "new", WHOLE)
        await stage.stage(1, route, served("old", 0, stable), served("new", 0, *pair))
        await asyncio.gather(*(stage.ask(b"%d" % number) for number in range(6)))
        state = stage.plane.endpoint("e").stage
        assert state is not None
        state.recorder.fold()
        # Both call their batch the first: they are two batches all the same.
        assert state.recorder.summary.error_events(Arm.CANDIDATE) == 2

    run(scenario)
