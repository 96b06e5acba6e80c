"""Routes, pools and links against stand-in replicas over real unix sockets."""

import asyncio
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from serinus.entities import WHOLE, ConfigUpdate
from serinus.errors import (
    DeadlineExceeded,
    InvalidState,
    ResourceDoesNotExist,
    ResourceExhausted,
    SerinusError,
    TemporarilyUnavailable,
)
from serinus.gateway.pool import NoAnswer, NoReplica
from serinus.replica.protocol import Frame, Kind
from serinus.traffic import EndpointRoutes, RouteTable
from tests.unit.gateway.plane import Stage, run, served, until
from tests.unit.gateway.stand_in import StandIn, echo


def test_the_split_chooses_and_a_pin_overrides_it() -> None:
    async def scenario(stage: Stage) -> None:
        one, two = await stage.replica("r1"), await stage.replica("r2")
        await stage.route(1, served("a", 9000, one), served("b", 1000, two))
        stage.points = iter([0.0, 0.8999, 0.9, 0.9999])
        assert [(await stage.ask())[0] for _ in range(4)] == ["a", "a", "b", "b"]
        assert await stage.ask(b"pinned", served="b") == ("b", b"pinned")

    run(scenario)


def test_what_the_split_chose_is_counted_for_as_long_as_its_weights_hold() -> None:
    async def scenario(stage: Stage) -> None:
        one, two = await stage.replica("r1"), await stage.replica("r2")
        await stage.route(1, served("a", 9000, one), served("b", 1000, two))
        stage.points = iter([0.0, 0.95, 0.1, 0.2])
        for _ in range(3):
            await stage.ask()
        await stage.ask(served="b")  # pinned: nobody chose it
        [routed] = stage.plane.routed()
        assert (routed.weights, routed.chosen) == ({"a": 9000, "b": 1000}, {"a": 2, "b": 1})
        await stage.route(2, served("a", 9000, one, deadline_s=5.0), served("b", 1000, two))
        await stage.ask()
        assert stage.plane.routed()[0].chosen == {"a": 3, "b": 1}
        await stage.route(3, served("a", 5000, one), served("b", 5000, two))
        assert stage.plane.routed()[0].chosen == {}

    run(scenario)


def test_an_entity_without_traffic_can_be_pinned() -> None:
    async def scenario(stage: Stage) -> None:
        one, two = await stage.replica("r1"), await stage.replica("r2")
        await stage.route(1, served("a", WHOLE, one), served("b", 0, two))
        assert (await stage.ask(served="b"))[0] == "b"

    run(scenario)


def test_unknown_names_say_what_there_is() -> None:
    async def scenario(stage: Stage) -> None:
        await stage.route(1, served("a", WHOLE, await stage.replica("r1")))
        with pytest.raises(ResourceDoesNotExist, match="'zzz' does not exist"):
            stage.plane.endpoint("zzz")
        with pytest.raises(ResourceDoesNotExist, match="no served entity 'q'; it has a"):
            await stage.ask(served="q")

    run(scenario)


def test_generations_only_rise() -> None:
    async def scenario(stage: Stage) -> None:
        one, two = await stage.replica("r1"), await stage.replica("r2")
        assert await stage.route(5, served("a", WHOLE, one))
        assert not await stage.route(4, served("a", WHOLE, two))
        assert await stage.route(5, served("a", WHOLE, two))  # known already: nothing changes
        await stage.ask()
        assert (len(one.received), len(two.received)) == (1, 0)

    run(scenario)


def test_the_least_busy_replica_answers() -> None:
    async def scenario(stage: Stage) -> None:
        silent = await stage.replica("r1", lambda _: None)
        quick = await stage.replica("r2")
        await stage.route(1, served("a", WHOLE, silent, quick, deadline_s=0.3))
        stuck = asyncio.create_task(stage.ask())  # the first of equals: the silent one
        await asyncio.sleep(0)
        for _ in range(3):
            await stage.ask()
        assert (len(silent.received), len(quick.received)) == (1, 3)
        with pytest.raises(DeadlineExceeded):
            await stuck

    run(scenario)


def test_a_late_answer_is_nobodys() -> None:
    async def scenario(stage: Stage) -> None:
        slow = await stage.replica("r1", lambda _: None)
        await stage.route(1, served("a", WHOLE, slow, deadline_s=0.05))
        with pytest.raises(DeadlineExceeded):
            await stage.ask(b"first")
        slow.answer = lambda frame: echo(frame) if frame.body == b"second" else None
        answering = asyncio.create_task(stage.ask(b"second"))
        slow.send(Frame(Kind.RESPONSE, slow.received[0].id, b"late", status=200))
        assert await answering == ("a", b"second")

    run(scenario)


