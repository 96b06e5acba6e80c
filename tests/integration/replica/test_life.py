"""How a replica process starts, misbehaves and ends."""

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serinus.replica.launch import Phase, read_status
from serinus.replica.protocol import Frame, Kind
from tests.integration.replica.process import PATIENCE_S, Peer, Running, content, request

Start = Callable[..., Running]


def _x(*values: float) -> dict[str, Any]:
    return {"dataframe_records": [{"x": value, "y": 1.0} for value in values]}


def _until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_model_that_fails_to_load_is_failed_in_its_own_words(start: Start) -> None:
    running = start("unloadable")
    status = running.settled()
    assert status.phase is Phase.FAILED
    assert status.message.startswith("RuntimeError: the weights of this model are missing (in ")
    assert running.process.wait(PATIENCE_S) == 1
    assert not Path(running.launch.socket_path).exists()


def test_status_says_whether_and_why_requests_are_batched(start: Start) -> None:
    looks, none, off = start("demeaned"), start("no-example"), start("constant", max_batch=1)
    for running, why in (
        (looks, "together and alone differ"),
        (none, "without an input example"),
        (off, "batching is switched off"),
    ):
        status = running.settled()
        assert (status.phase, status.batched) == (Phase.READY, False)
        assert why in status.batching
        assert status.pid == running.process.pid
    answers = looks.peer().ask([_x(1.0), _x(5.0)])
    assert [content(answer)["predictions"] for answer in answers] == [[0.0], [0.0]]
    if sys.platform == "linux":  # it breaks off no gateway that is in the middle of its work
        assert os.sched_getscheduler(looks.process.pid) == os.SCHED_BATCH


@pytest.mark.parametrize(
    ("model", "status", "words"),
    [
        ("leaves", 400, "The model tried to end its process (SystemExit: 3)."),
        ("miscounts", 400, "The model returned 3 predictions for 1 row."),
        ("unwritable", 400, "The model answered with a value that has no JSON form: object."),
    ],
)
def test_a_misbehaving_model_fails_one_request_and_goes_on(
    start: Start, model: str, status: int, words: str
) -> None:
    running = start(model)
    running.settled()
    answers = running.peer().ask([_x(1.0), _x(13.0), _x(3.0)])
    assert [answer.status for answer in answers] == [200, status, 200]
    assert content(answers[1])["message"] == words
    assert content(answers[2])["predictions"] == [6.0]


def test_a_model_that_prints_100_mb_answers_and_its_log_is_cut(start: Start) -> None:
    running = start("prints")
    running.settled()
    peer = running.peer()
    (answer,) = peer.ask([_x(13.0)])
    assert content(answer)["predictions"] == [26.0]
    log = Path(running.launch.log_path)
    # Cut whenever it has passed ten; how much came after the last cut is chance.
    _until(lambda: log.stat().st_size <= 10 * 1024 * 1024)
    assert content(peer.ask([_x(2.0)])[0])["predictions"] == [4.0]


def test_a_model_that_ends_its_process_takes_only_itself(start: Start) -> None:
    running = start("exits")
    running.settled()
    peer = running.peer()
    peer.send([request(1, _x(13.0))])
    with pytest.raises((EOFError, ConnectionError)):
        peer.next()
    assert running.process.wait(PATIENCE_S) == 7


def test_a_request_that_waited_past_its_deadline_gets_504(start: Start) -> None:
    running = start("slow", max_batch=1)
    running.settled()
    peer = running.peer()
    peer.send([request(1, _x(300.0)), request(2, _x(1.0), aux=50), request(3, _x(1.0), aux=60_000)])
    assert [(f.id, f.status) for f in (peer.next(), peer.next(), peer.next())] == [
        (1, 200),
        (2, 504),
        (3, 200),
    ]


def test_sigterm_answers_all_that_came_then_ends(start: Start) -> None:
    running = start("slow", max_batch=2)
    running.settled()
    peer, idle = running.peer(), running.peer()
    peer.send([request(at, _x(50.0)) for at in range(12)])
    first = peer.next()
    running.process.send_signal(signal.SIGTERM)
    _until(lambda: _phase(running) is Phase.DRAINING)
    peer.send([request(99, _x(7.0))])  # it was on its way when the notice came
    frames = [first, *_rest(peer)]
    assert [f.id for f in frames if f.kind is Kind.RESPONSE] == [*range(12), 99]
    assert all(f.status == 200 for f in frames if f.kind is Kind.RESPONSE)
    assert Frame(Kind.DRAINING) in frames
    assert idle.next() == Frame(Kind.DRAINING)
    assert running.process.wait(PATIENCE_S) == 0


def _rest(peer: Peer) -> Iterator[Frame]:
    try:
        while True:
            yield peer.next()
    except (EOFError, ConnectionError):
        return


def _phase(running: Running) -> Phase | None:
    status = read_status(Path(running.launch.status_path))
    return status.phase if status else None


def test_a_drain_takes_no_longer_than_it_may(start: Start) -> None:
    running = start("slow", max_batch=1, drain_s=0.5)
    running.settled()
    peer = running.peer()
    peer.send([request(at, _x(200.0)) for at in range(100)])
    peer.next()
    began = time.monotonic()
    running.process.terminate()
    assert running.process.wait(PATIENCE_S) == 0
    assert time.monotonic() - began < 10


def test_the_end_of_the_lifeline_ends_an_idle_replica(start: Start) -> None:
    read, write = os.pipe()
    running = start("constant", lifeline_fd=read)
    os.close(read)
    running.settled()
    peer = running.peer()
    assert peer.ask([_x(1.0)])[0].status == 200
    os.close(write)
    assert peer.next().kind is Kind.DRAINING
    assert running.process.wait(PATIENCE_S) == 0


def test_a_lease_that_is_not_renewed_ends_the_replica(start: Start, home: Path) -> None:
    lease = home / "lease"
    running = start("constant", lease_path=str(lease), lease_ttl_s=0.8)
    running.settled()
    peer = running.peer()
    assert not select.select([peer.sock], [], [], 1.2)[0]  # none was given yet
    lease.write_text("")
    assert peer.next().kind is Kind.DRAINING
    assert running.process.wait(PATIENCE_S) == 0


def test_thread_limits_are_set_before_the_model_loads(start: Start) -> None:
    running = start("iris", threads=1)
    running.settled()
    tasks = Path(f"/proc/{running.process.pid}/task")
    if not tasks.exists():
        pytest.skip("only Linux shows the threads of a process")
    names = [(task / "comm").read_text().strip() for task in tasks.iterdir()]
    # The main thread, the watchdog and the one that counts live values; BLAS would have started one
    # more for each core. Arrow's allocator has a thread of its own, which computes nothing.
    assert len([name for name in names if not name.startswith("jemalloc")]) == 3, names
