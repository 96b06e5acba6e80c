"""Which requests an outcome may be told of, and how they get to the controller."""

from typing import Any

from serinus.errors import SerinusError
from serinus.evidence.exposure import client_key, request_key
from serinus.evidence.summary import Arm
from serinus.gateway.exposures import Exposures, Picker, client_of
from serinus.replica.protocol import Format, Frame, Kind
from serinus.traffic import StageRoute, Unit, UnitKind
from tests.unit.gateway.plane import Stage, run, served

ROUTE = StageRoute("r1", 3, "salt", "old", "new", 2500, exposures_per_s=100.0)


def test_picks_so_many_a_second_after_a_first_burst() -> None:
    picker = Picker(2.0, 0.0)
    assert sum(picker.pick(0.0) for _ in range(500)) == 100
    assert sum(picker.pick(10.0) for _ in range(500)) == 20
    assert not Picker(0.0, 0.0).pick(100.0)


def test_the_clients_own_id_is_read_from_the_body() -> None:
    assert client_of(b'{"client_request_id": "a-1", "inputs": [1]}') == client_key("a-1")
    assert client_of(b'{"client_request_id": 17}') == client_key("17")
    for body in (b"{}", b"a,b\n1,2", b'{"client_request_id": [1]}', b"\xff", b"{" * 5000):
        assert client_of(body) is None


def test_what_waits_is_bounded_and_goes_when_it_is_kept() -> None:
    waiting: Any = Exposures()  # numbers stand for exposures
    assert sum(waiting.add(n) for n in range(25_000)) == 20_000
    batch, upto = waiting.next()
    assert (batch, upto) == (list(range(2000)), 2000)
    assert waiting.next() == (batch, upto)  # not kept yet: once more
    waiting.kept(upto)
    waiting.kept(upto)
    assert waiting.next()[0][0] == 2000


def test_an_answer_is_noted_with_its_arm_and_its_chance() -> None:
    async def scenario(stage: Stage) -> None:
        old, new = await stage.replica("old-0"), await stage.replica("new-0")
        stage.points = iter([0.1, 0.9, 0.2])
        await stage.stage(1, ROUTE, served("old", 7500, old), served("new", 2500, new))
        state = stage.plane.endpoint("e")
        for number in range(3):
            body = b'{"client_request_id": "c%d"}' % number
            await stage.plane.invoke(state, None, body, Format.JSON, (), b"id-%d" % number)
        flush = stage.plane.book.flush()
        assert flush is not None
        sequence, _, exposures = flush
        assert [each.on_candidate for each in exposures] == [True, False, True]
        assert [each.request for each in exposures] == [
            request_key(b"id-%d" % number) for number in range(3)
        ]
        assert exposures[1].client == client_key("c1")
        assert {(each.stage, each.candidate_bp, each.unit) for each in exposures} == {
            (3, 2500, None)
        }
        stage.plane.book.acknowledged(sequence)
        assert stage.plane.book.flush() is None

    run(scenario)


def test_failures_pinned_requests_and_retries_are_not_noted() -> None:
    async def scenario(stage: Stage) -> None:
        def fails(frame: Frame) -> Frame:
            return Frame(Kind.RESPONSE, frame.id, b"{}", status=500, aux=1)

        old, new = await stage.replica("old-0"), await stage.replica("new-0", fails)
        stage.points = iter([0.1, 0.9, 0.9])
        await stage.stage(1, ROUTE, served("old", 7500, old), served("new", 2500, new))
        state = stage.plane.endpoint("e")
        same = b'{"client_request_id": "c"}'

        async def ask(body: bytes, pinned: str | None, number: int) -> None:
            try:
                await stage.plane.invoke(state, pinned, body, Format.JSON, (), b"id-%d" % number)
            except SerinusError:
                return

        await ask(b"fails", None, 0)
        await ask(b"pinned", "old", 1)
        await ask(same, None, 2)
        await ask(same, None, 3)
        flush = stage.plane.book.flush()
        assert flush is not None
        assert [each.request for each in flush[2]] == [request_key(b"id-2")]

    run(scenario)


def test_a_sticky_unit_is_noted_once_in_a_stage() -> None:
    route = StageRoute(
        "r1", 3, "salt", "old", "new", 2500, Unit(UnitKind.HEADER, "x-user"), exposures_per_s=9.0
    )

    async def scenario(stage: Stage) -> None:
        old, new = await stage.replica("old-0"), await stage.replica("new-0")
        await stage.stage(1, route, served("old", 7500, old), served("new", 2500, new))
        state = stage.plane.endpoint("e")
        for number in range(6):
            headers: Any = [(b"x-user", b"u%d" % (number % 2))]
            await stage.plane.invoke(state, None, b"x", Format.JSON, headers, b"id-%d" % number)
        flush = stage.plane.book.flush()
        assert flush is not None
        assert len({each.unit for each in flush[2]}) == len(flush[2]) == 2
        arms = {Arm.CANDIDATE if each.on_candidate else Arm.STABLE for each in flush[2]}
        assert arms <= {Arm.CANDIDATE, Arm.STABLE}

    run(scenario)