def test_a_full_queue_refuses_with_a_time_to_come_back() -> None:
    async def scenario(stage: Stage) -> None:
        silent = await stage.replica("r1", lambda _: None)
        await stage.route(1, served("a", WHOLE, silent, queue_limit=2, deadline_s=0.3))
        waiting = [asyncio.create_task(stage.ask()) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ResourceExhausted, match="2 requests are waiting") as refusal:
            await stage.ask()
        assert refusal.value.retry_after == 1
        await asyncio.gather(*waiting, return_exceptions=True)

    run(scenario)


def test_a_request_whose_replica_dies_goes_to_a_sibling_once() -> None:
    async def scenario(stage: Stage) -> None:
        dying = await stage.replica("r1", lambda _: dying.die())
        other = await stage.replica("r2")
        await stage.route(1, served("a", WHOLE, dying, other))
        assert await stage.ask(b"body") == ("a", b"body")
        assert [frame.body for frame in other.received] == [b"body"]

    run(scenario)


def test_a_payload_that_kills_goes_to_no_third_replica() -> None:
    async def scenario(stage: Stage) -> None:
        victims = [await stage.replica(f"r{number}") for number in range(3)]
        for victim in victims:
            victim.answer = partial(lambda victim, _: victim.die(), victim)
        await stage.route(1, served("a", WHOLE, *victims))
        with pytest.raises(TemporarilyUnavailable, match="Two replicas"):
            await stage.ask()
        assert sorted(len(victim.received) for victim in victims) == [0, 1, 1]

    run(scenario)


def test_no_other_version_ever_helps_out() -> None:
    async def scenario(stage: Stage) -> None:
        dying = await stage.replica("r1", lambda _: dying.die())
        other = await stage.replica("r2")
        await stage.route(1, served("a", WHOLE, dying), served("b", 0, other))
        with pytest.raises(TemporarilyUnavailable, match="No replica of 'a'"):
            await stage.ask()
        assert other.received == []

    run(scenario)


@pytest.mark.parametrize(
    ("field", "value"), [("replica_id", "r9"), ("model_digest", "0" * 64), ("protocol", 2)]
)
def test_identity_and_not_address_decides_who_answers(field: str, value: object) -> None:
    async def scenario(stage: Stage) -> None:
        impostor = StandIn(stage.directory, "r1")
        stage.replicas.append(impostor)
        for name in ("replica_id", "model_digest", "protocol", "pid"):
            known = getattr(impostor.hello, name)
            object.__setattr__(impostor.hello, name, value if name == field else known)
        await impostor.start()
        stage.plane._dial_s = 0.1
        await stage.route(1, served("a", WHOLE, impostor))
        with pytest.raises(TemporarilyUnavailable):
            await stage.ask()
        assert impostor.received == []
        assert stage.rejected[0][0] == "r1"

    run(scenario)


def test_a_replica_that_comes_back_is_found_again() -> None:
    async def scenario(stage: Stage) -> None:
        first = await stage.replica("r1")
        await stage.route(1, served("a", WHOLE, first))
        first.die()
        await asyncio.sleep(0)
        Path(first.address.address).unlink(missing_ok=True)
        await stage.replica("r1")
        async with asyncio.timeout(5):
            while True:
                with suppress(TemporarilyUnavailable):
                    assert await stage.ask() == ("a", b"x")
                    break
                await asyncio.sleep(0.01)

    run(scenario)


def test_a_draining_replica_answers_what_it_has_and_gets_no_more() -> None:
    async def scenario(stage: Stage) -> None:
        leaving, staying = await stage.replica("r1", lambda _: None), await stage.replica("r2")
        await stage.route(1, served("a", WHOLE, leaving, staying))
        pending = asyncio.create_task(stage.ask(b"early"))
        async with asyncio.timeout(5):
            while not leaving.received:
                await asyncio.sleep(0.005)
        leaving.send(Frame(Kind.DRAINING))
        leaving.send(echo(leaving.received[0]))
        assert await pending == ("a", b"early")
        for _ in range(3):
            await stage.ask()
        assert len(leaving.received) == 1

    run(scenario)


def test_requests_in_flight_survive_the_swap_that_retires_their_replica() -> None:
    async def scenario(stage: Stage) -> None:
        old, new = await stage.replica("r1", lambda _: None), await stage.replica("r2")
        await stage.route(1, served("a", WHOLE, old))
        pending = asyncio.create_task(stage.ask(b"mine"))
        async with asyncio.timeout(5):
            while not old.received:
                await asyncio.sleep(0.005)
        await stage.route(2, served("a", WHOLE, new))
        assert await stage.ask(b"next") == ("a", b"next")
        old.send(echo(old.received[0]))
        assert await pending == ("a", b"mine")
        assert len(old.received) == 1

    run(scenario)


