"""Tests 10, 40-43, 45 and 46 of the reliability list: models that do harm, in real processes."""

import contextlib
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from serinus.controller.prober import Prober
from serinus.engine.artifacts import ModelStore
from serinus.engine.engine import ReplicaPhase, ReplicaSpec, ReplicaStatus
from serinus.engine.limits import Limits
from serinus.engine.local import LocalEngine
from serinus.entities import EnvironmentRef, ModelRef
from tests.integration.replica.process import Peer, content

PATIENCE_S = 60.0
GB = 1 << 30
HERE = EnvironmentRef("e" * 64, sys.executable, "current")


class _NoBuilder:
    def prepare(
        self, model: ModelRef, directory: Path, say: Callable[[str], None]
    ) -> EnvironmentRef:
        return HERE


class Yard:
    """An engine of one machine, and replicas of the hostile model."""

    def __init__(self, home: Path, limits: Limits, **engine: Any) -> None:
        self.home = home
        self.store = ModelStore(home)
        self.limits = limits
        self.engine = LocalEngine(
            home,
            home / "s",
            store=self.store,
            builder=_NoBuilder(),
            clock=lambda: datetime.now(UTC),
            environ=os.environ,
            limits=self.limits,
            **engine,
        )
        self._started = 0

    def start(self, at_import: str = "", **more: Any) -> str:
        """A replica's id."""
        from tests.hostile import save

        self._started += 1
        name = f"r{self._started}"
        path = self.home / f"model-{at_import}"
        if not path.exists():
            save(path, at_import)
        digest = self.store.add(path)
        env_vars = {"HOSTILE_DIR": str(self.home)}
        self.engine.ensure(ReplicaSpec(name, "g", digest, HERE, env_vars=env_vars, **more))
        return name

    def status(self, name: str) -> ReplicaStatus | None:
        return next((each for each in self.engine.list() if each.spec.replica_id == name), None)

    def reach(self, name: str, phase: ReplicaPhase) -> ReplicaStatus:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            status = self.status(name)
            assert status is not None
            if status.phase is phase:
                return status
            assert status.phase is not ReplicaPhase.EXITED, status.message
            assert time.monotonic() < deadline, status
            time.sleep(0.02)

    def ready(self, **more: Any) -> tuple[str, Peer]:
        """A replica that is ready, and a connection to it."""
        name = self.start(**more)
        return name, Peer(self.reach(name, ReplicaPhase.READY).address)

    def stop(self, name: str, grace_s: float = 0.0) -> None:
        self.engine.stop(name, grace_s=grace_s, fence_epoch=0)
        until(lambda: self.status(name) is None)


@contextlib.contextmanager
def _yard(limits: Limits, **engine: Any) -> Iterator[Yard]:
    with tempfile.TemporaryDirectory(prefix="srn-") as home:
        yard = Yard(Path(home), limits, **engine)
        yield yard
        for each in yard.engine.list():
            yard.stop(each.spec.replica_id)
        yard.engine.close()


@pytest.fixture(scope="module")
def yard() -> Iterator[Yard]:
    limits = Limits(memory_bytes=GB // 2, tasks=500, files=256, file_bytes=8 << 20)
    with _yard(limits) as yard:
        yield yard


@pytest.fixture(scope="module")
def neighbour(yard: Yard) -> Iterator[Peer]:
    """A good replica beside the others, which every test must leave answering."""
    _, peer = yard.ready()
    yield peer
    peer.close()


@pytest.fixture(autouse=True)
def _neighbour_goes_on(neighbour: Peer) -> Iterator[None]:
    yield
    assert _ask(neighbour, "double", 21.0) == (200, [42.0])


def until(what: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _ask(peer: Peer, how: str, x: float = 1.0) -> tuple[int, Any]:
    from tests.hostile import row

    [answer] = peer.ask([row(how, x)])
    found = content(answer)
    return answer.status, found["predictions"] if answer.status == 200 else found


def _send(peer: Peer, how: str, x: float = 1.0) -> None:
    from tests.hostile import row
    from tests.integration.replica.process import request

    peer.send([request(1, row(how, x))])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("miscount", "The model returned 7 predictions for 1 row."),
        ("gigabyte", "The model's answer is too large to send: 134217728 values, where 67108864"),
        ("long_text", "The model's answer is too large to send: 73400"),
        ("surrogate", "The model's answer can't be written as JSON: 'utf-8' codec"),
        ("object", "The model answered with a value that has no JSON form: object."),
        ("itself", "The model's answer nests too deeply to be written as JSON"),
        ("sys_exit", "The model tried to end its process (SystemExit: 3)."),
    ],
)
def test_40_an_answer_that_can_not_be_sent_is_said_to_be_the_models(
    neighbour: Peer, how: str, words: str
) -> None:
    status, error = _ask(neighbour, how)
    assert status == 400  # a 502 would be sent again for minutes
    assert error["error_code"] == "BAD_REQUEST"
    assert error["message"].startswith(words)
    assert error["details"] == [{"cause": "MODEL_ANSWER"}]


