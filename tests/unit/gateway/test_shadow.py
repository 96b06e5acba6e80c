"""Copies to the candidate: never waited for, bounded, paired and compared."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import msgspec
import pytest

from serinus.entities import WHOLE
from serinus.evidence.summary import Exclusion, PairSummary
from serinus.gateway.recorder import Recorder
from serinus.gateway.shadow import Bounds, Shadow
from serinus.replica.protocol import Format, Frame, Kind
from serinus.traffic import StageRoute
from tests.unit.gateway.plane import Stage, run, served, until
from tests.unit.gateway.stand_in import StandIn

ROUTE = StageRoute("r1", 1, "salt", "old", "new", 0, shadow_bp=WHOLE, tolerance=0.01)


def saying(*rows: object, status: int = 200, aux: int = 5) -> Callable[[Frame], Frame]:
    body = msgspec.json.encode({"predictions": rows})

    def answer(frame: Frame) -> Frame:
        return Frame(Kind.RESPONSE, frame.id, body, format=Format.JSON, status=status, aux=aux)

    return answer


async def shadowed(
    stage: Stage, route: StageRoute = ROUTE, *, deadline_s: float = 0.1
) -> tuple[StandIn, StandIn, PairSummary]:
    old = await stage.replica("r1", saying(1))
    new = await stage.replica("r2", saying(1))
    await stage.stage(
        1,
        route,
        served("old", WHOLE, old, deadline_s=5.0),
        served("new", 0, new, deadline_s=deadline_s),
    )
    return old, new, stage.plane.book.recorder(route).summary.shadow


def seen(pairs: PairSummary) -> int:
    """Copies that have come to an end."""
    failed = pairs.candidate_errors + pairs.stable_errors + pairs.both_errors
    return pairs.pairs + failed + pairs.not_compared


@pytest.mark.parametrize(
    ("old_rows", "new_rows", "flips", "over", "matrix"),
    [
        ((1, 2), (1, 2), 0, 0, {}),
        (("cat", "cat"), ("cat", "dog"), 1, 0, {"cat→dog": 1}),
        ((0.5,), (0.505,), 0, 0, {}),
        ((0.5,), (0.6,), 0, 1, {}),
    ],
)
def test_both_answers_are_compared(
    old_rows: tuple[object, ...],
    new_rows: tuple[object, ...],
    flips: int,
    over: int,
    matrix: dict[str, int],
) -> None:
    async def scenario(stage: Stage) -> None:
        old, new, pairs = await shadowed(stage)
        old.answer, new.answer = saying(*old_rows), saying(*new_rows)
        name, body = await stage.ask(b"question")
        assert (name, msgspec.json.decode(body)["predictions"]) == ("old", list(old_rows))
        await until(lambda: seen(pairs) == 1)
        assert (pairs.pairs, pairs.flips, pairs.over_tolerance) == (1, flips, over)
        assert pairs.flip_matrix == matrix
        assert [frame.body for frame in new.received] == [b"question"]

    run(scenario)


def test_answers_are_paired_by_request_whatever_their_order() -> None:
    async def scenario(stage: Stage) -> None:
        old, new, pairs = await shadowed(stage)
        old.answer = lambda frame: saying(frame.body.decode())(frame)
        new.answer = lambda _: None
        for number in range(5):
            await stage.ask(b"%d" % number)
        await until(lambda: len(new.received) == 5)
        for frame in reversed(new.received):
            new.send(saying(frame.body.decode())(frame))
        await until(lambda: seen(pairs) == 5)
        assert (pairs.pairs, pairs.flips) == (5, 0)

    run(scenario)


def test_a_share_is_copied_by_a_draw_of_its_own() -> None:
    async def scenario(stage: Stage) -> None:
        route = replace(ROUTE, shadow_bp=2500, candidate_bp=1000)
        _, new, pairs = await shadowed(stage, route)
        # arm, copy?, arm, copy?, arm (the candidate answers itself: nothing to copy)
        stage.points = iter([0.5, 0.2499, 0.5, 0.25, 0.05])
        assert [(await stage.ask())[0] for _ in range(3)] == ["old", "old", "new"]
        await until(lambda: seen(pairs) == 1)
        assert len(new.received) == 2
        summary = stage.plane.book.recorder(route).summary
        assert summary.candidate.excluded == {Exclusion.SHADOWED: 1}

    run(scenario)


def test_a_candidate_that_never_answers_delays_nobody() -> None:
    async def scenario(stage: Stage) -> None:
        _, new, pairs = await shadowed(stage, deadline_s=60.0)
        new.answer = lambda _: None
        for _ in range(20):
            assert (await stage.ask())[0] == "old"
        await until(lambda: len(new.received) == 20)
        assert seen(pairs) == 0, "the callers have their answers, the copies have none"

    run(scenario)


def test_copies_that_got_no_answer_in_time_are_no_evidence() -> None:
    async def scenario(stage: Stage) -> None:
        _, new, pairs = await shadowed(stage)
        new.answer = lambda _: None
        await stage.ask()
        await until(lambda: seen(pairs) == 1)
        assert (pairs.pairs, pairs.not_compared) == (0, 1)

    run(scenario)


def test_a_dead_candidate_costs_drops_and_nothing_else() -> None:
    async def scenario(stage: Stage) -> None:
        _, new, pairs = await shadowed(stage)
        await new.gone()
        await until(lambda: not stage.plane.endpoint("e").pools["new"].ready())
        for _ in range(10):
            assert (await stage.ask())[0] == "old"
        await until(lambda: seen(pairs) == 10)
        assert pairs.not_compared == 10
        summary = stage.plane.book.recorder(ROUTE).summary
        assert summary.candidate.excluded == {}, "none was sent"

    run(scenario)


@pytest.mark.parametrize(
    ("old", "new", "errors"),
    [
        (saying(1), saying(status=500), (1, 0, 0)),
        (saying(1), saying(status=400, aux=0), (1, 0, 0)),  # it refuses what stable took
        (saying(status=500), saying(1), (0, 1, 0)),
        (saying(status=500), saying(status=500), (0, 0, 1)),
    ],
)
def test_a_candidates_error_is_counted_and_seen_by_nobody(
    old: Callable[[Frame], Frame], new: Callable[[Frame], Frame], errors: tuple[int, int, int]
) -> None:
    async def scenario(stage: Stage) -> None:
        stable, candidate, pairs = await shadowed(stage)
        stable.answer, candidate.answer = old, new
        state = stage.plane.endpoint("e")
        _, frame = await stage.plane.invoke(state, None, b"x", Format.JSON)
        assert frame.status == old(Frame(Kind.REQUEST)).status
        await until(lambda: seen(pairs) == 1)
        assert (pairs.candidate_errors, pairs.stable_errors, pairs.both_errors) == errors
        assert pairs.pairs == 0

    run(scenario)


def test_what_the_caller_got_wrong_is_not_copied() -> None:
    async def scenario(stage: Stage) -> None:
        old, new, pairs = await shadowed(stage)
        old.answer = saying(status=400, aux=0)
        await stage.ask()
        old.answer = saying(1)
        await stage.ask()
        await until(lambda: seen(pairs) == 1)
        assert len(new.received) == 1

    run(scenario)


def test_copies_never_fill_the_queue_of_those_that_wait_for_an_answer() -> None:
    async def scenario(stage: Stage) -> None:
        _, new, pairs = await shadowed(stage)
        new.answer = lambda _: None
        for _ in range(50):
            await stage.ask()
        pool = stage.plane.endpoint("e").pools["new"]
        await until(lambda: len(new.received) == Bounds().window)
        assert sum(len(link.calls) for link in pool.links) == Bounds().window
        await until(lambda: seen(pairs) == 50)

    run(scenario)


@pytest.mark.parametrize(
    ("bounds", "kept"),
    [
        (Bounds(copies=8, window=3), 8),
        (Bounds(size=1000, window=3), 9),  # of 110 bytes each
        (Bounds(unread=-1), 0),
    ],
)
def test_the_queue_is_bounded_and_drops_are_counted(bounds: Bounds, kept: int) -> None:
    async def scenario(stage: Stage) -> None:
        _, new, _ = await shadowed(stage)
        new.answer = lambda _: None
        recorder = Recorder(ROUTE, 0.0, lambda: 0.0)
        shadow = Shadow(recorder, 0.01, lambda: 0.0, bounds)
        pool = stage.plane.endpoint("e").pools["new"]
        answer = Frame(Kind.RESPONSE, 1, b"y" * 10, status=200)
        for _ in range(20):
            shadow.offer(pool, b"x" * 100, Format.JSON, answer, 0.0)
        assert (shadow.copies, shadow.dropped) == (kept, 20 - kept)
        assert recorder.summary.shadow.not_compared == 20 - kept
        await until(lambda: shadow.copies == 0)  # each reached its deadline
        assert recorder.summary.shadow.not_compared == 20
        assert shadow._size == 0

    run(scenario)


def test_a_candidate_that_stops_reading_is_sent_no_more() -> None:
    async def scenario(stage: Stage) -> None:
        _, new, _ = await shadowed(stage)
        recorder = Recorder(ROUTE, 0.0, lambda: 0.0)
        shadow = Shadow(recorder, 0.01, lambda: 0.0, Bounds(unread=1 << 20, window=100))
        pool = stage.plane.endpoint("e").pools["new"]
        new.pause()
        answer = Frame(Kind.RESPONSE, 1, b"{}", status=200)
        for _ in range(40):
            shadow.offer(pool, b"x" * 200_000, Format.JSON, answer, 0.0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert shadow.dropped > 20
        assert pool.unsent < 2 << 20

    run(scenario)


def test_an_answer_too_long_to_compare_is_not_copied() -> None:
    async def scenario(stage: Stage) -> None:
        old, new, pairs = await shadowed(stage)
        old.answer = saying("x" * 100_000)
        await stage.ask()
        assert (pairs.not_compared, len(new.received)) == (1, 0)

    run(scenario)


def test_the_end_of_a_stage_forgets_the_copies_that_wait() -> None:
    async def scenario(stage: Stage) -> None:
        old, new, pairs = await shadowed(stage)
        new.answer = lambda _: None
        for _ in range(40):
            await stage.ask()
        await until(lambda: len(new.received) == Bounds().window)
        await stage.stage(
            2,
            replace(ROUTE, stage=2, shadow_bp=0),
            served("old", WHOLE, old),
            served("new", 0, new),
        )
        assert pairs.not_compared == 40 - Bounds().window
        await until(lambda: seen(pairs) == 40)
        assert len(new.received) == Bounds().window

    run(scenario)


@pytest.mark.parametrize(("old_s", "new_s", "slower"), [(0, 0, 0), (0, 1, 1), (2, 1, 0), (1, 2, 1)])
def test_who_was_slower_is_counted(old_s: float, new_s: float, slower: int) -> None:
    async def scenario(stage: Stage) -> None:
        old, new, pairs = await shadowed(stage)

        def after(seconds: float, frame: Frame) -> Frame:
            stage.now += seconds
            return saying(1)(frame)

        old.answer, new.answer = partial(after, old_s), partial(after, new_s)
        await stage.ask()
        await until(lambda: seen(pairs) == 1)
        assert (pairs.pairs, pairs.candidate_slower) == (1, slower)

    run(scenario)
