"""Sends copies of answered requests to the candidate and compares both answers. Bounded.

Nothing here is ever waited for by a caller: what does not fit is dropped and counted.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from serinus.errors import SerinusError
from serinus.evidence.summary import Arm, Exclusion
from serinus.gateway.pool import Pool
from serinus.gateway.prediction import MAX_READ, compare
from serinus.gateway.recorder import Recorder, fault_of
from serinus.replica.protocol import Format, Frame

__all__ = ["Bounds", "Shadow"]

_log = structlog.get_logger("serinus.gateway")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one stage's copies may take up at one gateway."""

    #: Copies that wait or are on their way.
    copies: int = 1024
    #: Bytes of their requests and of stable's answers to them.
    size: int = 16 << 20
    #: Copies on their way at a time. More would only wait in the candidate's own queue.
    window: int = 32
    #: Bytes that the candidate's replicas may have left unread before copies are dropped.
    unread: int = 1 << 20


@dataclass(slots=True)
class _Copy:
    pool: Pool
    body: bytes
    format: Format
    answer: Frame
    took: float
    #: Who sent it; the candidate's live values are told apart by caller as well.
    meta: bytes = b""

    @property
    def size(self) -> int:
        return len(self.body) + len(self.answer.body)


class Shadow:
    """The copies of one stage at one gateway."""

    def __init__(
        self,
        recorder: Recorder,
        tolerance: float,
        clock: Callable[[], float],
        bounds: Bounds | None = None,
    ) -> None:
        self._recorder = recorder
        self._summary = recorder.summary.shadow
        self._tolerance = tolerance
        self._clock = clock
        self._bounds = bounds or Bounds()
        self._waiting: deque[_Copy] = deque()
        self._size = 0
        self._tasks: set[asyncio.Task[None]] = set()
        #: Copies that were never sent.
        self.dropped = 0

    @property
    def copies(self) -> int:
        """Copies that wait or are on their way."""
        return len(self._waiting) + len(self._tasks)

    def offer(
        self,
        pool: Pool,
        body: bytes,
        format_: Format,
        answer: Frame,
        took: float,
        meta: bytes = b"",
    ) -> None:
        """Copy a request that stable answered in ``took`` seconds to the candidate's ``pool``."""
        bounds = self._bounds
        copy = _Copy(pool, body, format_, answer, took, meta)
        if (
            len(answer.body) > MAX_READ  # nothing could be compared
            or self.copies >= bounds.copies
            or self._size + copy.size > bounds.size
            or not pool.ready()
            or pool.unsent > bounds.unread
        ):
            self._drop(1)
            return
        self._size += copy.size
        if len(self._tasks) >= bounds.window:
            self._waiting.append(copy)
            return
        task = asyncio.get_running_loop().create_task(self._work(copy))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Forget what waits; what is on its way is still compared."""
        while self._waiting:
            self._size -= self._waiting.popleft().size
            self._drop(1)

    async def _work(self, copy: _Copy) -> None:
        """Send the copy, and then what has queued meanwhile."""
        while True:
            try:
                await self._send(copy)
            except Exception:  # noqa: BLE001 - a fault in comparing must not end the copying
                _log.exception("shadow_failed")
                self._summary.not_compared += 1
            finally:
                self._size -= copy.size
                self._recorder.version += 1
            if not self._waiting:
                return
            copy = self._waiting.popleft()

    async def _send(self, copy: _Copy) -> None:
        if not copy.pool.ready() or copy.pool.unsent > self._bounds.unread:
            self._drop(1)
            return
        self._recorder.exclude(Arm.CANDIDATE, Exclusion.SHADOWED)
        began = self._clock()
        try:
            _, frame = await copy.pool.call(copy.body, copy.format, copy.meta)
        except SerinusError:
            self._summary.not_compared += 1  # never answered: no evidence either way
            return
        self._compare(copy, frame, self._clock() - began)

    def _compare(self, copy: _Copy, frame: Frame, took: float) -> None:
        summary = self._summary
        # What stable took and the candidate calls unreadable is the candidate's failure.
        failed, stable_failed = frame.status >= 400, fault_of(copy.answer) is not None
        if failed or stable_failed:
            summary.both_errors += failed and stable_failed
            summary.candidate_errors += failed and not stable_failed
            summary.stable_errors += stable_failed and not failed
            return
        difference = compare(copy.answer.body, frame.body, self._tolerance)
        if difference is None:
            summary.not_compared += 1
            return
        summary.record(
            flipped=difference.flipped,
            over_tolerance=difference.over_tolerance,
            slower=took > copy.took,
            flip=difference.flip,
        )

    def _drop(self, copies: int) -> None:
        self.dropped += copies
        self._summary.not_compared += copies
        self._recorder.version += copies
