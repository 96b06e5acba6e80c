"""Who answers under a stage: shares, units that stay, fall back, pins, and what is recorded."""

import asyncio
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.entities import WHOLE
from serinus.errors import DeadlineExceeded, TemporarilyUnavailable
from serinus.evidence.summary import Arm, ErrorClass, Exclusion, StageSummary
from serinus.gateway.recorder import Recorder
from serinus.gateway.shadow import Shadow
from serinus.gateway.stage import LiveStage
from serinus.replica.protocol import Format, Frame, Kind
from serinus.traffic import StageRoute, Unit, UnitKind, unit_point
from tests.unit.gateway.plane import Stage, run, served, until
from tests.unit.gateway.stand_in import StandIn, echo

ROUTE = StageRoute("r1", 1, "salt", "old", "new", 1000)
USER = Unit(UnitKind.HEADER, "x-user")
ARMS = {"old": Arm.STABLE, "new": Arm.CANDIDATE, "twin": Arm.CONTROL}


class NamedPool:
    def __init__(self, name: str) -> None:
        self.name = name


def stage_of(route: StageRoute, seed: int = 0) -> LiveStage:
    recorder = Recorder(route, 0.0, lambda: 0.0)
    pools = {name: NamedPool(name) for name in ("old", "new", "twin")}
    return LiveStage(
        route,
        pools,  # type: ignore[arg-type]
        recorder,
        Shadow(recorder, 0.0, lambda: 0.0),
        draw=Random(seed).random,  # noqa: S311 - no secret
        clock=lambda: 0.0,
    )


def arm_of(stage: LiveStage, user: str) -> Arm:
    point = stage.unit([(b"x-user", user.encode())], b"", Format.JSON)
    assert point is not None
    arm, pool = stage.side(point)
    assert ARMS[pool.name] is arm
    return arm


weights = st.integers(0, WHOLE)
users = st.text().filter(lambda user: user.encode().strip() != b"")


@settings(deadline=None)
@given(st.lists(weights, min_size=2, max_size=6), st.integers(0, 2000), users)
def test_no_unit_flips_back_while_the_weight_grows(
    steps: list[int], control: int, user: str
) -> None:
    arms = []
    for number, step in enumerate(sorted(steps)):
        route = replace(
            ROUTE,
            stage=number,
            unit=USER,
            candidate_bp=step,
            control="twin",
            control_bp=min(control, WHOLE - step),
        )
        arms.append(arm_of(stage_of(route), user))
    candidate = [arm is Arm.CANDIDATE for arm in arms]
    assert candidate == sorted(candidate)


@settings(deadline=None)
@given(weights, weights, st.floats(0, 1, exclude_max=True))
def test_every_point_belongs_to_the_arm_that_its_weight_says(
    one: int, other: int, point: float
) -> None:
    candidate, control = min(one, other), WHOLE - max(one, other)
    route = replace(ROUTE, candidate_bp=candidate, control="twin", control_bp=control)
    arm, _ = stage_of(route).side(point)
    if point < candidate / WHOLE:
        assert arm is Arm.CANDIDATE
    elif point >= (WHOLE - control) / WHOLE:
        assert arm is Arm.CONTROL
    else:
        assert arm is Arm.STABLE


@pytest.mark.parametrize("share", [10, 100, 1000, 5000])
@pytest.mark.parametrize("unit", [Unit(), USER])
def test_shares_are_what_the_weights_say(share: int, unit: Unit) -> None:
    stage = stage_of(
        replace(ROUTE, candidate_bp=share, control="twin", control_bp=share, unit=unit)
    )
    draw, count = Random(7).random, 100_000  # noqa: S311 - no secret
    points = [unit_point("salt", b"u%d" % n) if unit is USER else draw() for n in range(count)]
    arms = [stage.side(point)[0] for point in points]
    expected = count * share / WHOLE
    allowed = 3.3 * (expected * (1 - share / WHOLE)) ** 0.5  # 99.9 %
    for arm in (Arm.CANDIDATE, Arm.CONTROL):
        assert abs(arms.count(arm) - expected) <= allowed


