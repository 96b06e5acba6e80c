"""Long work beside a thread that serves: taken in small parts, with a rest after each.

The interpreter's lock changes hands where work is let go of, not where it is wanted. It never drops
an item and never changes their order.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

__all__ = ["Breath", "let_go", "with_pauses"]

#: Items between two pauses: some 100 µs of looking at requests.
_ITEMS = 32
#: How many times as long as it has worked a thread rests; it takes a quarter of a core at most.
_REST = 3.0
#: The shortest rest lets the other thread take the lock; the longest is for who was held up itself.
_LEAST_S, _MOST_S = 0.00005, 0.005
Item = TypeVar("Item")


class Breath:
    """Rests after work, by how much of it there was. Called by one thread."""

    def __init__(
        self,
        worked: Callable[[], float] = time.thread_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``worked`` is the CPU time of the thread that calls."""
        self._worked = worked
        self._sleep = sleep
        self._since = 0.0

    def __call__(self) -> None:
        """Rest."""
        worked = self._worked() - self._since
        self._sleep(min(max(worked * _REST, _LEAST_S), _MOST_S))
        self._since = self._worked()


def with_pauses(items: Iterable[Item], pause: Callable[[], None]) -> Iterator[Item]:
    """The items, with a pause after so many."""
    for at, item in enumerate(items, 1):
        yield item
        if not at % _ITEMS:
            pause()


def let_go(items: list[Item], pause: Callable[[], None]) -> None:
    """Empty the list. To free thousands of rows at once holds the lock for milliseconds."""
    while items:
        del items[-_ITEMS:]
        pause()
