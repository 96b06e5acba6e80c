"""The epoch of the controller in charge, and its sign of life, kept on disk.

It decides who may act. It must never let an epoch go down.
"""

import fcntl
import os
from pathlib import Path

import msgspec

from serinus.engine.engine import FenceError, Lease
from serinus.engine.record import write_private

__all__ = ["Fence"]


class Fence:
    """``run/fence.json`` (the newest lease) and ``run/lease`` (its time: the last sign of life)."""

    def __init__(self, run: Path) -> None:
        self.lease_path = run / "lease"
        self._file = run / "fence.json"
        self._lock = run / "fence.lock"

    def admit(self, epoch: int, *, ttl_s: float | None = None) -> Lease:
        """Let a controller act and renew its lease; raises FenceError for an old epoch, OSError."""
        with self._lock.open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            last = self._last()
            if epoch < last.epoch:
                raise FenceError(
                    f"A controller with epoch {last.epoch} is in charge; this one has {epoch} and "
                    "must not act any more."
                )
            lease = Lease(epoch, last.ttl_s if ttl_s is None else ttl_s)
            if lease != last:
                write_private(self._file, msgspec.json.encode(lease))
            self.lease_path.touch(mode=0o600)
            os.utime(self.lease_path)
            return lease

    def _last(self) -> Lease:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Lease)
        except FileNotFoundError:
            return Lease(0)