def test_an_outage_is_known_by_the_second_in_which_the_last_replica_died() -> None:
    async def scenario(stage: Stage) -> None:
        only = await stage.replica("r1")
        await stage.route(1, served("a", WHOLE, only), served("b", 0))
        before = int(asyncio.get_running_loop().time())
        await only.gone()
        pool = stage.plane.endpoint("e").pools["a"]
        await until(lambda: not pool.ready())
        causes = []
        for name in ("a", "a", "b"):
            with pytest.raises(NoReplica) as outage:
                await stage.ask(served=name)
            causes.append(outage.value.cause)
        assert causes[0] == causes[1]
        assert causes[0][:2] == ("outage", "a")
        assert causes[0][2] in range(before, before + 10)
        assert causes[2] == ("outage", "b", 0)

    run(scenario)


def test_an_empty_endpoint_is_unavailable_and_not_unknown() -> None:
    async def scenario(stage: Stage) -> None:
        await stage.plane.apply(RouteTable(1, (EndpointRoutes("e", ()),)))
        with pytest.raises(TemporarilyUnavailable, match="nothing to serve"):
            await stage.ask()

    run(scenario)


@pytest.mark.parametrize(
    ("update", "error", "said"),
    [
        (
            ConfigUpdate.IN_PROGRESS,
            TemporarilyUnavailable,
            "its first version is being prepared; GET /api/2.0/",
        ),
        # A client would try a 503 again for minutes, in vain.
        (ConfigUpdate.UPDATE_FAILED, InvalidState, "its first update did not succeed; GET /api/2"),
        (ConfigUpdate.NOT_UPDATING, InvalidState, "PUT /api/2.0/serving-endpoints/e/config"),
    ],
)
def test_an_endpoint_that_was_never_ready_says_why_whichever_way_it_is_asked(
    update: ConfigUpdate, error: type[SerinusError], said: str
) -> None:
    async def scenario(stage: Stage) -> None:
        await stage.plane.apply(RouteTable(1, (EndpointRoutes("e", (), unready=update),)))
        assert not stage.plane.endpoint("e").ready
        for served_name in (None, "a"):
            with pytest.raises(error, match=rf"'e' is not ready \({update.value}"):
                await stage.ask(served=served_name)
        with pytest.raises(error) as caught:
            await stage.ask()
        assert said in caught.value.message
        assert caught.value.retry_after == (1 if error is TemporarilyUnavailable else None)
        assert stage.plane.meters.of("e").statuses == {error.status: 3}
        with pytest.raises(ResourceDoesNotExist, match="'f' does not exist"):
            stage.plane.endpoint("f")

    run(scenario)


def test_a_stopped_endpoint_says_so_whichever_way_it_is_asked() -> None:
    async def scenario(stage: Stage) -> None:
        await stage.plane.apply(RouteTable(1, (EndpointRoutes("e", (), stopped=True),)))
        assert not stage.plane.endpoint("e").ready
        for served_name in (None, "a"):
            with pytest.raises(InvalidState, match=r"'e' is stopped .*config:start"):
                await stage.ask(served=served_name)
        assert stage.plane.meters.of("e").statuses == {400: 2}

    run(scenario)


def test_every_answer_is_counted_for_who_gave_it() -> None:
    async def scenario(stage: Stage) -> None:
        slow = await stage.replica("r1", lambda _: None)
        quick = await stage.replica(
            "r2", lambda frame: Frame(Kind.RESPONSE, frame.id, b"no", status=500, aux=2_000)
        )
        await stage.route(1, served("a", WHOLE, slow, deadline_s=0.05), served("b", 0, quick))
        with pytest.raises(NoAnswer):
            await stage.ask()
        for _ in range(3):
            await stage.ask(served="b")
        with pytest.raises(ResourceDoesNotExist):
            await stage.ask(served="c")
        a, b = stage.plane.meters.of("e", "a"), stage.plane.meters.of("e", "b")
        assert (a.statuses, a.in_flight, b.statuses) == ({504: 1}, 0, {500: 3})
        assert sum(b.model.buckets) == sum(b.queue.buckets) == sum(b.latency.buckets) == 3
        assert b.model.seconds == pytest.approx(0.006)
        # What was refused before anybody was chosen is the endpoint's.
        for path in ("/serving-endpoints/e/invocations", "/serving-endpoints/x/invocations", "/"):
            stage.plane.turned_away(path, 429)
        assert stage.plane.meters.of("e").statuses == {404: 1, 429: 1}
        pending = asyncio.create_task(stage.ask())
        await until(lambda: a.in_flight == 1)
        with suppress(NoAnswer):
            await pending
        assert a.in_flight == 0

    run(scenario)
