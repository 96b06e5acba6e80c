"""The process whose instructions are counted: does each path N times, then 2N times, between marks.

Start-up, loading and whatever a path does once fall out of the difference. A mark is a call of
getppid, which nothing else here calls: the counter writes a part of its own at each.
"""

import gc
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import NamedTuple

__all__ = ["GROUPS", "HotPath", "drive"]

#: Each in a process of its own, so that one's imports are not another's.
GROUPS = ("gateway", "replica", "evidence")
mark = os.getppid


class HotPath(NamedTuple):
    """One path; ``ready(n)`` prepares n operations and returns what does them."""

    name: str
    n: int
    ready: Callable[[int], Callable[[], object]]


def drive(paths: list[HotPath]) -> None:
    """Two marked stretches a path, in their order."""
    for path in paths:
        path.ready(path.n)()  # what is made at first use is made now
        for times in (1, 2):
            work = path.ready(path.n * times)
            gc.collect()
            gc.freeze()
            mark()
            work()
            mark()


def main() -> int:
    """Drive one group, or (``--names``) tell its paths."""
    paths: list[HotPath] = import_module(f"bench.instructions.{sys.argv[1]}").paths()
    drive(paths)
    print("\n".join(f"{path.name} {path.n}" for path in paths))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
