"""What only real processes show: sockets, signals, descendants, files, adoption."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from serinus.engine import keeper as keeper_of
from serinus.engine.engine import EngineUnreachable, Lease, ReplicaPhase
from serinus.engine.local import LocalEngine
from serinus.engine.vault import Vault
from serinus.entities import EnvironmentRef
from serinus.replica.protocol import Decoder, Frame, Kind, decode_hello, encode
from tests.integration.engine.local_harness import LocalHarness
from tests.integration.engine_conformance import ids, reach, status, wait


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[LocalHarness]:
    harness = LocalHarness(tmp_path)
    yield harness
    harness.close()


def test_a_ready_replica_greets_and_answers(harness):
    harness.engine.ensure(harness.spec("a"))
    ready = reach(harness, "a", ReplicaPhase.READY)
    decoder = Decoder()
    frames: list[Frame] = []
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(5)
        peer.connect(ready.address)
        peer.sendall(encode(Frame(Kind.PING, 42)))
        while len(frames) < 2:
            frames += decoder.feed(peer.recv(4096))
    hello = decode_hello(frames[0])
    assert (hello.replica_id, hello.pid) == ("a", ready.pid)
    assert hello.model_digest == harness.model.digest
    assert (frames[1].kind, frames[1].id) == (Kind.PONG, 42)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a keeper")
def test_a_keeper_that_was_stopped_and_continued_goes_on_keeping(tmp_path: Path) -> None:
    limits = {"files": 64, "file_bytes": 1 << 20, "tasks": 50, "memory_bytes": 0}
    command = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
    (tmp_path / "kept.json").write_text(json.dumps({"command": command, "limits": limits}))
    keeper = subprocess.Popen(
        [sys.executable, "-S", keeper_of.__file__, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert keeper.stdout is not None
    assert keeper.stdout.readline() == b"up\n"
    for _ in range(3):
        os.kill(keeper.pid, signal.SIGSTOP)
        time.sleep(0.4)  # longer than it waits for a signal
        os.kill(keeper.pid, signal.SIGCONT)
        time.sleep(0.1)
    keeper.terminate()  # is passed on
    assert (keeper.communicate(timeout=60)[1], keeper.returncode) == (b"", -signal.SIGTERM)


def test_nothing_but_the_log_is_left_after_a_stop(harness):
    harness.engine.ensure(harness.spec("a"))
    address = reach(harness, "a", ReplicaPhase.READY).address
    assert Path(address).is_socket()
    harness.engine.stop("a", grace_s=5.0, fence_epoch=0)
    wait(harness, lambda: ids(harness.engine) == set())
    assert not Path(address).exists()
    assert list((harness.home / "run" / "replicas").iterdir()) == []
    assert "the stub drains" in harness.engine.logs("a")


def test_a_stop_kills_descendants_too(harness):
    harness.engine.ensure(harness.spec("a", "forks"))
    reach(harness, "a", ReplicaPhase.READY)
    children = [psutil.Process(pid) for pid in children_of(harness, "a")]
    harness.engine.stop("a", grace_s=0.2, fence_epoch=0)
    wait(harness, lambda: ids(harness.engine) == set())
    wait(harness, lambda: not any(map(lives, children)), within_s=3.0)


def test_a_crash_takes_all_along_that_it_started(harness):
    harness.engine.ensure(harness.spec("a", "forks"))
    reach(harness, "a", ReplicaPhase.READY)
    children = [psutil.Process(pid) for pid in children_of(harness, "a")]
    harness.crash("a")
    assert reach(harness, "a", ReplicaPhase.EXITED).exit_code == -9
    assert not any(map(lives, children))


def test_credentials_of_the_server_stay_with_the_server(harness):
    harness.environ |= {
        "DATABRICKS_TOKEN": "dapi",
        "AWS_SECRET_ACCESS_KEY": "aws",
        "MLFLOW_TRACKING_TOKEN": "mlf",
        "MLFLOW_TRACKING_URI": "postgresql://u:p@h/db",
        "PYTHONPATH": "/somewhere",
        "VIRTUAL_ENV": "/elsewhere",
        "MLFLOW_DFS_TMP": "/scratch/dfs",
        "TZ": "Europe/Prague",
        "OPENBLAS_CORETYPE": "Haswell",
    }
    engine = harness.open()
    spec = harness.spec("a", "environment", threads=3)
    engine.ensure(
        replace(spec, env_vars={**spec.env_vars, "AWS_REGION": "eu-1", "PYTHONPATH": "/x"})
    )
    reach(harness, "a", ReplicaPhase.READY)
    lines = (harness.home / "run" / "replicas" / "a" / "environ").read_text().splitlines()
    seen = dict(line.split("=", 1) for line in lines if "=" in line)
    for name in ("DATABRICKS_TOKEN", "AWS_SECRET_ACCESS_KEY", "VIRTUAL_ENV"):
        assert name not in seen
    assert not {"MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_URI"} & seen.keys()
    assert (seen["TZ"], seen["OPENBLAS_CORETYPE"]) == ("Europe/Prague", "Haswell")
    assert (seen["AWS_REGION"], seen["MLFLOW_DFS_TMP"]) == ("eu-1", "/scratch/dfs")
    assert seen["OMP_NUM_THREADS"] == seen["OPENBLAS_NUM_THREADS"] == "3"
    assert seen["PATH"].startswith(str(Path(sys.executable).parent))
    runtime, _, own = seen["PYTHONPATH"].partition(":")
    assert own == "/x"
    assert [each.name for each in Path(runtime).iterdir()] == ["serinus"]


def test_a_secret_goes_into_the_process_alone_and_without_it_nothing_starts(harness, tmp_path):
    vault = Vault(tmp_path / "secrets")
    vault.put("shop", "key", "canary-secret")
    engine = harness.open(resolved=vault.resolved)

    def spec(name, reference):
        made = harness.spec(name, "environment")
        return replace(made, env_vars={**made.env_vars, "API_KEY": reference})

    engine.ensure(spec("a", "{{secrets/shop/key}}"))
    reach(harness, "a", ReplicaPhase.READY)
    written = harness.home / "run" / "replicas" / "a" / "environ"
    assert "API_KEY=canary-secret" in written.read_text()
    written.unlink()  # what the replica itself wrote
    kept = [p for p in harness.home.rglob("*") if p.is_file() and b"canary" in p.read_bytes()]
    assert kept == []
    ended = engine.ensure(spec("b", "{{secrets/shop/other}}"))
    assert ended.phase is ReplicaPhase.EXITED
    assert "API_KEY refers to the secret shop/other" in ended.message


def test_nobody_else_can_read_the_state(harness):
    spec = harness.spec("a")
    harness.engine.ensure(replace(spec, env_vars={**spec.env_vars, "API_KEY": "canary-secret"}))
    reach(harness, "a", ReplicaPhase.READY)
    run = harness.home / "run"
    for directory in (run, run / "replicas", run / "replicas" / "a", harness.run_dir):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    holding = [p for p in harness.home.rglob("*") if p.is_file() and b"canary" in p.read_bytes()]
    assert [each.name for each in holding] == ["spec.json"]
    assert stat.S_IMODE(holding[0].stat().st_mode) == 0o600
    assert stat.S_IMODE((harness.home / "logs" / "replicas" / "a.log").stat().st_mode) == 0o600


def test_a_new_controller_process_finds_the_replica_of_a_killed_one(harness):
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from tests.integration.engine import local_harness as lh\n"
        "h = lh.LocalHarness.__new__(lh.LocalHarness)\n"
        "h.home, h.run_dir, h.engines = Path(sys.argv[1]), Path(sys.argv[2]), []\n"
        "h.environ, h.store = dict(os.environ), lh.ModelStore(h.home)\n"
        "h.model = lh.ModelRef(sys.argv[3], 'u', 'u')\n"
        "print(h.open().ensure(h.spec('a')).pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    first = subprocess.run(
        [sys.executable, "-c", script, harness.home, harness.run_dir, harness.model.digest],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert first.returncode == -9, first.stderr
    ready = reach(harness, "a", ReplicaPhase.READY)
    assert ready.pid is not None
    # What was started is its keeper; the replica itself has told its own since.
    assert psutil.Process(ready.pid).ppid() == int(first.stdout)
    os.kill(ready.pid, signal.SIGKILL)
    gone = reach(harness, "a", ReplicaPhase.EXITED, within_s=1.0)
    assert gone.exit_code is None
    assert "gone" in gone.message


def test_a_stop_that_a_dead_controller_began_is_finished(harness):
    first = harness.open()
    first.ensure(harness.spec("a", "ignores-term"))
    pid = reach(harness, "a", ReplicaPhase.READY).pid
    harness.local.close()
    harness.engines.remove(harness.local)
    first.stop("a", grace_s=1.0, fence_epoch=0)
    first.close()
    harness.engines.remove(first)
    harness.engine = harness.local = harness.open()
    process = psutil.Process(pid)
    wait(harness, lambda: not lives(process), within_s=5.0)
    wait(harness, lambda: ids(harness.engine) == set())


@pytest.mark.parametrize("changes", [{"created": 1.0}, {"boot": "another boot"}])
def test_a_pid_that_was_given_to_somebody_else_is_left_alone(harness, changes):
    harness.engine.ensure(harness.spec("a"))
    pid = reach(harness, "a", ReplicaPhase.READY).pid
    file = harness.home / "run" / "replicas" / "a" / "process.json"
    content = json.loads(file.read_bytes())
    content["identity"] |= changes
    file.write_text(json.dumps(content))
    other = harness.open()
    assert status(other, "a").phase is ReplicaPhase.EXITED
    assert pid is not None
    assert psutil.pid_exists(pid)
    other.stop("a", grace_s=0.0, fence_epoch=0)
    wait(harness, lambda: ids(other) == set())
    assert lives(psutil.Process(pid))
    os.kill(pid, signal.SIGKILL)


def test_a_replica_whose_process_was_never_noted_is_found(harness):
    harness.engine.ensure(harness.spec("a"))
    pid = reach(harness, "a", ReplicaPhase.READY).pid
    (harness.home / "run" / "replicas" / "a" / "process.json").unlink()
    other = harness.open()
    wait(harness, lambda: status(other, "a").pid == pid)
    assert status(other, "a").phase is ReplicaPhase.READY


def test_the_lifeline_and_nothing_else_is_handed_down(harness):
    reading, writing = os.pipe()
    engine = harness.open(lifeline_fd=reading)
    engine.ensure(harness.spec("a"))
    pid = reach(harness, "a", ReplicaPhase.READY).pid
    wish = json.loads((harness.home / "run" / "replicas" / "a" / "launch.json").read_bytes())
    assert wish["lifeline_fd"] == reading
    handles = Path(f"/proc/{pid}/fd")
    pipe = os.readlink(f"/proc/self/fd/{reading}")
    assert os.readlink(handles / str(reading)) == pipe
    assert [e.name for e in handles.iterdir() if os.readlink(e) == pipe] == [str(reading)]
    os.close(reading)
    os.close(writing)


def test_an_id_of_a_hundred_letters_gets_a_short_socket(harness):
    harness.engine.ensure(harness.spec("x" * 100))
    ready = reach(harness, "x" * 100, ReplicaPhase.READY)
    assert len(os.fsencode(ready.address)) < 100


def test_a_directory_for_sockets_that_is_too_long_is_refused(harness, tmp_path):
    with pytest.raises(ValueError, match="shorter"):
        LocalEngine(
            harness.home,
            tmp_path / ("d" * 100),
            store=harness.store,
            builder=None,  # type: ignore[arg-type]
            clock=None,  # type: ignore[arg-type]
            environ={},
        )


@pytest.mark.parametrize("replica_id", ["", "../a", "a/b", ".a", "a\0b", "x" * 101])
def test_an_id_that_is_no_file_name_is_refused(harness, replica_id):
    with pytest.raises(ValueError, match="can't be the id"):
        harness.engine.ensure(harness.spec(replica_id))


def test_a_replica_that_can_not_be_started_has_exited(harness):
    nowhere = EnvironmentRef("e" * 64, "/no/such/python", "built")
    gone = harness.engine.ensure(harness.spec("a", environment=nowhere))
    assert gone.phase is ReplicaPhase.EXITED
    assert "/no/such/python" in gone.message


def test_unreadable_state_is_named_and_stops_conclusions(harness):
    harness.engine.ensure(harness.spec("a"))
    spec = harness.home / "run" / "replicas" / "a" / "spec.json"
    content = spec.read_bytes()
    spec.write_bytes(content[:20])
    other = harness.open()
    with pytest.raises(EngineUnreachable, match="replicas"):
        other.list()
    spec.write_bytes(content)
    assert ids(other) == {"a"}


def test_what_a_model_scribbles_into_its_status_changes_nothing(harness):
    harness.engine.ensure(harness.spec("a"))
    reach(harness, "a", ReplicaPhase.READY)
    (harness.home / "run" / "replicas" / "a" / "status.json").write_text("{")
    assert status(harness.engine, "a").phase is ReplicaPhase.READY


def test_renewing_is_seen_in_the_lease(harness):
    harness.engine.renew(Lease(1, ttl_s=60.0))
    lease = harness.home / "run" / "lease"
    os.utime(lease, (1.0, 1.0))
    harness.engine.renew(Lease(1, ttl_s=60.0))
    assert time.time() - lease.stat().st_mtime < 60
    harness.engine.ensure(harness.spec("a", fence_epoch=1))
    wish = json.loads((harness.home / "run" / "replicas" / "a" / "launch.json").read_bytes())
    assert (wish["lease_path"], wish["lease_ttl_s"]) == (str(lease), 60.0)


def test_a_bad_callback_does_not_end_the_watching(harness):
    def angry() -> None:
        raise RuntimeError("no")

    harness.engine.watch(angry)
    harness.engine.ensure(harness.spec("a"))
    reach(harness, "a", ReplicaPhase.READY)
    harness.crash("a")
    reach(harness, "a", ReplicaPhase.EXITED)
    harness.engine.stop("a", grace_s=1.0, fence_epoch=0)
    wait(harness, lambda: ids(harness.engine) == set())


def children_of(harness: LocalHarness, replica_id: str) -> list[int]:
    file = harness.home / "run" / "replicas" / replica_id / "children"
    return [int(each) for each in file.read_text().split()]


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
