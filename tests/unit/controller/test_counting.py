"""What gateways tell of their requests, added up: since they began, and over the last minute."""

import msgspec
import pytest

from serinus.controller.counting import Counting
from serinus.evidence.meter import EDGES_S, Counts, Meter
from serinus.gateway.metrics import Meters
from serinus.traffic import EndpointRoutes, ServedRoute


class Gateway:
    """One gateway that counts, and tells."""

    def __init__(self, counting: Counting, incarnation: str = "a") -> None:
        self.counting, self.incarnation = counting, incarnation
        self.meters = Meters()
        self.told = False

    def answer(self, served: str, times: int = 1, status: int = 200, took: float = 0.03) -> None:
        for _ in range(times):
            self.meters.of("e", served).count(status, took, 20_000)

    def tell(self) -> int:
        moved = self.meters.changed() if self.told else self.meters.all()
        counts = Counts("gateway-0", self.incarnation, not self.told, moved)
        self.told = True
        sent = msgspec.msgpack.encode(counts)
        self.counting.take(msgspec.msgpack.decode(sent, type=Counts))
        return len(moved)


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def counting(clock):
    return Counting(lambda: clock[0])


def test_the_last_minute_is_that_of_all_gateways_and_entities(counting, clock):
    one, two = Gateway(counting, "a"), Gateway(counting, "b")
    one.tell(), two.tell()
    for second in range(180):
        clock[0] = 1000.0 + second
        one.answer("m-1", 2)
        two.answer("m-2", 1, status=500)
        one.meters.of("e").refuse(429)
        one.tell(), two.tell()
    minute = counting.minute("e")
    for status, each in ((200, 2), (500, 1), (429, 1)):
        assert minute.statuses[status] == pytest.approx(60 * each, abs=3 * each)
    assert sum(minute.latency.buckets) == pytest.approx(180, abs=9)
    assert minute.latency.buckets[EDGES_S.index(0.05)] == sum(minute.latency.buckets)
    assert minute.model.seconds == pytest.approx(180 * 0.02, rel=0.05)
    assert minute.queue.seconds == pytest.approx(180 * 0.01, rel=0.05)
    totals = {each.served: each.statuses for each in counting.totals()}
    assert totals == {"": {429: 180}, "m-1": {200: 360}, "m-2": {500: 180}}
    # Silence makes it empty, and the sums stay.
    clock[0] += 61
    assert counting.minute("e").requests == 0
    assert sum(each.requests for each in counting.totals()) == 720


def test_what_was_told_before_does_not_count_again(counting, clock):
    gateway = Gateway(counting)
    gateway.answer("m", 100)
    gateway.tell()
    # It served on while there was no controller; nobody knows when these were.
    assert counting.minute("e").requests == 0
    gateway.answer("m", 5)
    gateway.tell(), gateway.tell()
    gateway.told = False
    gateway.tell()
    assert counting.minute("e").requests == 5
    assert counting.totals()[0].requests == 105


def test_a_gateway_that_is_gone_still_counts_and_has_nothing_in_flight(counting, clock):
    old = Gateway(counting, "a")
    old.tell()
    old.answer("m", 3)
    old.meters.of("e", "m").in_flight = 2
    old.tell()
    assert counting.totals()[0].in_flight == 2
    counting.gone(("gateway-0", "a"))
    new = Gateway(counting, "b")
    new.tell()
    new.answer("m", 4)
    new.tell()
    assert counting.totals()[0].in_flight == 0
    assert counting.minute("e").requests == 7


def test_an_endpoint_that_takes_a_name_over_begins_at_nothing(counting, clock):
    gateway = Gateway(counting)
    gateway.tell()
    gateway.answer("m", 9)
    gateway.tell()
    gateway.meters.keep([])
    gateway.answer("m", 2)
    gateway.tell()
    assert counting.minute("e").requests == 2
    counting.keep({"e"})
    assert len(counting.totals()) == 1
    gateway.meters.of("").refuse(408)
    gateway.tell()
    counting.keep({"another"})
    assert [(each.endpoint, each.statuses) for each in counting.totals()] == [("", {408: 1})]
    gateway.meters.keep([])
    assert [each.endpoint for each in gateway.meters.all()] == [""]


def test_only_what_moved_is_told_and_what_is_gone_is_forgotten(counting):
    gateway = Gateway(counting)
    gateway.answer("m-1")
    gateway.answer("m-2")
    assert gateway.tell() == 2
    assert gateway.tell() == 0
    gateway.answer("m-1")
    assert gateway.tell() == 1
    gateway.meters.keep([EndpointRoutes("e", (ServedRoute("m-2", 10_000, ()),))])
    gateway.answer("m-1")
    assert gateway.tell() == 1  # served no more, and still known
    for number in range(100):
        gateway.answer(f"old-{number}")
    gateway.meters.keep([EndpointRoutes("e", (ServedRoute("m-2", 10_000, ()),))])
    assert len(gateway.meters.all()) < 40
    gateway.meters.keep([])
    assert gateway.meters.all() == []


def test_many_gateways_come_and_go(counting, clock):
    for number in range(200):
        clock[0] += 1
        gateway = Gateway(counting, f"{number}")
        gateway.tell()
        gateway.answer("m")
        gateway.tell()
    assert 50 < counting.totals()[0].requests <= 64


def test_meters_add_and_subtract():
    one, two = Meter("e", "m"), Meter("e", "m")
    one.count(200, 0.001)
    two.count(200, 700.0, 1_000_000)
    two.refuse(503)
    both = one.add(two)
    assert both.add(one, -1) == two
    assert both.latency.buckets[-1] == 1
    assert both.statuses == {200: 2, 503: 1}
