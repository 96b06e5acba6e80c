"""What engine and replica write for each other comes back as it was."""

from pathlib import Path

from serinus.replica.launch import (
    Launch,
    Phase,
    Status,
    read_launch,
    read_status,
    write_launch,
    write_status,
)


def test_launch_and_status_survive_their_files(tmp_path: Path) -> None:
    launch = Launch("r", "d", "/m", "/s", "/t", "/l", max_batch=3, lifeline_fd=7, drain_s=1.5)
    write_launch(tmp_path, launch)
    assert read_launch(tmp_path) == launch
    path = tmp_path / "status.json"
    assert read_status(path) is None
    for phase in Phase:
        status = Status(phase, "why \u00fc", True, "because", 42)
        write_status(path, status)
        assert read_status(path) == status
    assert sorted(each.name for each in tmp_path.iterdir()) == ["launch.json", "status.json"]
