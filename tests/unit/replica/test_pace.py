"""A model of known cost behind a deep queue: how much of it each turn takes, and how soon."""

import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.replica.loop import Loop
from serinus.replica.pace import Pace
from serinus.replica.protocol import Decoder, Frame, Hello, Kind, encode
from serinus.replica.scorer import Request
from serinus.replica.sizes import Sizes

Cost = Callable[[int, int], float]
_ROW = 40  # bytes


class Replica:
    """Takes turns over a queue that never ends; ``cost`` of (requests, rows) is in seconds."""

    def __init__(
        self, cost: Cost, *, most: int = 128, target_s: float = 0.05, together: bool = True
    ) -> None:
        self.sizes = Sizes()
        self.cost = cost
        self.most = most
        self.pace = Pace(self.sizes, most, target_s, together=together)

    def turn(
        self, rows: Sequence[int] = (1,) * 200, left_s: float = 60.0, delay: float = 0.0
    ) -> tuple[int, float]:
        """Requests and seconds of one turn over requests of these rows."""
        most, room = self.pace.room(left_s) if len(rows) > 1 else (self.most, float("inf"))
        taken, size = 0, 0
        while taken < min(most, self.most, len(rows)):
            if taken and size + rows[taken] * _ROW > room:
                break
            size += rows[taken] * _ROW
            taken += 1
        self.sizes.count(taken, sum(rows[:taken]))
        took = self.cost(taken, sum(rows[:taken]))
        self.pace.note(size, took + delay)
        return taken, took

    def turns(self, count: int, left_s: float = 60.0) -> list[tuple[int, float]]:
        return [self.turn(left_s=left_s) for _ in range(count)]


def linear(fixed_s: float, per_row_s: float) -> Cost:
    return lambda _, rows: fixed_s + per_row_s * rows


