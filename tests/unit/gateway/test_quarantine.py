"""Test 26 of the reliability list: a payload that ends replicas does not end them all."""

import asyncio
from functools import partial

import pytest
from msgspec.structs import replace

from serinus.entities import WHOLE
from serinus.errors import BadRequest, TemporarilyUnavailable
from serinus.evidence.summary import ErrorClass
from serinus.gateway.quarantine import Quarantine, Quarantined, Quarantines
from serinus.gateway.recorder import fault_of
from serinus.replica.protocol import Format, Frame
from tests.unit.gateway.plane import Stage, run, served, until
from tests.unit.gateway.stand_in import StandIn, echo

POISON = b"poison"


async def _fragile(stage: Stage, count: int, slow: bool = False) -> list[StandIn]:
    """Replicas that POISON ends, and that come back; ``slow``: others get no answer."""
    victims = [await stage.replica(f"r{number}") for number in range(count)]

    def answer(victim: StandIn, frame: Frame) -> Frame | None:
        if frame.body == POISON:
            victim.die()
            return None
        return None if slow else echo(frame)

    for victim in victims:
        victim.answer = partial(answer, victim)
    await stage.route(1, served("a", WHOLE, *victims))
    return victims


def _hits(victims: list[StandIn]) -> int:
    return sum(frame.body == POISON for victim in victims for frame in victim.received)


def test_26_what_ended_replicas_at_one_gateway_is_refused_at_the_others() -> None:
    async def scenario(here: Stage) -> None:
        victims = await _fragile(here, 3)
        with pytest.raises(TemporarilyUnavailable):
            await here.ask(POISON)
        deaths = here.plane.quarantines.untold()
        assert [each.sole for each in deaths] == [False, True]
        assert here.plane.quarantines.untold() == []  # told once
        there = Quarantines()
        suspects = there.of("e", "a", deaths[0].model)
        at = asyncio.get_running_loop().time()
        for change in ({"model": "another"}, {"endpoint": "gone"}, {"served": "b"}):
            there.hear([replace(each, **change) for each in deaths], at)
        assert not suspects.suspects
        there.hear(deaths[:1], at)
        assert suspects.is_suspect(POISON, Format.JSON, at)  # to be tried alone
        there.hear(deaths[1:], at)
        with pytest.raises(Quarantined):
            suspects.is_suspect(POISON, Format.JSON, at)
        assert there.untold() == []  # what was heard is not told again
        assert not suspects.is_suspect(b"good", Format.JSON, at)
        assert _hits(victims) == 2

    run(scenario)


def test_26_a_body_that_ended_two_replicas_is_refused_at_once() -> None:
    async def scenario(stage: Stage) -> None:
        victims = await _fragile(stage, 3)
        with pytest.raises(TemporarilyUnavailable, match="Two replicas of 'a' ended"):
            await stage.ask(POISON)
        assert _hits(victims) == 2
        for _ in range(3):
            with pytest.raises(Quarantined, match="2 replicas of 'a' ended while") as refused:
                await stage.ask(POISON)
            assert (refused.value.status, refused.value.code) == (400, "BAD_REQUEST")
            assert refused.value.details[0]["cause"] == "QUARANTINED"
            assert fault_of(refused.value) is ErrorClass.MODEL
        assert _hits(victims) == 2
        assert await stage.ask(b"good") == ("a", b"good")
        # The table changes when replicas are replaced; the memory stays, as long as the model does.
        await stage.route(2, served("a", WHOLE, victims[2]))
        with pytest.raises(Quarantined):
            await stage.ask(POISON)

    run(scenario)


def test_26_one_replica_alone_dies_twice_and_not_three_times() -> None:
    async def scenario(stage: Stage) -> None:
        [victim] = await _fragile(stage, 1)
        for _ in range(2):
            with pytest.raises(TemporarilyUnavailable):
                await stage.ask(POISON)
            await victim.gone()
            await victim.start()
            await until(lambda: stage.plane.endpoint("e").ready)
        with pytest.raises(Quarantined):
            await stage.ask(POISON)
        assert _hits([victim]) == 2

    run(scenario)


def test_26_who_rode_along_is_tried_alone_and_acquitted() -> None:
    async def scenario(stage: Stage) -> None:
        victims = await _fragile(stage, 2, slow=True)
        others = [asyncio.create_task(stage.ask(b"%d" % at)) for at in range(6)]
        await until(lambda: sum(len(each.received) for each in victims) == 6)
        # Both replicas have innocents in flight when it comes, and those are retried together.
        with pytest.raises(TemporarilyUnavailable):
            await stage.ask(POISON)
        found = await asyncio.gather(*others, return_exceptions=True)
        assert all(isinstance(each, TemporarilyUnavailable) for each in found)
        for victim in victims:
            await victim.gone()
            victim.answer = partial(
                lambda victim, frame: victim.die() if frame.body == POISON else echo(frame), victim
            )
            await victim.start()
        await until(lambda: all(len(each._writers) for each in victims))
        await until(lambda: stage.plane.endpoint("e").ready)
        for at in range(6):
            assert await stage.ask(b"%d" % at) == ("a", b"%d" % at)
        with pytest.raises(TemporarilyUnavailable):
            await stage.ask(POISON)
        with pytest.raises(Quarantined):
            await stage.ask(POISON)

    run(scenario)


def test_what_was_answered_lately_is_no_suspect() -> None:
    async def scenario(stage: Stage) -> None:
        both = [await stage.replica(f"r{number}") for number in range(2)]
        await stage.route(1, served("a", WHOLE, *both))
        assert await stage.ask(b"probe") == ("a", b"probe")
        for each in both:
            each.answer = partial(lambda replica, _: replica.die(), each)
        for _ in range(2):
            with pytest.raises(TemporarilyUnavailable):
                await stage.ask(b"probe")

    run(scenario)


def test_a_conviction_ends_and_the_next_one_is_longer() -> None:
    held = Quarantine("a", "m")
    held.suspect(POISON, Format.JSON, 0.0)
    assert held.is_suspect(POISON, Format.JSON, 1.0)
    held.suspect(POISON, Format.JSON, 2.0, sole=True)
    with pytest.raises(BadRequest, match="another 10 minutes"):
        held.is_suspect(POISON, Format.JSON, 3.0)
    assert not held.is_suspect(POISON, Format.CSV, 3.0)
    assert held.is_suspect(POISON, Format.JSON, 610.0)  # one trial
    held.suspect(POISON, Format.JSON, 611.0, sole=True)
    with pytest.raises(BadRequest, match=r"3 replicas .* another 20 minutes"):
        held.is_suspect(POISON, Format.JSON, 612.0)
    assert not held.is_suspect(POISON, Format.JSON, 10_000.0)
    assert held.suspects == {}


def test_the_memory_is_bounded_and_the_oldest_goes_first() -> None:
    held = Quarantine("a", "m")
    for at in range(3000):
        held.suspect(b"%d" % at, Format.JSON, 1.0)
    assert len(held.suspects) == 1024
    assert held.is_suspect(b"2999", Format.JSON, 2.0)
    assert not held.is_suspect(b"0", Format.JSON, 2.0)
    assert not held.is_suspect(b"2999", Format.JSON, 70.0)
    assert held.suspects == {}
