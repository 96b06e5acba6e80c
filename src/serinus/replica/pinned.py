"""What the digest of a pinned model covers, and the digest of a pinned directory as it is now.

It reads files; it must never write or load anything.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["LEFT_OUT", "digest_now", "digest_of_entries", "looks"]

#: Names that do not count.
LEFT_OUT = frozenset({"__pycache__", "registered_model_meta"})
_CHUNK = 1 << 20


def digest_of_entries(entries: Iterable[tuple[str, int, str]]) -> str:
    """The digest over (posix relative path, size, SHA-256 of the content) of each file."""
    whole = hashlib.sha256()
    for path, size, content in sorted((os.fsencode(name), size, h) for name, size, h in entries):
        whole.update(path + b"\0" + str(size).encode() + b"\0" + content.encode() + b"\n")
    return whole.hexdigest()


def digest_now(directory: Path) -> str:
    """Hash all files of a pinned directory again; raises OSError. It may take seconds."""
    return digest_of_entries((name, *_read(path)) for name, path in _files(directory))


def looks(directory: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, size and time of change of each file: equal for as long as nobody touched them."""
    found = {}
    for name, path in _files(directory):
        stat = path.stat()
        found[name] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return found


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    # A pinned directory is a copy of plain files: there are no links to follow.
    for folder, folders, files in os.walk(directory):
        folders[:] = [each for each in folders if each not in LEFT_OUT]
        for name in files:
            if name not in LEFT_OUT:
                path = Path(folder, name)
                yield path.relative_to(directory).as_posix(), path


def _read(path: Path) -> tuple[int, str]:
    content, size = hashlib.sha256(), 0
    with path.open("rb") as reading:
        while chunk := reading.read(_CHUNK):
            content.update(chunk)
            size += len(chunk)
    return size, content.hexdigest()