def test_41_a_gigabyte_on_stdout_at_import_neither_blocks_nor_stays() -> None:
    with _yard(Limits()) as yard:
        name, peer = yard.ready(at_import="print_gigabyte")
        assert _ask(peer, "double") == (200, [2.0])
        log = yard.home / "logs" / "replicas" / f"{name}.log"
        until(lambda: log.stat().st_size < 40 << 20)
        assert _ask(peer, "print_gigabyte") == (200, [1.0])
        until(lambda: log.stat().st_size < 40 << 20)
        peer.close()


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        ("exit", 0, "ended by itself (exit code 0)"),
        ("sys_exit", 1, "SystemExit: 3 (in do_sys_exit"),
        ("segv", -11, "ended by SIGSEGV"),
    ],
)
def test_42_an_end_at_import_is_an_exit_with_its_cause(
    yard: Yard, how: str, code: int, words: str
) -> None:
    gone = yard.reach(yard.start(at_import=how), ReplicaPhase.EXITED)
    assert gone.exit_code == code
    assert words in gone.message


@pytest.mark.parametrize(("how", "code"), [("exit", 0), ("segv", -11)])
def test_42_an_end_in_predict_is_an_exit_with_its_cause(yard: Yard, how: str, code: int) -> None:
    name, peer = yard.ready()
    _send(peer, how)
    with pytest.raises((EOFError, ConnectionError)):
        peer.next()
    gone = yard.reach(name, ReplicaPhase.EXITED)
    assert gone.exit_code == code
    peer.close()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a keeper")
@pytest.mark.parametrize("how", ["stop", "crash"])
def test_43_nothing_survives_that_forked_left_and_ignored_all_signals(yard: Yard, how: str) -> None:
    name, peer = yard.ready()
    assert _ask(peer, "fork") == (200, [1.0])
    pids = yard.home / "pids"
    children = [psutil.Process(int(pid)) for pid in pids.read_text().split()]
    assert len(children) == 2
    if how == "stop":
        yard.stop(name, grace_s=0.3)
    else:
        _send(peer, "segv")
        yard.reach(name, ReplicaPhase.EXITED)
    assert [each for each in children if _lives(each)] == []
    pids.unlink()
    peer.close()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a keeper")
def test_10_too_much_memory_ends_that_replica_alone_and_is_called_oom(yard: Yard) -> None:
    name, peer = yard.ready()
    began = time.monotonic()
    _send(peer, "memory")
    gone = yard.reach(name, ReplicaPhase.EXITED)
    assert time.monotonic() - began < 20
    assert gone.exit_code == -9
    assert gone.message.startswith("OOM: the replica used ")
    assert "more than its limit of 512 MiB (replica_memory)" in gone.message
    peer.close()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a keeper")
def test_45_ten_thousand_threads_end_that_replica_alone(yard: Yard) -> None:
    name, peer = yard.ready()
    _send(peer, "threads")
    gone = yard.reach(name, ReplicaPhase.EXITED)
    assert "threads, more than its limit of 500" in gone.message
    peer.close()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a keeper")
