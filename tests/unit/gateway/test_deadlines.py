"""Many deadlines on one timer: each call ends at its own time, and answered ones never do."""

import asyncio
from collections.abc import Callable

import pytest

from serinus.gateway.deadlines import Deadlines


class Clockwork:
    """A loop as far as deadlines need one: its time moves only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []
        self.made = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., None], *arguments: object) -> "Timer":
        self.made += 1
        self.timers.append(Timer(self, when, lambda: callback(*arguments)))
        return self.timers[-1]

    def pass_until(self, when: float) -> None:
        while due := [each for each in self.timers if each.when <= when]:
            first = min(due, key=lambda each: each.when)
            self.timers.remove(first)
            self.now = max(self.now, first.when)
            first.ring()
        self.now = when


class Timer:
    def __init__(self, loop: Clockwork, when: float, ring: Callable[[], None]) -> None:
        self.loop, self.when, self.ring = loop, when, ring

    def cancel(self) -> None:
        if self in self.loop.timers:
            self.loop.timers.remove(self)


@pytest.fixture
def loop() -> Clockwork:
    return Clockwork()


def add(deadlines: Deadlines, loop: Clockwork, number: int, after_s: float) -> None:
    deadlines.add(number, loop, after_s)  # type: ignore[arg-type]


def test_each_ends_at_its_own_time_and_once(loop: Clockwork) -> None:
    ended: list[tuple[float, int]] = []
    deadlines = Deadlines(lambda number: ended.append((loop.now, number)))
    add(deadlines, loop, 1, 10.0)
    add(deadlines, loop, 2, 3.0)
    loop.pass_until(101.0)
    add(deadlines, loop, 3, 5.0)
    loop.pass_until(200.0)
    assert ended == [(103.0, 2), (106.0, 3), (110.0, 1)]


def test_an_answered_call_is_never_ended(loop: Clockwork) -> None:
    ended: list[int] = []
    deadlines = Deadlines(ended.append)
    add(deadlines, loop, 1, 10.0)
    add(deadlines, loop, 2, 10.0)
    deadlines.drop(1)
    deadlines.drop(7)
    loop.pass_until(200.0)
    assert ended == [2]
    assert not loop.timers


def test_one_timer_serves_many_calls(loop: Clockwork) -> None:
    deadlines = Deadlines(lambda _: None)
    for number in range(1000):
        add(deadlines, loop, number, 60.0)
        deadlines.drop(number)
    assert loop.made == 1


def test_a_timer_that_rings_a_little_early_is_early_for_nobody_twice(loop: Clockwork) -> None:
    ended: list[int] = []
    deadlines = Deadlines(ended.append)
    add(deadlines, loop, 1, 10.0)
    ringing = loop.timers.pop()
    loop.now = ringing.when - 0.0005
    ringing.ring()
    assert ended == [1]
    assert not loop.timers


def test_stopped_it_rings_no_more(loop: Clockwork) -> None:
    ended: list[int] = []
    deadlines = Deadlines(ended.append)
    add(deadlines, loop, 1, 10.0)
    deadlines.stop()
    loop.pass_until(200.0)
    assert not ended


def test_on_a_real_loop_a_call_ends() -> None:
    async def some() -> int:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[int] = loop.create_future()
        deadlines = Deadlines(ended.set_result)
        deadlines.add(5, loop, 0.01)
        async with asyncio.timeout(60):
            return await ended

    assert asyncio.run(some()) == 5
