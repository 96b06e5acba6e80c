"""Takes sampled requests apart into stages, with the model that serves, between two requests.

A model is asked by one thread only: the counting thread hands requests over and gets them back.
It must never take more than a small share of the serving thread's time, nor keep a sample waiting.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from serinus.parity.arrays import StageValues, plain_cell
from serinus.parity.live import Record
from serinus.replica.unit import Unit

__all__ = ["Rows", "Stager", "kept"]

#: The rows of one request, as they were read.
Rows = Sequence[Mapping[str, Any]]
_WAITING = 16
#: A sample that the serving thread had no moment for is kept without stages.
_PATIENCE_S = 3.0
#: Rows of a request; of one with more the company that its rows had is not computed again.
_MOST_ROWS = 256
#: Rows whose stages are kept, and numbers of all of them.
_KEPT_ROWS, _KEPT_NUMBERS = 16, 2048


@dataclass(frozen=True)
class _Sample:
    record: Record
    rows: Rows
    unit: Unit
    since: float


class Stager:
    """``stages_of(unit)`` asks the model; ``share`` of the time may go into that.

    Seconds that were not used add up to ``burst_s``.
    """

    def __init__(
        self,
        stages_of: Callable[[Unit], dict[str, StageValues]],
        *,
        clock: Callable[[], float] = time.perf_counter,
        share: float = 0.005,
        burst_s: float = 0.5,
    ) -> None:
        self._stages_of = stages_of
        self._clock = clock
        self._share = share
        self._burst_s = burst_s
        #: Written by the serving thread only.
        self._left_s = burst_s
        self._earned_at = clock()
        self._waiting: deque[_Sample] = deque()
        self._done: deque[tuple[Record, Rows]] = deque()
        #: Ends the serving thread's sleep.
        self.wake: Callable[[], None] = lambda: None

    # The counting thread

    def offer(self, record: Record, rows: Rows, unit: Unit) -> bool:
        """True: it comes `back`, with stages if there was a moment; False: keep it as it is."""
        few = len(rows) > 0 and (unit.rows or 0) <= _MOST_ROWS
        if not few or len(self._waiting) >= _WAITING or self._left_s <= 0:
            return False
        self._waiting.append(_Sample(record, rows, unit, self._clock()))
        self.wake()
        return True

    def back(self) -> Iterator[tuple[Record, Rows]]:
        """What is done, and what has waited long enough."""
        while self._waiting and self._clock() - self._waiting[0].since > _PATIENCE_S:
            sample = self._next()
            if sample is not None:
                yield sample.record, sample.rows
        while self._done:
            yield self._done.popleft()

    # The serving thread

    def step(self) -> bool:
        """Take one request apart, if one waits and there is time; True: there are more."""
        if not self._waiting and self._left_s > 0:
            return False  # as almost always; what is earned meanwhile is added later
        self._earn()
        if self._left_s <= 0:
            return False
        sample = self._next()
        if sample is None:
            return False
        begun = self._clock()
        stages = kept(self._stages_of(sample.unit))
        self._left_s -= self._clock() - begun
        self._done.append((msgspec.structs.replace(sample.record, stages=stages), sample.rows))
        return bool(self._waiting)

    def _next(self) -> _Sample | None:
        try:
            return self._waiting.popleft()
        except IndexError:  # the other thread was faster
            return None

    def _earn(self) -> None:
        now = self._clock()
        earned, self._earned_at = (now - self._earned_at) * self._share, now
        self._left_s = min(self._left_s + earned, self._burst_s)


def kept(stages: Mapping[str, StageValues]) -> dict[str, list[Any]]:
    """The stages of the first rows as JSON has them; fewer rows, then no steps, where too wide."""
    chosen = dict(stages)
    rows = min([_KEPT_ROWS, *(len(columns[0]) for columns in stages.values() if columns)])
    if rows * _width(chosen) > _KEPT_NUMBERS:
        chosen = {name: each for name, each in chosen.items() if ":" not in name}
        rows = min(rows, _KEPT_NUMBERS // max(_width(chosen), 1))
    if not rows:
        return {}
    return {name: [_plain(each[:rows]) for each in columns] for name, columns in chosen.items()}


def _width(stages: Mapping[str, StageValues]) -> int:
    columns = [each for some in stages.values() for each in some]
    return sum(int(np.prod(np.shape(each)[1:])) for each in columns)


def _plain(values: Any) -> list[Any]:
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        found: list[Any] = values.tolist()
        return found
    return [plain_cell(each) for each in values]
