"""The log is cut where it is and writers go on; a lease runs out by time that was lived through."""

import os
from pathlib import Path

from serinus.replica.launch import Launch
from serinus.replica.watchdog import Watchdog, trim_log


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


class Leased:
    """A replica's watchdog with a lease of 60 s, on a clock that the test moves."""

    def __init__(self, directory: Path) -> None:
        self.now = 1000.0
        self.lease = directory / "lease"
        self.lease.write_text("")
        nothing = str(directory / "nothing")
        launch = Launch(
            "r", "d", nothing, nothing, nothing, nothing, lease_path=str(self.lease), lease_ttl_s=60
        )
        self.dog = Watchdog(launch, lambda: None, clock=lambda: self.now)

    def looks(self, times: int, every_s: float = 0.5) -> bool:
        """Whether the lease had run out at one of so many looks."""
        out = []
        for _ in range(times):
            self.now += every_s
            out.append(self.dog.lease_ran_out())
        return any(out)


def test_a_lease_that_is_renewed_never_runs_out(tmp_path: Path) -> None:
    leased = Leased(tmp_path)
    for at in range(10):
        os.utime(leased.lease, (at, at))  # whatever the clock of the wall says meanwhile
        assert not leased.looks(100)


def test_a_lease_that_nobody_renews_runs_out_in_its_time(tmp_path: Path) -> None:
    leased = Leased(tmp_path)
    os.utime(leased.lease, (5e9, 5e9))
    assert not leased.looks(121)  # the first of them is where the time begins
    assert leased.looks(1)


def test_a_night_of_sleep_is_no_time_without_a_supervisor(tmp_path: Path) -> None:
    leased = Leased(tmp_path)
    leased.looks(10)
    assert not leased.looks(3, every_s=40_000)
    assert not leased.looks(80)
    assert leased.looks(40)


def test_without_a_lease_there_is_nothing_to_run_out(tmp_path: Path) -> None:
    leased = Leased(tmp_path)
    leased.lease.unlink()
    assert not leased.looks(1000)