def usual(turns: list[tuple[int, float]]) -> int:
    """The size of most turns, apart from those that are tried to learn from."""
    return sorted(taken for taken, _ in turns)[len(turns) // 2]


def test_a_model_that_is_slow_for_each_row_gets_few_at_a_time() -> None:
    turns = Replica(linear(0.0, 0.020)).turns(60)
    assert turns[0][0] == 1  # nothing is known yet
    assert usual(turns) == 2
    assert max(took for _, took in turns) <= 0.05


def test_so_does_one_that_takes_no_batches() -> None:
    slow = Replica(lambda requests, _: 0.020 * requests, together=False)
    # However many rows its requests have: a call costs what a call costs.
    found = [slow.turn((1, 1000, 1, 1, 1000, 1, 1)) for _ in range(40)]
    assert {taken for taken, _ in found[1:]} == {2}


@pytest.mark.parametrize(
    ("fixed_s", "per_row_s"),
    [(0.0007, 5e-6), (0.020, 0.0), (0.020, 1e-5), (0.3, 1e-4), (0.040, 0.001)],
)
def test_a_model_whose_call_is_what_costs_gets_full_batches(
    fixed_s: float, per_row_s: float
) -> None:
    turns = Replica(linear(fixed_s, per_row_s)).turns(80)
    assert usual(turns[20:]) >= 100
    # and so loses hardly any of what endless batches would serve
    served = sum(taken for taken, _ in turns[20:]) / sum(took for _, took in turns[20:])
    assert served >= 0.75 * 128 / (fixed_s + 128 * per_row_s)


def test_no_turn_takes_the_deadline_of_those_behind_it() -> None:
    cost = linear(1.0, 0.1)
    patient, hurried = Replica(cost), Replica(cost)
    # An idle time before: turns of one, and then some of a few.
    for rows in (1, 1, 2, 4, 3, 8, 2):
        patient.turn((1,) * rows)
        hurried.turn((1,) * rows)
    assert usual(patient.turns(20, left_s=60.0)) > 30
    assert max(took for _, took in hurried.turns(20, left_s=10.0)) < 2.7


def test_one_stall_is_soon_forgotten() -> None:
    replica = Replica(linear(0.0007, 5e-6))
    replica.turns(30)
    replica.turn(delay=5.0)
    assert [taken for taken, _ in replica.turns(40)][-25:] == [128] * 25


def test_a_model_that_becomes_slow_is_followed_within_seconds() -> None:
    replica = Replica(linear(0.001, 1e-5))
    replica.turns(30)
    replica.cost = linear(0.001, 0.020)
    spent, turns = 0.0, 0
    while spent < 30.0 and (turns < 8 or replica.turn()[1] > 0.07):
        spent += replica.turn()[1]
        turns += 1
    assert usual(replica.turns(20)) <= 3
    assert spent < 12.0


def test_a_large_request_is_not_taken_for_a_row() -> None:
    replica = Replica(linear(0.0, 0.001))
    mixed = (1, 500, 1, 1, 1, 500, 1, 1, 1, 1, 1)
    for _ in range(30):
        replica.turn(mixed)
    # 50 rows fit: the small one goes alone, so that it need not wait for half a second.
    assert replica.turn(mixed)[0] == 1
    assert replica.turn((500, 1, 1))[0] == 1  # what can't be divided goes alone
    assert replica.turn((1,) * 100)[0] > 20


def test_what_never_reached_the_model_teaches_nothing() -> None:
    replica = Replica(linear(0.0, 0.010))
    replica.turns(10)
    known = (replica.pace.fixed_s, replica.pace.per_row_s)
    replica.pace.note(10_000, 3.0)
    assert (replica.pace.fixed_s, replica.pace.per_row_s) == known


@given(
    st.integers(1, 64),
    st.lists(st.tuples(st.integers(1, 40), st.floats(0, 5)), min_size=1, max_size=40),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_whatever_it_sees_it_takes_something_and_never_more_than_a_person_allows(
    most: int, seen: list[tuple[int, float]], together: bool, random: Random
) -> None:
    replica = Replica(linear(0.0, 0.0), most=most, together=together)
    for rows, took in seen:
        replica.cost = lambda *_, took=took: took
        taken, _ = replica.turn((random.randint(1, rows),) * 70)
        assert 1 <= taken <= most
        assert replica.pace.fixed_s >= 0.0
        assert replica.pace.per_row_s >= 0.0


class Slow:
    """An answerer of 20 ms a row, on a clock that only it moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sizes = Sizes()
        self.turns: list[int] = []

    def answer(self, requests: Sequence[Request]) -> list[Frame]:
        self.now += 0.020 * len(requests)
        self.sizes.count(len(requests), len(requests))
        self.turns.append(len(requests))
        return [Frame(Kind.RESPONSE, each.frame.id, each.frame.body) for each in requests]


def test_a_replica_takes_its_queue_by_its_pace(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "s"))
    listener.listen()
    slow = Slow()
    loop = Loop(
        listener,
        slow,
        Hello(1, "r", "d", 1),
        max_batch=128,
        drain_s=1.0,
        pace=Pace(slow.sizes, 128, 0.05),
        clock=lambda: slow.now,
    )
    line = socket.socket(socket.AF_UNIX)
    line.connect(str(tmp_path / "s"))
    asked = [Frame(Kind.REQUEST, at, b"0123456789") for at in range(40)]
    line.sendall(b"".join(map(encode, asked)))
    thread = threading.Thread(target=loop.run)
    thread.start()
    line.settimeout(20)
    decoder = Decoder()
    answered: list[int] = []
    while len(answered) < len(asked):
        found = decoder.feed(line.recv(1 << 16))
        answered += [each.id for each in found if each.kind is Kind.RESPONSE]
    # The clock stands still while nothing is asked, and a drain waits for it.
    loop.drain()
    while thread.is_alive():
        slow.now += 0.1
        thread.join(0.01)
    line.close()
    assert answered == list(range(40))
    assert sum(slow.turns) == 40
    assert max(slow.turns) == 2
