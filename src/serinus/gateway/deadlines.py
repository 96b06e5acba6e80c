"""The deadlines of many calls on one timer: one for each costs as much as sending the call.

Answers come long before their deadlines as a rule. So an answer only crosses its call off, and the
timer, when it rings, looks which are still there. It must never ring later than the earliest.
"""

import asyncio
from collections.abc import Callable
from math import inf

__all__ = ["Deadlines"]

#: Timers of event loops count in milliseconds, and round.
_ROUNDING_S = 0.001


class Deadlines:
    """Of calls by their number; ``expire`` is called with each that is still there at its end."""

    __slots__ = ("_ends", "_expire", "_rings_at", "_timer")

    def __init__(self, expire: Callable[[int], None]) -> None:
        self._expire = expire
        self._ends: dict[int, float] = {}
        self._rings_at = inf
        self._timer: asyncio.TimerHandle | None = None

    def add(self, number: int, loop: asyncio.AbstractEventLoop, after_s: float) -> None:
        """The call ends so many seconds from now."""
        end = loop.time() + after_s
        self._ends[number] = end
        if end < self._rings_at:
            self._ring_at(end, loop)

    def drop(self, number: int) -> None:
        """The call has ended, one way or another."""
        self._ends.pop(number, None)

    def stop(self) -> None:
        """Ring no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._rings_at = None, inf

    def _ring_at(self, end: float, loop: asyncio.AbstractEventLoop) -> None:
        self.stop()
        self._rings_at = end
        self._timer = loop.call_at(end, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self.stop()
        late = loop.time() + _ROUNDING_S
        for number in [number for number, end in self._ends.items() if end <= late]:
            del self._ends[number]
            self._expire(number)
        if self._ends:
            self._ring_at(min(self._ends.values()), loop)
