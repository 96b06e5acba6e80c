"""Work in progress: gone when it ends, swept when its process has gone, never while it lives."""

import subprocess
import sys
from pathlib import Path

import pytest

from serinus.engine.artifacts import ModelStore
from serinus.engine.environment import EnvironmentBuilder
from serinus.engine.scratch import scratch, sweep

_WORKS_AND_WAITS = """
import sys
from pathlib import Path
from serinus.engine.scratch import scratch
with scratch(Path(sys.argv[1]), ".adding-") as place:
    (place / "half").write_text("a model")
    place.chmod(0o555)
    print(place.name, flush=True)
    sys.stdin.read()
"""


def test_it_is_gone_when_the_work_ends(tmp_path: Path) -> None:
    with scratch(tmp_path, ".adding-") as place:
        (place / "file").write_text("half")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError), scratch(tmp_path, ".fetching-") as place:
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    # What was renamed has become something else.
    with scratch(tmp_path, ".adding-") as place:
        place.rename(tmp_path / "done")
    assert [each.name for each in tmp_path.iterdir()] == ["done"]


def test_what_a_killed_process_leaves_is_swept_and_nothing_else(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    (store.root / ("d" * 64)).mkdir()
    (store.root / ".adding-is-a-file").write_text("")
    with subprocess.Popen(
        [sys.executable, "-c", _WORKS_AND_WAITS, str(store.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdout is not None
        name = worker.stdout.readline().strip()
        assert (store.sweep(), (store.root / name / "half").exists()) == (0, True)
        worker.kill()
        worker.wait()
    assert store.sweep() == 1
    assert sorted(each.name for each in store.root.iterdir()) == [".adding-is-a-file", "d" * 64]
    assert sweep(store.root) == 0


def test_a_build_that_crashed_is_swept_and_one_under_way_is_not(tmp_path: Path) -> None:
    import fcntl

    builder = EnvironmentBuilder(tmp_path, "/no/uv", environ={})
    for digest in ("a" * 64, "b" * 64):
        (tmp_path / "envs" / f".{digest}.building" / "env").mkdir(parents=True)
    (tmp_path / "envs" / ("c" * 64)).mkdir()
    with (tmp_path / "envs" / f"{'b' * 64}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert builder.sweep() == 1
        left = sorted(each.name[:2] for each in (tmp_path / "envs").iterdir() if each.is_dir())
        assert left == [".b", "cc"]
    assert builder.sweep() == 1
