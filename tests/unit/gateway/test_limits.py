"""Rate limits: bursts, refills, shares of several gateways, users of their own, new tables."""

import pytest

from serinus.entities import RateLimit
from serinus.errors import RequestLimitExceeded
from serinus.gateway.limits import EndpointLimits, Limits
from serinus.traffic import EndpointRoutes


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def passed(limits: EndpointLimits, calls: int, user: str = "") -> int:
    """How many of these calls come through."""
    through = 0
    for _ in range(calls):
        try:
            limits.take(user)
        except RequestLimitExceeded:
            continue
        through += 1
    return through


def test_a_minute_holds_what_was_asked_for_and_fills_steadily(clock: Clock) -> None:
    limits = EndpointLimits("e", (RateLimit(60),), 1, clock)
    assert passed(limits, 100) == 60
    clock.now += 10.0
    assert passed(limits, 100) == 10
    clock.now += 3600.0
    assert passed(limits, 100) == 60  # what is not used is not saved up
    with pytest.raises(RequestLimitExceeded) as refusal:
        limits.take("")
    assert refusal.value.retry_after == 1
    assert "60 a minute" in refusal.value.message


def test_over_a_long_time_it_is_the_rate(clock: Clock) -> None:
    limits = EndpointLimits("e", (RateLimit(30),), 1, clock)
    through = 0
    for _ in range(6000):
        clock.now += 0.1
        through += passed(limits, 1)
    assert through == pytest.approx(300 + 30, abs=1)


def test_gateways_share_it(clock: Clock) -> None:
    both = [EndpointLimits("e", (RateLimit(10),), 2, clock) for _ in range(2)]
    assert sum(passed(each, 100) for each in both) == 10


def test_a_share_below_one_still_lets_one_through(clock: Clock) -> None:
    limits = EndpointLimits("e", (RateLimit(1),), 4, clock)
    assert passed(limits, 5) == 1
    clock.now += 60.0
    assert passed(limits, 5) == 0
    clock.now += 180.0
    assert passed(limits, 5) == 1


def test_none_at_all(clock: Clock) -> None:
    limits = EndpointLimits("e", (RateLimit(0),), 1, clock)
    assert passed(limits, 5) == 0
    clock.now += 1e6
    assert passed(limits, 5) == 0


def test_users_have_buckets_of_their_own(clock: Clock) -> None:
    rules = (RateLimit(2, "user"), RateLimit(5, "user", "batch"), RateLimit(8))
    limits = EndpointLimits("e", rules, 1, clock)
    assert passed(limits, 9, "ann") == 2
    assert passed(limits, 9, "bob") == 2
    assert passed(limits, 9, "batch") == 4  # its own 5, and the endpoint's 8 are spent


def test_what_is_refused_costs_nothing(clock: Clock) -> None:
    limits = EndpointLimits("e", (RateLimit(1, "user"), RateLimit(2)), 1, clock)
    assert passed(limits, 50, "ann") == 1
    assert passed(limits, 1, "bob") == 1


def test_only_the_named_user_is_limited(clock: Clock) -> None:
    limits = EndpointLimits("e", (RateLimit(1, "user", "batch"),), 1, clock)
    assert passed(limits, 50, "ann") == 50
    assert passed(limits, 50, "batch") == 1


def test_a_new_table_does_not_fill_the_buckets(clock: Clock) -> None:
    limits = Limits(1, clock)
    rules = (RateLimit(3),)
    routes = (EndpointRoutes("e", (), limits=rules), EndpointRoutes("f", ()))
    first = limits.learn(routes)
    assert passed(first["e"], 9) == 3
    assert "f" not in first
    again = limits.learn((*routes, EndpointRoutes("g", ())))
    assert passed(again["e"], 9) == 0
    other = limits.learn((EndpointRoutes("e", (), limits=(RateLimit(4),)),))
    assert passed(other["e"], 9) == 4
    assert limits.learn((EndpointRoutes("e", ()),)) == {}
