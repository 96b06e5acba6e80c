"""The log is cut where it is, and writers who append to it go on."""

import os
from pathlib import Path

from serinus.replica.watchdog import trim_log


def test_a_log_past_its_limit_keeps_its_end_and_its_writers(tmp_path: Path) -> None:
    path = tmp_path / "log"
    writer = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for at in range(100):
            os.write(writer, b"line %03d\n" % at)
        inode = path.stat().st_ino
        trim_log(path, limit=500, keep=90)
        os.write(writer, b"next\n")
    finally:
        os.close(writer)
    lines = path.read_bytes().splitlines()
    assert lines == [b"[... cut here ...]", *(b"line %03d" % at for at in range(90, 100)), b"next"]
    assert path.stat().st_ino == inode


def test_a_log_within_its_limit_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 500)
    trim_log(path, limit=500, keep=10)
    assert path.read_bytes() == b"x" * 500
