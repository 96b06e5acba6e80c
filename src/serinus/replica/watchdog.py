"""A thread that watches what the one busy thread can't: supervisor, lease, size of the log.

It ends the replica in good order when nobody is left who wants it, and by force when the model
won't let it. It must never hold up the model.
"""

import logging
import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

from serinus.replica.launch import Launch

__all__ = ["Watchdog", "trim_log"]

_log = logging.getLogger(__name__)
#: A look so much later than its time was held up by something that holds up everybody.
_LATE_S = 2.0
LOG_LIMIT = 10 * 1024 * 1024
LOG_KEEP = 1024 * 1024


class Watchdog:
    """Checks a few times a second, in a daemon thread."""

    def __init__(
        self,
        launch: Launch,
        drain: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        interval_s: float = 0.5,
    ) -> None:
        """``clock`` is monotonic seconds."""
        self._launch = launch
        self._drain = drain
        self._clock = clock
        self._interval_s = interval_s
        self._lifeline = launch.lifeline_fd
        #: The lease's time as it was seen last, and how long this process has seen it so.
        self._renewed = 0.0
        self._unrenewed_s = 0.0
        self._looked_at = clock()

    def start(self) -> None:
        """Begin to watch; it ends with the process."""
        threading.Thread(target=self._watch, name="serinus-watchdog", daemon=True).start()

    def _watch(self) -> None:
        while True:
            reason = self._alone()
            if reason:
                _log.warning("action=drain reason=%s", reason)
                self._drain()
                break
            self._trim()
        # The model may never give the loop its turn; then the process ends without.
        deadline = time.monotonic() + self._launch.drain_s + 1.0
        while time.monotonic() < deadline:
            time.sleep(self._interval_s)
            self._trim()
        os._exit(1)

    def _alone(self) -> str:
        """Wait one interval; why nobody wants this replica any more, or nothing."""
        if self._lifeline is None:
            time.sleep(self._interval_s)
        else:
            said, _, _ = select.select([self._lifeline], [], [], self._interval_s)
            if said and not os.read(self._lifeline, 4096):
                return "the supervisor is gone"
        if self._launch.lease_path and self.lease_ran_out():
            return f"no lease for {self._launch.lease_ttl_s:g} s"
        return ""

    def lease_ran_out(self) -> bool:
        """Look at the lease once; whether it has not changed for longer than it holds.

        Only time in which this process was awake counts, and no clock that somebody sets: after a
        night's sleep of the machine the supervisor is as much there as it was before.
        """
        now = self._clock()
        awake_s = min(now - self._looked_at, self._interval_s + _LATE_S)
        self._looked_at = now
        try:
            renewed = Path(self._launch.lease_path).stat().st_mtime
        except OSError:
            return False  # no lease was given yet, or its place can't be read: no evidence
        if renewed != self._renewed:
            self._renewed, self._unrenewed_s = renewed, 0.0
        else:
            self._unrenewed_s += awake_s
        return self._unrenewed_s > self._launch.lease_ttl_s

    def _trim(self) -> None:
        try:
            trim_log(Path(self._launch.log_path))
        except OSError as error:
            _log.debug("action=log_trim_failed error=%s", error)


def trim_log(path: Path, limit: int = LOG_LIMIT, keep: int = LOG_KEEP) -> None:
    """Cut a log that has passed ``limit`` bytes down to its last ``keep``; raises OSError.

    The file stays the same file, so writers who opened it to append go on undisturbed; what they
    write between the copy and the cut is lost, which a log of that size can bear.
    """
    with path.open("r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        if size <= limit:
            return
        file.seek(size - keep)
        tail = file.read(keep)
        file.truncate(0)
    with path.open("ab", buffering=0) as file:
        file.write(b"[... cut here ...]\n" + tail)
