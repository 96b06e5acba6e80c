"""Logs of replicas: their end, their size, their number."""

import os
from pathlib import Path

import pytest

from serinus.engine.output import ReplicaLogs


@pytest.fixture
def logs(tmp_path: Path) -> ReplicaLogs:
    return ReplicaLogs(tmp_path, keep=2, max_bytes=1000)


def test_a_log_that_grows_is_cut_and_its_writer_goes_on(logs):
    path = logs.path("a")
    with path.open("ab", buffering=0) as writer:
        for number in range(100):
            writer.write(b"line %03d %s\n" % (number, b"x" * 20))
            logs.bound("a")
        writer.write(b"the end\n")
    assert path.stat().st_size < 1100
    text = logs.tail("a", 10_000)
    assert text.endswith("the end\n")
    assert "line 099" in text
    assert sum(each.stat().st_size for each in path.parent.iterdir()) < 2000


def test_a_log_within_bounds_is_left_alone(logs):
    logs.path("a").write_text("short\n")
    logs.bound("a")
    logs.bound("nobody")
    assert logs.tail("a", 100) == "short\n"


def test_the_tail_may_begin_within_a_letter(logs):
    logs.path("a").write_text("ěšč")
    assert logs.tail("a", 3).endswith("č")


def test_last_words_are_the_last_lines(logs):
    logs.path("a").write_text("".join(f"{number}\n" for number in range(100)))
    assert logs.last_words("a").splitlines() == [str(number) for number in range(80, 100)]
    assert logs.last_words("nobody") == ""


def test_only_the_newest_logs_of_the_gone_are_kept(logs):
    for age, name in enumerate(("new", "newer", "old", "living")):
        logs.path(name).write_text(name)
        os.utime(logs.path(name), (1000.0 - age, 1000.0 - age))
    logs.prune({"living"})
    assert {each.stem for each in logs.path("x").parent.iterdir()} == {"new", "newer", "living"}
