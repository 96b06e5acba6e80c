"""What replicas print: one log file a replica, bounded in size and in number.

Replicas write to files, never to pipes, so nothing here can ever block a model.
"""

import contextlib
import os
from pathlib import Path

__all__ = ["ReplicaLogs"]

_LAST_LINES = 20
_LAST_BYTES = 4000


class ReplicaLogs:
    """Logs under ``home/logs/replicas``, and the newest ``keep`` of replicas that are gone.

    A file that grows past ``max_bytes`` becomes ``<id>.log.1`` in place of the one before.
    """

    def __init__(self, home: Path, *, keep: int = 32, max_bytes: int = 32 << 20) -> None:
        self._root = home / "logs" / "replicas"
        self._keep = keep
        self._max_bytes = max_bytes
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, replica_id: str) -> Path:
        """Where this replica prints to."""
        return self._root / f"{replica_id}.log"

    def tail(self, replica_id: str, tail_bytes: int) -> str:
        """The last ``tail_bytes`` bytes as text; empty when there are none."""
        path = self.path(replica_id)
        content = _tail(path, tail_bytes)
        if len(content) < tail_bytes:
            content = _tail(_older(path), tail_bytes - len(content)) + content
        return content.decode("utf-8", errors="replace")

    def last_words(self, replica_id: str) -> str:
        """The last few lines, to explain an end that has no better explanation."""
        text = self.tail(replica_id, _LAST_BYTES).strip()
        return "\n".join(text.splitlines()[-_LAST_LINES:])

    def bound(self, replica_id: str) -> None:
        """Cut a log that has grown too large; the writer goes on in the same file."""
        path = self.path(replica_id)
        try:
            if path.stat().st_size <= self._max_bytes:
                return
        except FileNotFoundError:
            return
        kept = _tail(path, self._max_bytes // 2)
        # The writer appends (O_APPEND), so it goes on at the new end; what it prints between these
        # two calls is lost.
        os.truncate(path, 0)
        older = _older(path)
        older.touch(mode=0o600)
        older.write_bytes(kept)

    def prune(self, living: set[str]) -> None:
        """Remove the oldest logs of replicas that are gone."""
        gone = [each for each in self._root.glob("*.log") if each.stem not in living]
        newest_first = sorted(gone, key=_changed, reverse=True)
        for path in newest_first[self._keep :]:
            path.unlink(missing_ok=True)
            _older(path).unlink(missing_ok=True)


def _older(path: Path) -> Path:
    return path.with_name(f"{path.name}.1")


def _changed(path: Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0


def _tail(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - count))
            return file.read(count)
    except FileNotFoundError:
        return b""
