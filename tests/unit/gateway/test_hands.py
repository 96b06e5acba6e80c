"""Tasks that answer one request after the other: none is lost, mixed up or left behind."""

import asyncio
from typing import Any

from serinus.gateway.exchange import Exchange
from serinus.gateway.hands import Hands


class Line:
    """A connection that notes which exchanges have ended."""

    def __init__(self) -> None:
        self.ended_with: list[Exchange] = []

    def write(self, *parts: bytes) -> None:
        return

    async def writable(self) -> None:
        return

    def hold(self) -> None:
        return

    go_on = hold

    def stays_open(self) -> bool:
        return True

    def answered(self, exchange: Exchange) -> None:
        return

    def ended(self, exchange: Exchange) -> None:
        self.ended_with.append(exchange)


class Office:
    """Hands whose application waits until it is let go on."""

    def __init__(self, waiting: int = 512) -> None:
        self.line = Line()
        self.begun: list[tuple[str, asyncio.Task[Any] | None]] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.hands = Hands(self._answer, asyncio.get_running_loop(), waiting)

    def ask(self, name: str) -> Exchange:
        self.gates[name] = asyncio.Event()
        exchange = Exchange(self.line, {"name": name}, keep_alive=True, expects=False)
        self.hands.take(exchange)
        return exchange

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        name = scope["name"]
        self.begun.append((name, asyncio.current_task()))
        await self.gates[name].wait()
        if name == "bad":
            raise ValueError("the application's own fault")


async def _turns() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


def test_one_after_the_other_is_one_task() -> None:
    async def run() -> None:
        office = Office()
        for name in ("a", "bad", "c"):
            asked = office.ask(name)
            await _turns()
            assert office.begun[-1] == (name, asked.task)
            office.gates[name].set()
            await _turns()
            assert office.line.ended_with[-1] is asked
        assert len({task for _, task in office.begun}) == 1
        office.hands.stop()
        await _turns()
        assert all(task is not None and task.done() for _, task in office.begun)

    asyncio.run(run())


def test_at_the_same_time_are_as_many_tasks() -> None:
    async def run() -> None:
        office = Office()
        asked = [office.ask(name) for name in "abc"]
        await _turns()
        assert len({each.task for each in asked}) == 3
        office.gates["b"].set()
        await _turns()
        again = office.ask("d")
        assert again.task is asked[1].task
        for gate in office.gates.values():
            gate.set()
        await _turns()
        assert sorted(each.scope["name"] for each in office.line.ended_with) == list("abcd")
        office.hands.stop()

    asyncio.run(run())


def test_a_request_that_is_cut_off_takes_its_task_along() -> None:
    async def run() -> None:
        office = Office()
        cut = office.ask("a")
        await _turns()
        assert cut.task is not None
        cut.task.cancel()
        await _turns()
        assert cut.task.cancelled()
        assert office.line.ended_with == [cut]
        after = office.ask("b")
        assert after.task is not cut.task
        await _turns()
        assert office.begun[-1] == ("b", after.task)
        office.gates["b"].set()
        await _turns()
        office.hands.stop()

    asyncio.run(run())


def test_who_is_at_work_when_it_stops_ends_with_its_request() -> None:
    async def run() -> None:
        office = Office()
        asked = office.ask("a")
        await _turns()
        office.hands.stop()
        await _turns()
        assert asked.task is not None
        assert not asked.task.done()
        office.gates["a"].set()
        await _turns()
        assert asked.task.done()

    asyncio.run(run())


def test_few_wait_however_many_worked() -> None:
    async def run() -> None:
        office = Office(2)
        asked = [office.ask(name) for name in "abcde"]
        await _turns()
        for gate in office.gates.values():
            gate.set()
        await _turns()
        done = [each.task.done() for each in asked if each.task is not None]
        assert sorted(done) == [False, False, True, True, True]
        office.hands.stop()

    asyncio.run(run())