def test_45_files_and_their_size_are_bounded_and_the_replica_goes_on(yard: Yard) -> None:
    name, peer = yard.ready()
    replica = psutil.Process(yard.reach(name, ReplicaPhase.READY).pid)
    assert _ask(peer, "fill") == (200, [yard.limits.file_bytes])
    status, [held] = _ask(peer, "files")
    assert (status, held < yard.limits.files) == (200, True)
    # Whoever connects now is turned away, and costs the replica nothing while it waits.
    address = yard.reach(name, ReplicaPhase.READY).address
    with socket.socket(socket.AF_UNIX) as turned_away:
        turned_away.settimeout(PATIENCE_S)
        turned_away.connect(address)
        assert turned_away.recv(64) == b""
    busy = sum(replica.cpu_times()[:2])
    assert _ask(peer, "double") == (200, [2.0])
    time.sleep(0.3)
    assert sum(replica.cpu_times()[:2]) - busy < 0.2
    assert _ask(peer, "close") == (200, [1.0])
    Peer(address).close()
    peer.close()
    yard.stop(name)


def test_45_a_model_that_does_its_worst_costs_its_neighbours_little(
    yard: Yard, neighbour: Peer
) -> None:
    """With it and without, in turn; how little it is on a quiet machine, `bench.hostile` says."""
    name, peer = yard.ready()
    without: list[float] = []
    with_it: list[float] = []

    def ask(times: list[float]) -> None:
        began = time.perf_counter()
        assert _ask(neighbour, "double", 2.0) == (200, [4.0])
        times.append(time.perf_counter() - began)

    for _ in range(2):
        for _ in range(150):
            ask(without)
        _send(peer, "print_gigabyte")
        waiting = threading.Thread(target=peer.next)
        waiting.start()
        while waiting.is_alive():
            ask(with_it)
    peer.close()
    yard.stop(name)
    # Where they shared anything, the neighbour would wait for all of it: for seconds.
    assert _p99(with_it) <= 100 * max(_p99(without), 0.001), (_p99(with_it), _p99(without))


def _p99(times: list[float]) -> float:
    return sorted(times)[len(times) * 99 // 100 - 1]


def test_46_an_endless_import_ends_at_the_start_deadline(yard: Yard) -> None:
    name = yard.start(at_import="hang", start_deadline_s=3.0)
    seen = set()
    while (status := yard.status(name)) is not None and status.phase is not ReplicaPhase.EXITED:
        seen.add(status.phase)
        time.sleep(0.05)
    assert seen <= {ReplicaPhase.STARTING, ReplicaPhase.LOADING}
    assert status is not None
    assert "was not ready 3 s after the start" in status.message
    assert (status.exit_code, status.address) == (-9, "")


@pytest.mark.skipif(sys.platform != "linux", reason="needs a keeper")
def test_a_model_that_lets_no_thread_run_is_late_and_no_worse(neighbour: Peer) -> None:
    lifeline, held = os.pipe()
    with _yard(Limits(), lifeline_fd=lifeline, drain_s=0.2) as yard:
        name, peer = yard.ready()
        address = yard.reach(name, ReplicaPhase.READY).address
        patient = Prober(hang_s=30.0, clock=time.monotonic, wake=lambda: None)
        strict = Prober(hang_s=0.5, clock=time.monotonic, wake=lambda: None)
        probers = (patient, strict)
        for each in probers:
            each.watch({name: address})
            each.turn()  # who it is
        time.sleep(0.1)
        _send(peer, "grip", 20.0)
        seen: set[str] = set()
        waiting = threading.Thread(target=peer.next)
        waiting.start()
        while waiting.is_alive():
            for each in probers:
                each.turn()
            seen |= strict.hung
            assert patient.hung == frozenset()
            assert _ask(neighbour, "double", 2.0) == (200, [4.0])
            time.sleep(0.05)
        assert seen == {name}  # which is told from outside, whatever the model holds
        for each in probers:
            each.watch({})
            each.turn()
        # Nor can it outlive the supervisor, though its own watchdog never gets a turn.
        _send(peer, "grip", 6000.0)
        time.sleep(0.2)
        os.close(held)
        assert yard.reach(name, ReplicaPhase.EXITED).exit_code == -9
        peer.close()
    os.close(lifeline)


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