def test_another_salt_draws_other_units() -> None:
    one = stage_of(replace(ROUTE, unit=USER, candidate_bp=5000))
    two = stage_of(replace(ROUTE, unit=USER, candidate_bp=5000, salt="other"))
    users = [f"u{number}" for number in range(400)]
    same = sum(arm_of(one, user) is arm_of(two, user) for user in users)
    assert 140 < same < 260


async def staged(
    stage: Stage, route: StageRoute, generation: int = 1
) -> tuple[StandIn, StandIn, StageSummary]:
    """Replicas of both arms behind that stage, and what is recorded of it."""
    if not stage.replicas:
        await stage.replica("r1")
        await stage.replica("r2")
    old, new = stage.replicas[:2]
    limits = {"deadline_s": 0.2}
    await stage.stage(
        generation, route, served("old", WHOLE, old, **limits), served("new", 0, new, **limits)
    )
    return old, new, recorder(stage, route).summary


def recorder(stage: Stage, route: StageRoute) -> Recorder:
    return stage.plane.book.recorder(route)


def test_the_stage_decides_and_not_the_weights() -> None:
    async def scenario(stage: Stage) -> None:
        _, _, summary = await staged(stage, ROUTE)
        stage.points = iter([0.0, 0.0999, 0.1, 0.9999])
        assert [(await stage.ask())[0] for _ in range(4)] == ["new", "new", "old", "old"]
        recorder(stage, ROUTE).fold()
        assert (summary.candidate.requests, summary.stable.requests) == (2, 2)
        assert (summary.candidate_bp, summary.stage) == (1000, 1)

    run(scenario)


def test_the_same_unit_gets_the_same_arm_and_counts_once() -> None:
    async def scenario(stage: Stage) -> None:
        route = replace(ROUTE, candidate_bp=5000, unit=USER)
        _, _, summary = await staged(stage, route)
        for user in (b"u1", b"u2", b"u3"):
            answers = {(await stage.ask(headers=[(b"x-user", user)]))[0] for _ in range(5)}
            assert len(answers) == 1
        recorder(stage, route).fold()
        arms = (summary.stable, summary.candidate)
        assert sum(arm.requests for arm in arms) == 15
        assert sum(arm.units for arm in arms) == 3
        assert sum(sum(arm.latency.values()) for arm in arms) == 3

    run(scenario)


def test_a_request_without_its_unit_is_drawn_alone_and_is_no_evidence() -> None:
    async def scenario(stage: Stage) -> None:
        route = replace(ROUTE, unit=USER)
        _, _, summary = await staged(stage, route)
        stage.points = iter([0.05, 0.5])
        assert [(await stage.ask())[0] for _ in range(2)] == ["new", "old"]
        recorder(stage, route).fold()
        assert summary.candidate.excluded == {Exclusion.NO_UNIT: 1}
        assert summary.stable.excluded == {Exclusion.NO_UNIT: 1}
        assert summary.candidate.requests == summary.stable.requests == 0

    run(scenario)


def test_a_pinned_request_is_forced_and_no_evidence() -> None:
    async def scenario(stage: Stage) -> None:
        _, _, summary = await staged(stage, ROUTE)
        stage.points = iter([])  # a pin draws nothing
        assert (await stage.ask(served="new"))[0] == "new"
        assert (await stage.ask(served="old"))[0] == "old"
        recorder(stage, ROUTE).fold()
        assert summary.candidate.excluded == {Exclusion.FORCED: 1}
        assert summary.stable.excluded == {Exclusion.FORCED: 1}
        assert summary.candidate.requests == summary.stable.requests == 0

    run(scenario)


def test_warm_up_is_excluded_and_counts_from_when_the_stage_came() -> None:
    async def scenario(stage: Stage) -> None:
        route = replace(ROUTE, warmup_s=10.0)
        _, _, summary = await staged(stage, route)
        stage.points = iter(lambda: 0.5, None)
        stage.now += 9.9
        await stage.ask()
        await staged(stage, route, generation=2)  # the same stage by another table goes on
        stage.now += 0.2
        await stage.ask()
        recorder(stage, route).fold()
        assert summary.stable.excluded == {Exclusion.WARM_UP: 1}
        assert summary.stable.requests == 1

    run(scenario)


