"""Several processes and threads on one store: nothing is lost, nobody waits for ever."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pytest

from serinus.entities import WHOLE, ConfigUpdate, Endpoint, EndpointConfig, ServedEntity
from serinus.errors import ResourceAlreadyExists, ResourceConflict
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store, StoreBusy

AT = datetime(2026, 3, 1, tzinfo=UTC)


def config(version: int) -> EndpointConfig:
    return EndpointConfig(version, (ServedEntity("m-1", "m", "1"),), {"m-1": WHOLE}, AT)


def endpoint(name: str, id_: str = "") -> Endpoint:
    return Endpoint(
        id_ or name, name, "ann", AT, AT, pending=config(1), update=ConfigUpdate.IN_PROGRESS
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "serinus.db"


def start(path: Path, body: str) -> subprocess.Popen[str]:
    """A process that runs ``body`` with an open ``store``."""
    code = textwrap.dedent(
        f"""
        import sys
        from datetime import UTC, datetime
        from serinus.store.journal import JournalEntry
        from serinus.store.repository import Store
        AT = datetime(2026, 3, 1, tzinfo=UTC)
        store = Store.open("sqlite:///{path}")
        """
    ) + textwrap.dedent(body)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out


def printed(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def kill(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)
    printed(process).close()


def test_processes_that_open_a_new_store_at_once_all_get_it(path):
    processes = [start(path, "print(store.take_epoch())") for _ in range(4)]
    assert sorted(int(finish(process)) for process in processes) == [1, 2, 3, 4]


def test_two_processes_never_lose_an_update(path):
    body = """
    for number in range(60):
        print(store.take_epoch())
        store.append([JournalEntry("ann", "n", AT, data={"n": number})])
    """
    processes = [start(path, body) for _ in range(2)]
    epochs = [int(line) for process in processes for line in finish(process).split()]
    assert sorted(epochs) == list(range(1, 121))
    with closing(Store.open(f"sqlite:///{path}")) as store:
        entries = store.journal()
        assert sorted(each.data["n"] for each in entries) == sorted([*range(60), *range(60)])
        assert len({each.id for each in entries}) == 120


def test_of_many_threads_that_want_the_same_one_wins(path):
    with closing(Store.open(f"sqlite:///{path}")) as store, ThreadPoolExecutor(8) as threads:

        def create(number: int) -> bool:
            try:
                store.create_endpoint(endpoint("m", str(number)))
            except ResourceAlreadyExists:
                return False
            return True

        assert sum(threads.map(create, range(16))) == 1
        store.activate(store.endpoint("m").id, 1, AT)

        def update(_: int) -> bool:
            try:
                store.put_config("m", config, AT)
            except ResourceConflict:
                return False
            return True

        assert sum(threads.map(update, range(16))) == 1
        pending = store.endpoint("m").pending
        assert pending is not None
        assert pending.version == 2


def test_a_reader_sees_a_config_whole_while_it_changes(store_url):
    """Entities, weights and state of one reply always belong to the same version."""
    with closing(Store.open(store_url)) as store, closing(Store.open(store_url)) as reader:
        id_ = store.create_endpoint(endpoint("m")).id
        store.activate(id_, 1, AT)
        done = threading.Event()

        def named(version: int) -> EndpointConfig:
            name = f"m-{version}"
            return EndpointConfig(version, (ServedEntity(name, "m", "1"),), {name: WHOLE}, AT)

        def change() -> None:
            try:
                for version in range(2, 42):
                    store.put_config("m", named, AT)
                    store.activate(id_, version, AT)
            finally:
                done.set()

        writer = threading.Thread(target=change)
        writer.start()
        reads = 0
        while not done.is_set():
            seen = reader.endpoint("m")
            reads += 1
            assert seen.active is not None
            assert list(seen.active.weights) == [each.name for each in seen.active.entities]
            assert (seen.pending is not None) == (seen.update is ConfigUpdate.IN_PROGRESS)
        writer.join()
        assert reads > 3
        assert [each.version for each in (store.endpoint("m").active,) if each] == [41]


def test_a_second_writer_waits_then_is_told_that_the_store_is_busy(path):
    with closing(Store.open(f"sqlite:///{path}", busy_timeout_s=0.3)) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            begun = time.monotonic()
            with pytest.raises(StoreBusy, match="locked by another writer") as caught:
                store.take_epoch()
            assert 0.25 < time.monotonic() - begun < 5
            assert (caught.value.status, caught.value.retry_after) == (503, 1)
            # Reading goes on meanwhile.
            assert store.endpoints() == ()
            other.execute("ROLLBACK")
        assert store.take_epoch() == 1


def test_a_second_writer_gets_its_turn_when_the_first_is_quick(path):
    with closing(Store.open(f"sqlite:///{path}")) as store:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        with closing(other):
            other.execute("BEGIN IMMEDIATE")
            other.execute("UPDATE control SET epoch = 41")
            timer = threading.Timer(0.2, other.execute, ["COMMIT"])
            timer.start()
            # Read after the lock was had, or this would be 1.
            assert store.take_epoch() == 42
            timer.join()


def test_a_write_holds_the_lock_from_its_first_statement_on(path):
    """Proof of BEGIN IMMEDIATE: a write that has only read so far keeps other writers out."""
    with closing(Store.open(f"sqlite:///{path}")) as store:
        id_ = store.create_endpoint(endpoint("m")).id
        store.activate(id_, 1, AT)
        refused = []

        def while_inside(version: int) -> EndpointConfig:
            with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other:
                try:
                    other.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    refused.append(str(error))
            return config(version)

        store.put_config("m", while_inside, AT)
        assert refused == ["database is locked"]


def test_threads_queue_in_one_process_and_the_last_is_told(path):
    with closing(Store.open(f"sqlite:///{path}", busy_timeout_s=0.2)) as store:
        id_ = store.create_endpoint(endpoint("m")).id
        store.activate(id_, 1, AT)
        inside, leave = threading.Event(), threading.Event()

        def slow(version: int) -> EndpointConfig:
            inside.set()
            leave.wait(10)
            return config(version)

        writer = threading.Thread(target=store.put_config, args=("m", slow, AT))
        writer.start()
        try:
            assert inside.wait(10)
            with pytest.raises(StoreBusy):
                store.append([JournalEntry("ann", "late", AT)])
        finally:
            leave.set()
            writer.join()
        store.append([JournalEntry("ann", "in time", AT)])
        assert [each.kind for each in store.journal()] == ["in time"]


def test_kill_in_mid_transaction_leaves_nothing_half_done(path):
    """The change of a killed writer is gone whole; what it had committed is there whole."""
    body = """
    from serinus.entities import *
    def config(version):
        entity = ServedEntity("m-1", "m", "1")
        return EndpointConfig(version, (entity,), {"m-1": WHOLE}, AT)
    store.create_endpoint(
        Endpoint("i", "m", "ann", AT, AT, pending=config(1), update=ConfigUpdate.IN_PROGRESS),
        journal=[JournalEntry("ann", "created", AT)],
    )
    from serinus.store import journal
    with store._database.write() as connection:
        from sqlalchemy import text
        connection.execute(text("UPDATE endpoints SET active_version = 1, config_update = 'NOT'"))
        connection.execute(text("DELETE FROM served_entities"))
        journal.append(connection, [JournalEntry("ann", "half", AT)])
        print("inside", flush=True)
        import time
        time.sleep(60)
    """
    process = start(path, body)
    try:
        assert printed(process).readline() == "inside\n"
    finally:
        kill(process)
    with closing(Store.open(f"sqlite:///{path}")) as store:
        assert store.endpoint("m") == endpoint("m", "i")
        assert [each.kind for each in store.journal()] == ["created"]
        assert store.take_epoch() == 1
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert file.execute("PRAGMA foreign_key_check").fetchall() == []


def test_kill_at_any_moment_keeps_change_and_journal_together(path):
    """Every config that is there has its entry, and the other way round, wherever the kill fell."""
    body = """
    from serinus.entities import *
    def config(version):
        entity = ServedEntity("m-1", "m", "1")
        return EndpointConfig(version, (entity,), {"m-1": WHOLE}, AT)
    if not store.endpoints():
        store.create_endpoint(Endpoint("i", "m", "ann", AT, AT, pending=config(1),
            update=ConfigUpdate.IN_PROGRESS), journal=[JournalEntry("ann", "put", AT)])
    print("go", flush=True)
    while True:
        pending = store.endpoint("m").pending
        if pending:
            store.activate("i", pending.version, AT, journal=[JournalEntry("ann", "done", AT)])
        store.put_config("m", config, AT, journal=[JournalEntry("ann", "put", AT)])
        print("x", flush=True)
    """
    for round_ in range(3):
        process = start(path, body)
        for _ in range(5 + 3 * round_):
            assert printed(process).readline()
        kill(process)
        with closing(Store.open(f"sqlite:///{path}")) as store:
            kinds = [each.kind for each in store.journal()]
            seen = store.endpoint("m")
            last = max(each.version for each in (seen.active, seen.pending) if each)
            assert kinds.count("put") == last
            assert kinds.count("done") == (seen.active.version if seen.active else 0)
            assert all(store.config("i", version) for version in range(1, last + 1))
