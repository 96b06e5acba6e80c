"""Tasks of the event loop that answer requests, one after the other.

To make a task for each request costs a fifteenth of all that a gateway does for it. A task whose
request was cut off ends with it.
"""

import asyncio

from serinus.gateway.exchange import Application, Exchange

__all__ = ["Hands"]

_WAITING = 512


class Hands:
    """Those of one gateway; there are as many as requests are worked on at a time."""

    __slots__ = ("_application", "_loop", "_resting", "_stopped", "_waiting")

    def __init__(
        self, application: Application, loop: asyncio.AbstractEventLoop, waiting: int = _WAITING
    ) -> None:
        """``waiting``: how many may wait for work; what more there are end with their request."""
        self._waiting = waiting
        self._application = application
        self._loop = loop
        #: Each task that waits, and what wakes it. The one that has rested shortest goes first.
        self._resting: list[tuple[asyncio.Task[None], asyncio.Future[Exchange]]] = []
        self._stopped = False

    def take(self, exchange: Exchange) -> None:
        """Have it answered, from the next turn of the loop on."""
        if self._resting:
            exchange.task, wake = self._resting.pop()
            wake.set_result(exchange)
        else:
            exchange.task = self._loop.create_task(self._work(exchange))

    async def _work(self, exchange: Exchange) -> None:
        application, resting = self._application, self._resting
        while True:
            task = exchange.task
            await exchange.run(application)
            if task is None or self._stopped or len(resting) >= self._waiting:
                return
            wake: asyncio.Future[Exchange] = self._loop.create_future()
            resting.append((task, wake))
            del exchange  # what it holds is the caller's no longer
            exchange = await wake

    def stop(self) -> None:
        """Those that wait end now, the others with their request."""
        self._stopped = True
        for task, _ in self._resting:
            task.cancel()
        self._resting.clear()
