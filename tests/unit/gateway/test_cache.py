"""Answers that are given again: to whom, for how long, and what they are never taken for."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest

from serinus.entities import WHOLE
from serinus.errors import DeadlineExceeded, SerinusError
from serinus.evidence.meter import Meter
from serinus.evidence.summary import Arm, Exclusion, StageSummary
from serinus.gateway.cache import Cache, CacheLimits, Shelf, how_it_came
from serinus.replica.protocol import Format, Frame, Kind
from serinus.traffic import EndpointRoutes, RouteTable, ServedRoute, StageRoute
from tests.unit.gateway.plane import Stage, run, served, until
from tests.unit.gateway.stand_in import StandIn, echo

TTL = 5.0


async def route(
    stage: Stage,
    generation: int,
    *routes: ServedRoute,
    ttl: float = TTL,
    canary: StageRoute | None = None,
) -> None:
    """A table whose one endpoint gives answers again."""
    endpoint = EndpointRoutes("e", routes, stage=canary, cache_ttl_s=ttl)
    assert await stage.plane.apply(RouteTable(generation, (endpoint,)))


async def only(stage: Stage, **limits: float) -> StandIn:
    replica = await stage.replica("r1")
    await route(stage, 1, served("a", WHOLE, replica, edition="1-a", **limits))
    return replica


async def ask(
    stage: Stage, body: bytes = b"x", format_: Format = Format.JSON, served: str | None = None
) -> str:
    """How the answer came: hit, miss, or nothing where no cache had a part in it."""
    state = stage.plane.endpoint("e")
    _, frame = await stage.plane.invoke(state, served, body, format_)
    assert frame.body == body
    return b"".join(value for _, value in how_it_came(frame)).decode()


def meter(stage: Stage, name: str = "a") -> Meter:
    return stage.plane.meters.of("e", name)


def test_the_same_again_is_answered_once_until_its_time_is_over() -> None:
    async def scenario(stage: Stage) -> None:
        replica = await only(stage)
        assert [await ask(stage) for _ in range(3)] == ["miss", "hit", "hit"]
        stage.now += TTL - 0.001
        assert await ask(stage) == "hit"
        stage.now += 0.001
        assert [await ask(stage) for _ in range(2)] == ["miss", "hit"]
        assert len(replica.received) == 2
        assert meter(stage).cached == {"miss": 2, "hit": 4}
        # Whoever got an answer is counted, whoever gave it.
        assert meter(stage).statuses == {200: 6}
        assert sum(meter(stage).latency.buckets) == 6
        assert meter(stage).cached_bytes == stage.plane.cache.size > 0

    run(scenario)


def test_what_differs_in_anything_that_an_answer_depends_on_is_another_request() -> None:
    async def scenario(stage: Stage) -> None:
        replica = await only(stage)
        for body in (b"x", b"x ", b"y"):
            for format_ in (Format.JSON, Format.CSV, Format.OIP):
                assert await ask(stage, body, format_) == "miss"
        assert len(replica.received) == 9

    run(scenario)


def test_who_pins_a_version_asks_it_and_leaves_nothing_behind() -> None:
    async def scenario(stage: Stage) -> None:
        replica = await only(stage)
        assert [await ask(stage, served="a") for _ in range(2)] == ["", ""]
        assert [await ask(stage) for _ in range(2)] == ["miss", "hit"]
        assert await ask(stage, served="a") == ""
        assert len(replica.received) == 4

    run(scenario)


def test_without_a_policy_nobody_is_given_an_answer_of_before() -> None:
    async def scenario(stage: Stage) -> None:
        replica = await stage.replica("r1")
        await stage.route(1, served("a", WHOLE, replica))
        assert stage.plane.endpoint("e").shelf is None
        assert [await ask(stage) for _ in range(3)] == ["", "", ""]
        assert (len(replica.received), len(stage.plane.cache)) == (3, 0)
        assert meter(stage).cached == {}

    run(scenario)


def test_requests_at_the_same_moment_share_one_answer() -> None:
    async def scenario(stage: Stage) -> None:
        replica = await only(stage)
        replica.answer = lambda _: None
        asked = [asyncio.create_task(ask(stage)) for _ in range(5)]
        await until(lambda: len(replica.received) == 1)
        asked[2].cancel()
        replica.send(Frame(Kind.RESPONSE, replica.received[0].id, b"x", status=200))
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(found.pop(2), asyncio.CancelledError)
        assert found == ["miss", "hit", "hit", "hit"]
        assert len(replica.received) == 1
        assert meter(stage).cached == {"miss": 1, "joined": 3}

    run(scenario)


def test_they_are_asked_for_each_when_the_first_has_left() -> None:
    async def scenario(stage: Stage) -> None:
        replica = await only(stage)
        replica.answer = lambda _: None
        asked = [asyncio.create_task(ask(stage)) for _ in range(3)]
        await until(lambda: len(replica.received) == 1)
        replica.answer = echo
        asked[0].cancel()
        assert await asyncio.gather(*asked[1:]) == ["miss", "miss"]
        assert await ask(stage) == "miss"  # nobody kept what nobody led

    run(scenario)


def test_an_error_is_kept_for_nobody() -> None:
    def bad(frame: Frame) -> Frame:
        return Frame(Kind.RESPONSE, frame.id, frame.body, status=400, aux=7)

    async def scenario(stage: Stage) -> None:
        replica = await only(stage)
        replica.answer = bad
        assert await asyncio.gather(*(ask(stage) for _ in range(3))) == ["miss"] * 3
        assert [await ask(stage) for _ in range(2)] == ["miss", "miss"]
        assert len(replica.received) == 5
        assert len(stage.plane.cache) == 0
        replica.answer = echo
        assert [await ask(stage) for _ in range(2)] == ["miss", "hit"]

    run(scenario)


def test_who_waited_for_the_same_answer_gets_the_same_refusal_at_the_same_time() -> None:
    async def scenario(stage: Stage) -> None:
        replica = await only(stage, deadline_s=0.2)
        replica.answer = lambda _: None
        found = await asyncio.gather(*(ask(stage) for _ in range(3)), return_exceptions=True)
        assert [type(each) for each in found] != []
        assert all(isinstance(each, DeadlineExceeded) for each in found)
        assert len(replica.received) == 1
        assert meter(stage).statuses == {504: 3}
        replica.answer = echo
        assert await ask(stage) == "miss"

    run(scenario)


def test_answers_do_not_outlive_what_gave_them() -> None:
    async def scenario(stage: Stage) -> None:
        replica = await only(stage)
        await ask(stage)
        same = served("a", WHOLE, replica, edition="1-a", queue_limit=7)
        await route(stage, 2, same)
        assert await ask(stage) == "hit"  # another endpoint's change, say
        await route(stage, 3, replace(same, edition="2-a"))
        assert len(stage.plane.cache) == 0
        assert await ask(stage) == "miss"
        await route(stage, 4, replace(same, edition="2-a"), ttl=60.0)
        assert await ask(stage) == "hit"
        stage.now += TTL
        assert await ask(stage) == "miss"  # it was kept for five seconds
        stage.now += TTL
        assert await ask(stage) == "hit"
        await stage.route(5, replace(same, edition=""))
        assert (len(stage.plane.cache), stage.plane.cache.size) == (0, 0)
        assert meter(stage).cached_bytes == 0
        assert await ask(stage) == ""

    run(scenario)


def test_an_answer_that_comes_after_its_routes_have_gone_is_kept_for_nobody() -> None:
    async def scenario(stage: Stage) -> None:
        replica = await only(stage)
        replica.answer = lambda _: None
        asked = asyncio.create_task(ask(stage))
        await until(lambda: len(replica.received) == 1)
        await route(stage, 2, served("a", WHOLE, replica, edition="2-a"))
        replica.send(Frame(Kind.RESPONSE, replica.received[0].id, b"x", status=200))
        assert await asked == "miss"
        assert len(stage.plane.cache) == 0

    run(scenario)


def test_versions_of_one_endpoint_keep_theirs_apart() -> None:
    async def scenario(stage: Stage) -> None:
        one = await stage.replica("r1")
        two = await stage.replica("r2", lambda frame: replace_body(frame, b"two"))
        await route(
            stage,
            1,
            served("a", 5000, one, edition="1-a"),
            served("b", 5000, two, edition="1-b"),
        )
        stage.points = iter([0.1, 0.9, 0.1, 0.9])
        assert [(await stage.ask(b"one"))[1] for _ in range(4)] == [b"one", b"two"] * 2
        assert (len(one.received), len(two.received)) == (1, 1)

    run(scenario)


def replace_body(frame: Frame, body: bytes) -> Frame:
    return Frame(Kind.RESPONSE, frame.id, body, format=Format.JSON, status=200)


@pytest.mark.parametrize("bound", ["size", "entries"])
def test_what_is_kept_is_bounded_and_what_is_used_stays(bound: str) -> None:
    limits = CacheLimits(size=5 * 2512) if bound == "size" else CacheLimits(entries=5)
    cache, owner = Cache(limits), Meter("e", "a")
    cache.keep({"1-a"})

    def put(number: int) -> None:
        key = ("1-a", Format.JSON, b"%01000d" % number)
        cache.put(key, Frame(Kind.RESPONSE, body=b"y" * 1000), 10.0, owner)

    for number in range(5):
        put(number)
    assert cache.get(("1-a", Format.JSON, b"%01000d" % 0), 1.0) is not None
    put(5)
    kept = [n for n in range(6) if cache.get(("1-a", Format.JSON, b"%01000d" % n), 1.0)]
    assert kept == [0, 2, 3, 4, 5]
    assert owner.cached == {"evicted": 1}
    assert owner.cached_bytes == cache.size <= limits.size
    put(5)  # the same again takes the place of the one before
    assert len(cache) == 5


def test_a_long_request_and_a_long_answer_pass_by() -> None:
    async def scenario(stage: Stage) -> None:
        replica = await only(stage)
        stage.plane.cache.limits = CacheLimits(longest=100)
        assert [await ask(stage, b"x" * 101) for _ in range(2)] == ["", ""]
        replica.answer = lambda frame: replace_body(frame, b"y" * 101)
        assert [(await stage.ask(b"z"))[1] for _ in range(2)] == [b"y" * 101] * 2
        assert len(replica.received) == 4
        assert meter(stage).cached == {"passed": 2, "miss": 2}

    run(scenario)


ROUTE = StageRoute("r1", 1, "salt", "old", "new", 1000)


async def staged(stage: Stage, canary: StageRoute = ROUTE) -> tuple[StandIn, StandIn]:
    old, new = await stage.replica("r1"), await stage.replica("r2")
    await route(
        stage,
        1,
        served("old", 9000, old, edition="1-old"),
        served("new", 1000, new, edition="1-new"),
        canary=canary,
    )
    return old, new


def summary(stage: Stage) -> StageSummary:
    state = stage.plane.endpoint("e").stage
    assert state is not None
    state.recorder.fold()
    return state.recorder.summary


def test_evidence_is_asked_of_its_arm_and_the_rest_is_counted_as_left_out() -> None:
    async def scenario(stage: Stage) -> None:
        old, new = await staged(stage)
        stage.points = iter([0.5, 0.5, 0.05, 0.05, 0.5])
        # The candidate has not answered it yet, but it is no new request: it is no evidence.
        assert [await ask(stage) for _ in range(4)] == ["miss", "hit", "miss", "hit"]
        stage.now += TTL
        assert await ask(stage) == "miss"
        assert (len(old.received), len(new.received)) == (2, 1)
        found = summary(stage)
        assert found.stable.requests == 2
        assert found.stable.excluded == {Exclusion.REPEATED: 1}
        assert found.candidate.requests == 0
        assert found.candidate.excluded == {Exclusion.REPEATED: 2}

    run(scenario)


def test_evidence_is_asked_though_its_arm_knows_an_answer() -> None:
    async def scenario(stage: Stage) -> None:
        _, new = await staged(stage)
        stage.points = iter([0.5, 0.05, 0.05])
        await ask(stage)
        stage.now += TTL - 1
        assert await ask(stage) == "miss"  # the candidate's own, kept from now on
        stage.now += 1
        # The first one's time is over, so this is evidence; the candidate must show its speed.
        assert await ask(stage) == "miss"
        assert len(new.received) == 2
        assert summary(stage).candidate.requests == 1

    run(scenario)


def test_what_counts_does_not_depend_on_the_arm() -> None:
    """A slow body that comes all the time must weigh on both arms by their shares."""
    random, ttl, clock = Random(5), 5.0, [0.0]  # noqa: S311 - no secret
    shelf = Shelf(Cache(), ttl, lambda: clock[0])
    counted = [0, 0]
    for _ in range(40_000):
        clock[0] += random.expovariate(20.0)
        body = b"%d" % min(int(random.expovariate(0.05)), 60)
        if not shelf.repeated(body, Format.JSON):
            counted[random.random() < 0.05] += 1
    share = counted[1] / sum(counted)
    assert sum(counted) > 5000
    assert abs(share - 0.05) < 3.3 * (0.05 * 0.95 / sum(counted)) ** 0.5


def test_copies_are_not_answered_from_what_is_kept_nor_made_of_it() -> None:
    async def scenario(stage: Stage) -> None:
        old, new = await staged(stage, replace(ROUTE, candidate_bp=0, shadow_bp=WHOLE))
        for _ in range(3):
            await ask(stage)
        await until(lambda: summary(stage).shadow.not_compared > 0)  # no JSON comes back
        assert (len(old.received), len(new.received)) == (1, 1)
        assert summary(stage).candidate.excluded == {Exclusion.SHADOWED: 1}
        assert meter(stage, "new").cached == {}

    run(scenario)


def test_errors_count_once_and_are_asked_again() -> None:
    async def scenario(stage: Stage) -> None:
        old, _ = await staged(stage)
        stage.points = iter(lambda: 0.5, None)
        old.answer = lambda frame: Frame(Kind.RESPONSE, frame.id, b"{}", status=500, aux=5)
        for _ in range(3):
            with suppress(SerinusError):
                await stage.ask()
        assert len(old.received) == 3
        found = summary(stage)
        assert found.arm(Arm.STABLE).failed == 1
        assert found.stable.excluded == {Exclusion.REPEATED: 2}

    run(scenario)
