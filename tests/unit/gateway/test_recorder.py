"""From outcomes to evidence: whose fault, which events are one, what does not count."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from serinus.errors import (
    BadRequest,
    DeadlineExceeded,
    InternalError,
    ResourceExhausted,
    SerinusError,
)
from serinus.evidence.histogram import duration_bucket
from serinus.evidence.summary import Arm, ErrorClass, Exclusion, StageSummary
from serinus.gateway.pool import NoAnswer, NoReplica
from serinus.gateway.recorder import Recorder, fault_of
from serinus.replica.protocol import Frame, Kind
from serinus.traffic import ReplicaAddress, StageRoute, Unit, UnitKind

ROUTE = StageRoute("r1", 1, "salt", "old", "new", 1000)


class Link:
    def __init__(self, name: str = "r1") -> None:
        self.address = ReplicaAddress(name, "/nowhere", "d" * 64)
        self.joined_at = 0.0


ONE, TWO = Link("r1"), Link("r2")


def answer(status: int = 200, body: bytes = b"{}", model_us: int = 100, batch: int = 0) -> Frame:
    return Frame(Kind.RESPONSE, 1, body, status=status, aux=model_us, batch=batch)


class Desk:
    """A recorder whose requests each come a second after the other."""

    def __init__(self, route: StageRoute = ROUTE) -> None:
        self.now = 1000.0
        self.recorder = Recorder(route, self.now, lambda: self.now)
        self.count = 0

    def again(self, times: int, outcome: Frame | SerinusError, body: bytes | None = None) -> None:
        """The same outcome, that often."""
        for _ in range(times):
            self.note(outcome, body=body)

    def note(
        self,
        outcome: Frame | SerinusError,
        arm: Arm = Arm.CANDIDATE,
        *,
        point: float | None = None,
        link: Link | None = ONE,
        body: bytes | None = None,
        after_s: float = 2.0,
        took_s: float = 0.01,
    ) -> None:
        self.now += after_s
        self.count += 1
        self.recorder.note(
            arm,
            point,
            self.now,
            self.now + took_s,
            link,  # type: ignore[arg-type]
            outcome,
            b"body %d" % self.count if body is None else body,
        )


#: The bucket of 0.3 s.
LATE = duration_bucket(0.3)


def seen(what: Callable[[Desk], None], route: StageRoute = ROUTE) -> StageSummary:
    """The summary after that has been noted and the loop has turned."""

    async def main() -> StageSummary:
        desk = Desk(route)
        what(desk)
        assert desk.recorder.summary.candidate.requests == 0, "counted on the response path"
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return desk.recorder.summary

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("outcome", "fault"),
    [
        (answer(200), None),
        (answer(400, model_us=0), ErrorClass.CLIENT),
        (answer(413, model_us=0), ErrorClass.CLIENT),
        (answer(400, model_us=12), ErrorClass.MODEL),  # predict raised
        (answer(500), ErrorClass.MODEL),
        (answer(500, model_us=0), ErrorClass.MODEL),
        (answer(504, model_us=0), ErrorClass.TIMEOUT),
        (BadRequest(), ErrorClass.CLIENT),
        (InternalError(), ErrorClass.MODEL),
        (DeadlineExceeded(), ErrorClass.TIMEOUT),
        (NoAnswer(("stall", "r1", 1)), ErrorClass.TIMEOUT),
        (NoReplica("none", ("outage", "new", 1), died=False), ErrorClass.UNAVAILABLE),
        (NoReplica("died", ("outage", "new", 1), died=True), ErrorClass.MODEL),
        (ResourceExhausted(), ErrorClass.UNAVAILABLE),
    ],
)
def test_whose_fault_it_is(outcome: Frame | SerinusError, fault: ErrorClass | None) -> None:
    assert fault_of(outcome) is fault
    summary = seen(lambda desk: desk.note(outcome))
    assert summary.candidate.requests == 1
    assert summary.candidate.errors == ({} if fault is None else {fault: 1})
    assert summary.error_events(Arm.CANDIDATE) == (fault not in (None, ErrorClass.CLIENT))


def test_answers_of_one_batch_are_one_observation_of_time() -> None:
    def requests(desk: Desk) -> None:
        for batch, link, after_s in (
            (7, ONE, 2),
            (7, ONE, 0),
            (7, ONE, 0),
            (8, ONE, 2),
            (7, TWO, 0),
        ):
            desk.note(answer(batch=batch), link=link, after_s=after_s)

    summary = seen(requests)
    assert summary.candidate.requests == 5
    assert sum(summary.candidate.latency.values()) == 3
    assert sum(summary.candidate.model_time.values()) == 3


def test_answers_without_a_batch_are_observed_one_by_one() -> None:
    summary = seen(lambda desk: desk.again(3, answer(batch=0)))
    assert sum(summary.candidate.latency.values()) == 3


def test_answers_that_waited_for_one_stall_are_one_observation_of_time() -> None:
    def requests(desk: Desk) -> None:
        began = desk.now + 10.0
        # Each a batch of its own: the first hangs for 0.4 s, 20 more wait behind it.
        for number in range(21):
            at = began + number * 0.02
            desk.now = at
            desk.note(
                answer(batch=number + 1), after_s=0.0, took_s=began + 0.4 + number * 0.009 - at
            )
        # Another replica's answer does not wait for that one, and one asked later waits for none.
        desk.now = began
        desk.note(answer(batch=1), link=TWO, after_s=0.1)
        desk.note(answer(batch=22), after_s=1.0)

    summary = seen(requests)
    assert summary.candidate.requests == 23
    assert sum(summary.candidate.latency.values()) == 4  # the stall, one at its end, TWO, the last
    slow = sum(count for bucket, count in summary.candidate.latency.items() if bucket > LATE)
    assert slow == 1
    assert sum(summary.candidate.model_time.values()) == 23


def test_a_slow_replica_is_timed_again_and_again() -> None:
    def requests(desk: Desk) -> None:
        for _ in range(50):
            desk.note(answer(), after_s=0.05, took_s=0.2)

    # Four are under way at any moment, one of them is timed.
    summary = seen(requests)
    assert 10 <= sum(summary.candidate.latency.values()) <= 13


def test_failures_of_one_batch_are_one_event() -> None:
    def requests(desk: Desk) -> None:
        for batch in (7, 7, 7, 8):
            desk.note(answer(500, batch=batch))

    summary = seen(requests)
    assert summary.candidate.errors == {ErrorClass.MODEL: 4}
    assert summary.error_events(Arm.CANDIDATE) == 2


def test_independent_failures_are_events_each() -> None:
    def requests(desk: Desk) -> None:
        for batch in range(1, 6):
            desk.note(answer(500, batch=batch))
            desk.note(answer(500), Arm.STABLE)

    summary = seen(requests)
    assert summary.error_events(Arm.CANDIDATE) == summary.error_events(Arm.STABLE) == 5


def test_a_body_sent_again_and_again_at_once_is_one_event_on_the_arm_it_met_first() -> None:
    def requests(desk: Desk) -> None:
        for number in range(500):
            arm = Arm.CANDIDATE if number % 20 == 3 else Arm.STABLE
            desk.note(answer(500), arm, body=b"poison", after_s=0.001)
        # Nobody ever answers it: still the same broken request, an hour later.
        desk.note(answer(500), Arm.CANDIDATE, body=b"poison", after_s=3600.0)

    summary = seen(requests)
    assert summary.stable.errors[ErrorClass.MODEL] == 475
    assert (summary.error_events(Arm.STABLE), summary.error_events(Arm.CANDIDATE)) == (1, 0)
    assert (summary.stable.failed, summary.candidate.failed) == (475, 26)  # users met all of them


def test_a_body_that_others_answer_is_not_what_is_broken() -> None:
    def requests(desk: Desk) -> None:
        for _ in range(10):
            desk.note(answer(500), body=b"fine")
            desk.note(answer(), Arm.STABLE, body=b"fine", after_s=0.1)
            desk.note(answer(500), body=b"fine", after_s=0.1)  # at once: the same event

    assert seen(requests).error_events(Arm.CANDIDATE) == 10


def test_a_unit_that_fails_fails_once() -> None:
    def requests(desk: Desk) -> None:
        for batch in (3, 3, 4, 5):
            desk.note(answer(500, batch=batch), point=0.25)
        desk.note(answer(500, batch=6), point=0.5)

    summary = seen(requests, STICKY)
    assert (summary.candidate.failed, summary.error_events(Arm.CANDIDATE)) == (2, 2)


def test_what_a_replica_answers_that_has_just_joined_is_left_out_and_counted() -> None:
    fresh = Link("fresh")

    def requests(desk: Desk) -> None:
        fresh.joined_at = desk.now + 60.0
        for _ in range(40):  # one every two seconds
            desk.note(answer(), link=ONE)
            desk.note(answer(500), Arm.STABLE, link=fresh, after_s=0.0)

    summary = seen(requests, replace(ROUTE, warmup_s=10.0))
    # The stage's own ten seconds, and then all from before the replica was ten seconds old.
    assert summary.candidate.excluded == {Exclusion.WARM_UP: 4}
    assert summary.stable.excluded == {Exclusion.WARM_UP: 34}
    assert (summary.stable.requests, summary.stable.units) == (6, 36)
    assert summary.error_events(Arm.STABLE) == 6


def test_a_retry_of_a_long_body_is_found_by_its_ends() -> None:
    long = b'{"client_request_id": "a", "rows": "' + b"x" * 100_000 + b'"}'

    def requests(desk: Desk) -> None:
        desk.note(answer(), body=long)
        desk.note(answer(), body=long)
        desk.note(answer(), body=long.replace(b'"a"', b'"b"'))

    summary = seen(requests)
    assert summary.candidate.excluded == {Exclusion.RETRIED: 1}
    assert summary.candidate.requests == 2


def test_one_outage_is_one_event_until_it_has_lasted_a_minute() -> None:
    outage = NoReplica("none", ("outage", "new", 1), died=False)

    def requests(desk: Desk) -> None:
        for _ in range(29):
            desk.note(outage, link=None)
        desk.note(NoReplica("none", ("outage", "new", 99), died=True), link=None)

    assert seen(requests).error_events(Arm.CANDIDATE) == 2
    assert seen(lambda desk: desk.again(45, outage)).error_events(Arm.CANDIDATE) == 2


def test_two_gateways_name_one_outage_alike() -> None:
    outage = NoReplica("none", ("outage", "new", 1), died=False)
    one, two = (seen(lambda desk: desk.note(outage)) for _ in range(2))
    assert one.add(two).error_events(Arm.CANDIDATE) == 1


STICKY = replace(ROUTE, unit=Unit(UnitKind.HEADER, "x-user"))


def test_a_sticky_unit_is_at_most_one_event_and_one_observation() -> None:
    def requests(desk: Desk) -> None:
        for _ in range(3):
            desk.note(answer(body=b'{"predictions":[1]}'), point=0.25)
        for _ in range(3):
            desk.note(answer(500), point=0.25)
        desk.note(answer(500), point=0.5)

    summary = seen(requests, STICKY)
    assert (summary.candidate.requests, summary.candidate.units) == (7, 2)
    assert sum(summary.candidate.latency.values()) == 1
    assert summary.candidate.predictions == {"1": 1}
    assert summary.error_events(Arm.CANDIDATE) == 2


def test_a_unit_that_was_part_of_an_accident_contributes_no_second_event() -> None:
    outage = NoReplica("none", ("outage", "new", 1), died=False)

    def requests(desk: Desk) -> None:
        for point in (0.1, 0.2, 0.3):
            desk.note(outage, point=point)
        for point in (0.1, 0.2, 0.3):
            desk.note(answer(500), point=point)

    assert seen(requests, STICKY).error_events(Arm.CANDIDATE) == 1


def test_one_broken_request_is_one_event_of_all_gateways() -> None:
    def at(number: int, arm: Arm) -> Callable[[Desk], None]:
        def requests(desk: Desk) -> None:
            desk.now += number
            for _ in range(250):
                desk.note(answer(500), arm, body=b"poison", after_s=0.001)
            desk.note(answer(500), arm, body=b"another of gateway %d" % number)

        return requests

    one, two = seen(at(5, Arm.STABLE)), seen(at(3, Arm.CANDIDATE))
    for both in (one.add(two), two.add(one)):
        assert both.stable.failed + both.candidate.failed == 502
        # It met the candidate first, at the gateway whose clock says so.
        assert both.error_events(Arm.CANDIDATE) == 2
        assert both.error_events(Arm.STABLE) == 1


def test_a_retry_that_fails_at_another_gateway_is_no_second_event() -> None:
    body = b'{"instances":[[1]],"client_request_id":"c1"}'
    one, two = (seen(lambda desk: desk.note(answer(500), body=body)) for _ in range(2))
    assert one.add(two).error_events(Arm.CANDIDATE) == 1


def test_a_body_that_fails_again_after_an_answer_is_an_event_at_each_gateway() -> None:
    def requests(desk: Desk) -> None:
        for _ in range(3):
            desk.note(answer(500), body=b"fine")
            desk.note(answer(), Arm.STABLE, body=b"fine")

    one, two = (seen(requests) for _ in range(2))
    assert one.error_events(Arm.CANDIDATE) == 3
    assert one.add(two).error_events(Arm.CANDIDATE) == 1 + 2 + 2


def test_a_long_broken_body_sent_at_once_is_one_event() -> None:
    body = b"x" * 200_000

    def requests(desk: Desk) -> None:
        for _ in range(500):
            desk.note(answer(500), body=body, after_s=0.001)
        desk.note(answer(500), body=body, after_s=5.0)

    assert seen(requests).error_events(Arm.CANDIDATE) == 2


def test_only_so_many_failing_bodies_are_named() -> None:
    def requests(desk: Desk) -> None:
        for _ in range(700):
            desk.note(answer(500), after_s=0.01)

    summary = seen(requests)
    assert summary.error_events(Arm.CANDIDATE) == 700
    assert len(summary.first_events) == 500


def test_two_gateways_count_the_error_of_one_unit_once() -> None:
    one, two = (seen(lambda desk: desk.note(answer(500), point=0.25), STICKY) for _ in range(2))
    both = one.add(two)
    assert both.candidate.errors == {ErrorClass.MODEL: 2}
    assert both.error_events(Arm.CANDIDATE) == 1


def test_what_a_client_sends_again_under_its_own_id_is_no_evidence() -> None:
    body = b'{"instances":[[1]],"client_request_id":"c1"}'

    def requests(desk: Desk) -> None:
        desk.note(answer(500), body=body)
        desk.note(answer(500), body=body)
        desk.note(answer(), body=body.replace(b"c1", b"c2"))
        desk.note(answer(), body=body, after_s=61.0)

    summary = seen(requests)
    assert summary.candidate.excluded == {Exclusion.RETRIED: 1}
    assert summary.candidate.requests == 3


def test_equal_bodies_without_an_id_are_different_requests() -> None:
    summary = seen(lambda desk: desk.again(4, answer(), b"{}"))
    assert (summary.candidate.requests, summary.candidate.excluded) == (4, {})


PAD = b'"x":"' + b"y" * 5000 + b'"'


@pytest.mark.parametrize(
    "body", [b'{"client_request_id":"1",' + PAD + b"}", b"{" + PAD + b',"client_request_id":"1"}']
)
def test_the_id_is_found_at_either_end_of_a_body(body: bytes) -> None:
    summary = seen(lambda desk: desk.again(2, answer(), body))
    assert summary.candidate.excluded == {Exclusion.RETRIED: 1}


def test_predictions_are_counted_and_bounded_for_both_arms_together() -> None:
    def requests(desk: Desk) -> None:
        for number in range(150):
            arm = Arm.CANDIDATE if number % 2 else Arm.STABLE
            desk.note(answer(body=b'{"predictions":["cat"]}'), arm, after_s=0.001)
        desk.note(answer(body=b'{"predictions":["dog"]}'), after_s=1.0)

    summary = seen(requests)
    assert summary.stable.predictions == {"cat": 50}
    assert summary.candidate.predictions == {"cat": 50, "dog": 1}


def test_a_batch_counts_by_the_first_of_its_units_that_is_new() -> None:
    def requests(desk: Desk) -> None:
        for point, batch, after_s in ((0.1, 1, 2), (0.1, 2, 2), (0.2, 2, 0), (0.3, 2, 0)):
            desk.note(answer(batch=batch), point=point, after_s=after_s)

    summary = seen(requests, STICKY)
    assert summary.candidate.units == 3
    assert sum(summary.candidate.latency.values()) == 2
    assert sum(summary.candidate.model_time.values()) == 2


def test_memories_are_bounded() -> None:
    async def main() -> None:
        desk = Desk(STICKY)
        for number in range(30_000):
            desk.note(answer(500, batch=number + 1), point=number / 30_000, after_s=0.0)
            if number % 1000 == 0:
                desk.recorder.fold()
        desk.recorder.fold()
        summary = desk.recorder.summary
        assert summary.candidate.units >= 29_900  # two units in a cell of the map are one
        assert len(summary.first_events) + summary.keys_dropped <= 30_000
        assert len(summary.first_events) <= 10_000
        memory = desk.recorder._failed_batches
        assert len(memory._old) + len(memory._new) <= 20_000
        assert len(desk.recorder._bodies) <= 20_000

    asyncio.run(main())
