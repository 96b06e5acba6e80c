"""Counts live values beside the serving thread: it is handed what was answered and returns at once.

A thread of its own counts, in small steps with pauses in between: the serving thread must never
wait for it longer than one step takes. It is no slow-moving low-priority thread either: one that
holds the interpreter's lock and gets no time would hold up everybody.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec
import numpy as np

from serinus.errors import SerinusError
from serinus.parity.contract import Contract
from serinus.parity.folding import fold_steps
from serinus.parity.live import Cell, Live, Record, read_watch
from serinus.parity.shape import Shape
from serinus.parity.sketch import FieldSketch, pack
from serinus.replica.answered import Answered, Refused, Times, alike, cells_of
from serinus.replica.breath import Breath, let_go, with_pauses
from serinus.replica.nulled import Nulled
from serinus.replica.protocol import Frame, Kind
from serinus.replica.sizes import Sizes
from serinus.replica.stager import Stager
from serinus.replica.tally import Tally
from serinus.replica.unit import Unit
from serinus.replica.witness import Witness

__all__ = ["Known", "Watcher"]

_log = logging.getLogger(__name__)
#: Rows that may wait to be counted.
_ROOM = 20_000
#: Rows counted in a second, over time; of more, a part is drawn by lot and the rest only numbered.
_RATE = 1_500
#: So many seconds' worth of rows may be counted at once after a quiet time.
_BURST_S = 10.0
#: Rows counted in one step: some 100 µs a field.
_STEP_ROWS = 1024
_QUESTIONS = 16
#: Rows kept as evidence that go into one answer.
_RECORD_BYTES = 4 << 20

#: What is known of the model: how its values are counted, and its contract.
Known = Callable[[], tuple[Shape, Contract] | None]


class Watcher:
    """The live state of one replica. ``know`` may take seconds; the thread calls it first.

    ``wall`` gives seconds since the epoch.
    """

    def __init__(
        self,
        know: Known,
        *,
        incarnation: str,
        random: Random,
        wall: Callable[[], float],
        every_s: float = 1.0,
        rate: int = _RATE,
        burst_s: float = _BURST_S,
        tally: Tally | None = None,
        nulled: Nulled | None = None,
        sizes: Sizes | None = None,
        stager: Stager | None = None,
        pause: Callable[[], None] | None = None,
    ) -> None:
        self._know = know
        self._incarnation = incarnation
        self._random = random
        self._wall = wall
        self._every_s = every_s
        self._rate = rate
        self._most = rate * burst_s
        #: Rows that may be counted now; what was not used adds up.
        self._budget = self._most
        self._ring: deque[Answered | Refused] = deque()
        #: Requests that something was let pass in, which is counted of every one.
        self._let_pass: deque[Answered] = deque(maxlen=_ROOM)
        #: Written by the serving thread only, and by the counting thread only.
        self._put = self._taken = 0
        self._dropped = self._skipped = 0
        #: The share of batches that is counted; the counting thread adapts it to the traffic.
        self._share = 1.0
        self._skipped_before = 0
        self._turned_at = wall()
        self._failed = 0
        self._shape: Shape | None = None
        self._tally = tally or Tally()
        self._nulled = nulled or Nulled()
        self._sizes = sizes or Sizes()
        self._witness = Witness(None)
        self._stager = stager
        #: Lets the serving thread have the interpreter's lock.
        self._pause = pause or Breath()
        self._questions: dict[int, Frame] = {}
        self._answers: dict[int, Frame] = {}
        self._wake = threading.Event()
        self._stopping = False

    def start(self) -> None:
        """Begin to count."""
        threading.Thread(target=self._run, name="watcher", daemon=True).start()

    def stop(self) -> None:
        """End. What was not counted yet is lost."""
        self._stopping = True
        self._wake.set()

    # The serving thread

    def answered(
        self,
        requests: Sequence[Frame],
        units: Sequence[Unit],
        answers: Sequence[Any],
        output: Any,
        times: Times | None = None,
    ) -> None:
        """Take note of one batch; costs well below a microsecond a request."""
        rows = sum([unit.rows or 1 for unit in units])
        if units[0].coerced is not None:
            self._let_pass.append(Answered(self._wall(), 0, requests, units, answers, None))
        if self._share < 1.0 and self._random.random() >= self._share:
            self._skipped += rows
            return
        waiting = self._put - self._taken
        if waiting > _ROOM:
            self._dropped += rows
            return
        if waiting > self._budget:
            # Holding on to rows that will not be counted costs memory, and so time.
            self._skipped += rows
            return
        self._put += rows
        if isinstance(output, np.ndarray):
            output = output.copy()  # a model may use its array again
        self._ring.append(Answered(self._wall(), rows, requests, units, answers, output, times))

    def refused(self, request: Frame, error: SerinusError) -> None:
        """Take note of a request that was refused before the model saw it."""
        if self._put - self._taken > _ROOM:
            self._dropped += 1
            return
        self._put += 1
        self._ring.append(Refused(self._wall(), request, error))

    def live(self, frame: Frame) -> Frame | None:
        """The LIVE for a WATCH; None: not yet, ask me again."""
        key = id(frame)
        done = self._answers.pop(key, None)
        if done is not None:
            self._questions.pop(key, None)
            return done
        if key not in self._questions:
            while len(self._questions) >= _QUESTIONS:  # of peers that hung up meanwhile
                gone = next(iter(self._questions))
                self._questions.pop(gone)
                self._answers.pop(gone, None)
            self._questions[key] = frame  # kept, so that no other frame gets its id
            self._wake.set()
        return None

    # The counting thread

    def learn(self) -> None:
        """Find out how values are counted. Only the counting thread, or a test."""
        try:
            known = self._know()
        except Exception:  # noqa: BLE001 - without a contract the model serves all the same
            _log.exception("action=live_values_not_counted")
            known = None
        if known is not None:
            self._shape = known[0]
            self._witness = Witness(known[1])

    def _run(self) -> None:
        self.learn()
        counted = 0.0
        while not self._stopping:
            self._wake.wait(self._every_s)
            self._wake.clear()
            now = time.perf_counter()
            if not (self._questions or now - counted >= self._every_s):
                continue
            try:
                self.turn()
            except Exception:  # noqa: BLE001 - what can't be counted costs these rows, not the rest
                _log.exception("action=values_not_counted")
            counted = now

    def turn(self) -> None:
        """Count all that waits, then answer who asked. Only the counting thread, or a test."""
        self._count()
        for record, rows in self._stager.back() if self._stager is not None else ():
            self._witness.keep(record, rows)
        for key, frame in list(self._questions.items()):
            if key not in self._answers:
                self._answers[key] = self._answer(frame)

    def _count(self) -> None:
        taken: list[Answered | Refused] = []
        while self._ring:
            taken.append(self._ring.popleft())
        skipped = self._skipped - self._skipped_before
        self._skipped_before += skipped
        rows = sum(each.rows for each in taken)
        drawn, left_out = self._draw(taken, rows)
        groups: dict[tuple[str, int], list[tuple[Answered, int]]] = {}
        for each in with_pauses(drawn, self._pause):
            hour = int(each.at // 3600)
            if isinstance(each, Refused):
                if each.request.meta:
                    self._count_refused(each, hour)
                continue
            for at, request in enumerate(each.requests):
                if not request.meta:
                    continue  # no gateway sent it: the server verifies its own model
                caller = self._tally.caller(each.caller(request), hour)
                groups.setdefault((caller, hour), []).append((each, at))
        self._count_coerced()
        self._count_skipped(skipped + left_out, groups)
        drawn = []
        for caller, hour in list(groups):
            self._fold(caller, hour, groups.pop((caller, hour)))
        let_go(taken, self._pause)
        self._adapt(rows + skipped, rows - left_out)
        self._taken += rows

    def _count_coerced(self) -> None:
        while self._let_pass:
            each = self._let_pass.popleft()
            for request, unit in zip(each.requests, each.units, strict=True):
                if not (unit.coerced and request.meta):
                    continue
                hour = int(each.at // 3600)
                sketch = self._tally.sketch(self._tally.caller(each.caller(request), hour), hour)
                for field, kind, times in unit.coerced:
                    known = self._shape is not None and field in self._shape.fields
                    fields = sketch.coerced.setdefault(kind, {})
                    name = field if known else ""
                    fields[name] = fields.get(name, 0) + times

    def _draw(
        self, taken: list[Answered | Refused], rows: int
    ) -> tuple[list[Answered | Refused], int]:
        """What is counted of it, and how many rows are not."""
        if rows <= self._budget:
            return taken, 0
        chance, draw = self._budget / rows, self._random.random
        drawn = [each for each in taken if isinstance(each, Refused) or draw() < chance]
        return drawn, rows - sum(each.rows for each in drawn)

    def _count_skipped(
        self, skipped: int, groups: dict[tuple[str, int], list[tuple[Answered, int]]]
    ) -> None:
        """Number the rows that are not counted, shared out as those that are."""
        weights = {
            key: sum(e.units[at].rows or 1 for e, at in some) for key, some in groups.items()
        }
        left, whole = skipped, sum(weights.values())
        for key, weight in weights.items():
            if not left:
                return
            part = left * weight // whole
            self._tally.sketch(*key).skipped += part
            left, whole = left - part, whole - weight
        self._skipped_before -= left  # nobody to give them to yet

    def _adapt(self, rows: int, counted: int) -> None:
        """Settle what may be counted by the next turn, and which share of such traffic it is."""
        now = self._wall()
        passed = max(now - self._turned_at, 0.0)
        self._turned_at = now
        earned = self._rate * max(passed, self._every_s)
        self._budget = min(max(self._budget - counted, 0.0) + earned, self._most)
        # As many rows may come in the next turn as in this one.
        self._share = min(1.0, self._budget / rows if rows else 2 * self._share)

    def _fold(self, caller: str, hour: int, some: list[tuple[Answered, int]]) -> None:
        shape = self._shape
        sketch = self._tally.sketch(caller, hour)
        if shape is None:
            sketch.skipped += sum(each.units[at].rows or 0 for each, at in some)
            return
        for same in alike(with_pauses(some, self._pause), _STEP_ROWS):
            try:
                for each, at in with_pauses(same, self._pause):
                    self._keep_row(caller, each, at)
                for _ in fold_steps(sketch, shape, cells_of(same, self._pause)):
                    self._pause()
            except Exception:  # noqa: BLE001 - what a model answers may be anything
                self._failed += len(same)
                _log.exception("action=values_not_counted requests=%d", len(same))

    def _keep_row(self, caller: str, each: Answered, at: int) -> None:
        if not self._witness.ready(each.at):
            return
        entity = self._witness.entity(each.entity(at, self._witness.keys))
        if not self._witness.wants(each.at, entity):
            return
        request = each.requests[at]
        record = Record(
            at=each.at,
            request_id=each.request_id(request),
            caller=caller,
            body=request.body,
            format=request.format.name,
            answer=each.answers[at].body,
            entity=entity,
        )
        rows, stager = each.rows_of(at), self._stager
        # What is computed of a private value says as much as the value.
        if (
            stager is None
            or self._witness.private
            or not stager.offer(record, rows, each.units[at])
        ):
            self._witness.keep(record, rows)

    def _count_refused(self, each: Refused, hour: int) -> None:
        caller = self._tally.caller(each.caller(each.request), hour)
        sketch = self._tally.sketch(caller, hour)
        for kind, field in each.reasons():
            fields = sketch.refused.setdefault(kind, {})
            known = self._shape is not None and field in self._shape.fields
            # A client makes up field names without end; only the model's are counted by name.
            name = field if known else ""
            fields[name] = fields.get(name, 0) + 1
            if known:
                if name not in sketch.fields:
                    sketch.fields[name] = FieldSketch()
                sketch.fields[name].refused += 1
            self._witness.refused(
                Record(
                    at=each.at,
                    request_id=each.request_id(each.request),
                    caller=caller,
                    body=each.request.body,
                    format=each.request.format.name,
                    violation=kind,
                    field=name,
                    detail=each.error.message,
                )
            )

    def _answer(self, frame: Frame) -> Frame:
        try:
            watch = read_watch(frame.body)
        except msgspec.DecodeError as error:
            words = f"The question can't be read: {error}."
            return Frame(Kind.LIVE, frame.id, words.encode(), status=400)
        sequence = self._tally.sequence
        records, row_sequence = (
            self._witness.since(watch.rows_since, _RECORD_BYTES) if watch.rows else ([], 0)
        )
        live = Live(
            incarnation=self._incarnation,
            sequence=sequence,
            contract=self._shape.contract if self._shape is not None else "",
            cells=[
                Cell(caller, hour, sketch.rows, pack(sketch, self._pause))
                for caller, hour, sketch in self._tally.changed(watch.since)
            ],
            dropped=self._dropped,
            evicted=self._tally.evicted,
            failed=self._failed,
            nan=self._nulled.nan,
            infinite=self._nulled.infinite,
            batches=list(self._sizes.batches),
            batched=self._sizes.requests,
            records=records,
            row_sequence=row_sequence,
        )
        return Frame(Kind.LIVE, frame.id, msgspec.msgpack.encode(live), status=200)
