"""Directories for work in progress: gone when it ends, and swept at the next start after a crash.

Whoever works in one holds its lock, and the lock goes with the process; so a directory that nobody
holds is nobody's. Nothing else is ever swept.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["remove", "scratch", "sweep"]

_KINDS = (".adding-", ".fetching-")


@contextmanager
def scratch(root: Path, kind: str) -> Iterator[Path]:
    """A new directory in ``root``, whose name begins with ``kind`` (``.adding-``, ``.fetching-``).

    It may be renamed meanwhile; then it is somebody else's.
    """
    path, lock = _made(root, kind)
    try:
        yield path
    finally:
        os.close(lock)
        remove(path)


def sweep(root: Path) -> int:
    """Remove what crashed processes left in ``root``, and say how many directories that was."""
    found = 0
    for path in [each for kind in _KINDS for each in root.glob(f"{kind}*")]:
        lock = _locked(path)
        if lock is not None:
            remove(path)
            os.close(lock)
            found += 1
    return found


def remove(directory: Path) -> None:
    """Remove a tree that may be read-only; no error when it is not there."""
    for folder, _, _ in os.walk(directory):
        Path(folder).chmod(0o700)
    shutil.rmtree(directory, ignore_errors=True)


def _made(root: Path, kind: str) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=kind, dir=root))
        lock = _locked(path)
        if lock is not None and path.exists():
            return path, lock
        if lock is not None:  # swept between the two lines above
            os.close(lock)


def _locked(path: Path) -> int | None:
    """The lock of a directory; None when somebody else holds it, or it is gone."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
        else:
            return handle
    return None
