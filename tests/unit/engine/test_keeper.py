"""What the kernel tells of memory that ran out, in both of its ways."""

from pathlib import Path

import pytest

from serinus.engine.keeper import oom_kills

V1 = "9:name=systemd:/\n4:memory:/user/a\n0::/\n"
V2 = "0::/user/a\n"


@pytest.mark.parametrize(
    ("groups", "place", "content", "found"),
    [
        (V1, "memory/user/a/memory.oom_control", "oom_kill_disable 0\noom_kill 3\n", 3),
        (V1, "memory/memory.oom_control", "under_oom 0\noom_kill 2\n", 2),
        (V2, "user/a/memory.events", "low 0\noom 9\noom_kill 4\n", 4),
        (V2, "memory.events", "oom_kill 1\n", 1),
        (V2, "user/a/memory.events", "low 0\n", None),
        (V2, "user/a/memory.events", "what\n", None),
        (V2, "elsewhere", "", None),
    ],
)
def test_kills_are_counted_by_the_control_group(
    tmp_path: Path, groups: str, place: str, content: str, found: int | None
) -> None:
    told, root = tmp_path / "cgroup", tmp_path / "fs"
    told.write_text(groups)
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).write_text(content)
    assert oom_kills(told, root) == found


def test_without_control_groups_nothing_is_known(tmp_path: Path) -> None:
    assert oom_kills(tmp_path / "none", tmp_path) is None