def test_a_candidate_that_is_not_in_the_table_has_no_traffic() -> None:
    async def scenario(stage: Stage) -> None:
        old = await stage.replica("r1")
        await stage.stage(1, replace(ROUTE, shadow_bp=WHOLE), served("old", WHOLE, old))
        assert (await stage.ask())[0] == "old"
        assert stage.plane.endpoint("e").ready

    run(scenario)


def test_an_endpoint_is_ready_when_every_arm_with_traffic_is() -> None:
    async def scenario(stage: Stage) -> None:
        _, new, _ = await staged(stage, ROUTE)
        assert stage.plane.endpoint("e").ready
        new.die()
        await until(lambda: not stage.plane.endpoint("e").ready)
        await staged(stage, replace(ROUTE, stage=2, candidate_bp=0), generation=2)
        assert stage.plane.endpoint("e").ready

    run(scenario)


def test_all_that_dies_with_one_replica_is_one_event() -> None:
    async def scenario(stage: Stage) -> None:
        _, new, summary = await staged(stage, ROUTE)
        new.answer = lambda _: None
        waiting = [asyncio.create_task(stage.ask(b"%d" % n)) for n in range(5)]
        await until(lambda: len(new.received) == 5)
        new.die()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(outcome, TemporarilyUnavailable) for outcome in outcomes)
        with pytest.raises(TemporarilyUnavailable):
            await stage.ask(b"one more while it is away")
        recorder(stage, ROUTE).fold()
        assert summary.candidate.errors == {ErrorClass.MODEL: 5, ErrorClass.UNAVAILABLE: 1}
        assert summary.error_events(Arm.CANDIDATE) == 1

    run(scenario)


def test_all_that_one_stall_delays_past_its_deadline_is_one_event() -> None:
    async def scenario(stage: Stage) -> None:
        _, new, summary = await staged(stage, ROUTE)
        new.answer = lambda _: None
        waiting = [stage.ask(b"%d" % n) for n in range(4)]
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(outcome, DeadlineExceeded) for outcome in outcomes)
        recorder(stage, ROUTE).fold()
        assert summary.candidate.errors == {ErrorClass.TIMEOUT: 4}
        assert summary.error_events(Arm.CANDIDATE) == 1

    run(scenario)


def test_requests_under_way_when_a_stage_ends_count_for_it() -> None:
    async def scenario(stage: Stage) -> None:
        old, _, summary = await staged(stage, ROUTE)
        stage.points = iter(lambda: 0.5, None)
        old.answer = lambda _: None
        pending = asyncio.create_task(stage.ask())
        await until(lambda: len(old.received) == 1)
        following = replace(ROUTE, stage=2, candidate_bp=2000)
        _, _, later = await staged(stage, following, generation=2)
        old.send(echo(old.received[0]))
        await pending
        stage.plane.book.flush()
        assert (summary.stable.requests, later.stable.requests) == (1, 0)

    run(scenario)


def test_weights_that_change_within_a_stage_leave_no_evidence() -> None:
    async def scenario(stage: Stage) -> None:
        _, _, summary = await staged(stage, ROUTE)
        stage.points = iter(lambda: 0.3, None)
        await stage.ask()
        changed = replace(ROUTE, candidate_bp=5000)
        await stage.stage(
            2, changed, served("old", WHOLE, stage.replicas[0]), served("new", 0, stage.replicas[1])
        )
        assert (await stage.ask())[0] == "new"
        stage.plane.book.flush()
        assert (summary.stable.requests, summary.candidate.requests) == (1, 0)
        assert summary.candidate_bp == 1000

    run(scenario)


def test_the_gateways_latency_and_the_models_time_are_told_apart() -> None:
    async def scenario(stage: Stage) -> None:
        old, _, summary = await staged(stage, ROUTE)
        stage.points = iter(lambda: 0.5, None)

        def slow(frame: Frame) -> Frame:
            stage.now += 0.25
            return Frame(Kind.RESPONSE, frame.id, b"{}", status=200, aux=1000, batch=1)

        old.answer = slow
        await stage.ask()
        recorder(stage, ROUTE).fold()
        (latency,), (model,) = summary.stable.latency, summary.stable.model_time
        assert latency - model == pytest.approx(278.9, abs=1.1)  # log(250) / log(1.02)

    run(scenario)
