"""Turns what happened to the requests of one stage into its summary, off the response path.

Events that share a cause are made one event here. It never waits, and what it keeps is bounded.
"""

import asyncio
from collections.abc import Callable

from serinus.errors import DeadlineExceeded, ResourceExhausted, SerinusError
from serinus.evidence.exposure import Exposure, request_key
from serinus.evidence.summary import Arm, ErrorClass, Exclusion, StageSummary, event_key
from serinus.gateway.bodies import Bodies
from serinus.gateway.exposures import Exposures, Picker, client_of
from serinus.gateway.pool import Cause, NoAnswer, NoReplica, ReplicaLink
from serinus.gateway.prediction import label
from serinus.gateway.quarantine import Quarantined
from serinus.gateway.timing import Timing
from serinus.replica.protocol import Frame
from serinus.traffic import StageRoute

__all__ = ["Recorder", "fault_of"]

#: Seconds after which the same request of the same client is a new one.
_RETRY_S = 60.0
#: Seconds after which an outage that lasts is another event.
_OUTAGE_S = 60.0
#: Entries of each short memory; past it the older half is forgotten.
_REMEMBERED = 20_000
#: Answers whose predictions are read, whichever arm they are of, in each so many seconds.
_READ, _READ_S = 100, 0.25
#: Only the ends of a body are looked at for the client's request id, and of one that is longer than
#: this only they are compared.
_LONG_BODY, _END = 64 * 1024, 1024
_REQUEST_ID, _RARE = b'"client_request_id"', b"q"
#: Cells of the map of seen units, a power of two. Two units in one cell count as one, equally
#: often on every arm: a cell is a stretch of the line that the arms divide between them.
_CELLS = 1 << 23
_WHOLE_POINT = float(1 << 53)

#: arm, the unit's point, began, ended, link, answer or error, request body, id if it was picked
_Entry = tuple[
    Arm, float | None, float, float, ReplicaLink | None, Frame | SerinusError, bytes, bytes
]


class Recorder:
    """Fills the `StageSummary` of one stage at one gateway.

    ``wall`` gives seconds since the epoch; ``began`` and ``ended`` come from a monotonic clock,
    by which ``opened_at`` is when the stage came into force here.
    """

    def __init__(
        self,
        route: StageRoute,
        opened_at: float,
        wall: Callable[[], float],
        exposures: Exposures | None = None,
    ) -> None:
        self.summary = StageSummary(
            route.rollout_id,
            route.stage,
            candidate_bp=route.candidate_bp,
            control_bp=route.control_bp,
        )
        #: Rises with every change of the summary.
        self.version = 0
        #: Requests that were routed by this stage and have no outcome yet.
        self.in_flight = 0
        #: Says at a request's arrival whether an outcome may be told of it.
        self.picker = Picker(route.exposures_per_s if exposures is not None else 0.0, opened_at)
        self._exposures = exposures
        self._warm_at = opened_at + route.warmup_s
        self._warmup_s = route.warmup_s
        self._wall = wall
        self._pending: list[_Entry] = []
        self._units: bytearray | None = None
        #: Sticky unit → key of the one event that it contributes.
        self._unit_keys: dict[float, int] = {}
        self._batches = _Memory()
        self._failed_batches = _Memory()
        self._bodies = Bodies()
        self._timing = Timing()
        self._causes = _Memory()
        self._asked = _Memory()
        self._to_read = _READ
        self._reading_since = opened_at

    def is_of(self, route: StageRoute) -> bool:
        """True when that stage has the weights that this evidence was gathered with."""
        weights = (self.summary.candidate_bp, self.summary.control_bp)
        return weights == (route.candidate_bp, route.control_bp)

    def note(
        self,
        arm: Arm,
        point: float | None,
        began: float,
        ended: float,
        link: ReplicaLink | None,
        outcome: Frame | SerinusError,
        body: bytes,
        picked: bytes = b"",
    ) -> None:
        """Remember one outcome; it is counted when the response is out.

        ``point`` is the sticky unit's place in [0, 1), None when the request is the unit.
        ``picked`` is the request's id if `picker` picked it.
        """
        if not self._pending:
            asyncio.get_running_loop().call_soon(self.fold)
        self._pending.append((arm, point, began, ended, link, outcome, body, picked))

    def exclude(self, arm: Arm, why: Exclusion) -> None:
        """Count one request that is no evidence."""
        self.version += 1
        self.summary.exclude(arm, why)

    def fold(self) -> None:
        """Count what was noted."""
        pending, self._pending = self._pending, []
        self.version += len(pending)
        warm_at = self._warm_at
        for entry in pending:
            if entry[2] < warm_at:
                self.summary.exclude(entry[0], Exclusion.WARM_UP)
            elif self._is_retry(entry[6], entry[2]):
                self.summary.exclude(entry[0], Exclusion.RETRIED)
            elif self._is_fresh(entry[4], entry[2]):
                self._leave_out(entry)
            else:
                self._count(entry)

    def _is_fresh(self, link: ReplicaLink | None, began: float) -> bool:
        """True for what a replica answered that had only just joined: it may still be cold."""
        return link is not None and began < link.joined_at + self._warmup_s

    def _leave_out(self, entry: _Entry) -> None:
        side = self.summary.arm(entry[0])
        # The unit was sent there all the same: whether the split happened is judged by units.
        side.units += entry[1] is None or self._is_new(entry[1])
        self.summary.exclude(entry[0], Exclusion.WARM_UP)

    def _count(self, entry: _Entry) -> None:
        arm, point, began, ended, link, outcome, body, picked = entry
        new = point is None or self._is_new(point)
        fault = fault_of(outcome)
        if fault is not None or not isinstance(outcome, Frame):
            self._fault(entry, fault or ErrorClass.MODEL, new)
            return
        self._bodies.answered(body)
        if not new:
            self.summary.record(arm, None, None, new_unit=False)
            return
        if picked:
            self._expose(arm, point, ended - began, body, picked)
        timed = link is None or self._timing.is_timed(link, began, ended)
        first = not outcome.batch or self._batches.add((link, outcome.batch), ended)
        self.summary.record(
            arm, None, ended - began if timed else None, (outcome.aux or None) if first else None
        )
        self._read(arm, outcome.body, ended)

    def _expose(
        self, arm: Arm, point: float | None, took: float, body: bytes, picked: bytes
    ) -> None:
        """Have it noted who answered, for an outcome that may be told later."""
        if self._exposures is None:
            return
        exposure = Exposure(
            self.summary.rollout_id,
            request_key(picked),
            client_of(body) if _names_itself(body) else None,
            None if point is None else int(point * _WHOLE_POINT),
            int((self._wall() - took) * 1e6),
            arm is Arm.CANDIDATE,
            self.summary.stage,
            self.summary.candidate_bp,
        )
        self.summary.exposures_dropped += not self._exposures.add(exposure)

    def _read(self, arm: Arm, body: bytes, at: float) -> None:
        """Count what was predicted, of so many answers as can be read in passing."""
        if at - self._reading_since > _READ_S:
            self._reading_since, self._to_read = at, _READ
        if self._to_read:
            self._to_read -= 1
            predicted = label(body)
            if predicted is not None:
                self.summary.predicted(arm, predicted)

    def _fault(self, entry: _Entry, fault: ErrorClass, new: bool) -> None:
        arm, point, _, ended, link, outcome, body, _ = entry
        key = None
        if fault is not ErrorClass.CLIENT:
            side = self.summary.arm(arm)
            side.failed += point is None or point not in self._unit_keys
            counts, shared = self._event(link, outcome, body, ended)
            if not counts:
                if point is not None:
                    self._key(point, None, ended)
                side.requests += 1
                side.units += new
                side.errors[fault] = side.errors.get(fault, 0) + 1
                return
            key = self._key(point, _cause(arm, link, outcome, ended), ended)
            key = shared if key is None else key
        at_us = 0 if key is None else int(self._wall() * 1e6)
        self.summary.record(arm, fault, None, new_unit=new, key=key, at_us=at_us)

    def _event(
        self, link: ReplicaLink | None, outcome: Frame | SerinusError, body: bytes, at: float
    ) -> tuple[bool, int | None]:
        """Whether it is more than one more failure of its batch or body, and the body's key."""
        if (
            isinstance(outcome, Frame)
            and outcome.batch
            and not self._failed_batches.add((link, outcome.batch), at)
        ):
            return False, None
        # Over all arms together: arm by arm, a storm would weigh the same on 1 % as on 99 %.
        return self._bodies.failed(body, at)

    def _key(self, point: float | None, cause: Cause | None, at: float) -> int | None:
        """What this failure shares with others; None when it stands alone."""
        key: int | None = None
        if cause is not None:
            # One that lasts is another event every so often, or nobody would ever take notice.
            spell = int((at - self._causes.first(cause, at)) / _OUTAGE_S)
            key = event_key(*map(str, cause), str(spell))
        if point is None:
            return key
        if len(self._unit_keys) >= _REMEMBERED:
            self._unit_keys.clear()
        return self._unit_keys.setdefault(point, int(point * _WHOLE_POINT) if key is None else key)

    def _is_new(self, point: float) -> bool:
        if self._units is None:
            self._units = bytearray(_CELLS >> 3)
        cell = int(point * _CELLS)
        bit = 1 << (cell & 7)
        if self._units[cell >> 3] & bit:
            return False
        self._units[cell >> 3] |= bit
        return True

    def _is_retry(self, body: bytes, at: float) -> bool:
        """True when a client sends again, under its own request id, what it sent a moment ago."""
        if not _names_itself(body):
            return False
        # The id is part of the body, so that equal bodies have equal ids.
        what = hash(body) if len(body) <= _LONG_BODY else (len(body), body[:_END], body[-_END:])
        return not self._asked.add(what, at, _RETRY_S)


def _names_itself(body: bytes) -> bool:
    """True when a request id of the client's own is in the body, as far as its ends show."""
    # A letter is looked for many bytes at a time; most bodies don't have this one.
    if body.find(_RARE, 0, _END) >= 0 and body.find(_REQUEST_ID, 0, _END) >= 0:
        return True
    return len(body) > _END and body.find(_RARE, -_END) >= 0 and body.find(_REQUEST_ID, -_END) >= 0


class _Memory:
    """What was seen lately, in two generations of bounded size."""

    __slots__ = ("_new", "_old")

    def __init__(self) -> None:
        self._new: dict[object, float] = {}
        self._old: dict[object, float] = {}

    def add(self, what: object, at: float, window_s: float = float("inf")) -> bool:
        """Remember it; False when it was added already, less than ``window_s`` before."""
        before = self._new.get(what)
        if before is None and self._old:
            before = self._old.get(what)
        if before is not None and at - before < window_s:
            return False
        self._put(what, at)
        return True

    def first(self, what: object, at: float) -> float:
        """When it was first seen: now, if it was not."""
        before = self._new.get(what, self._old.get(what))
        if before is None:
            self._put(what, at)
            return at
        return before

    def _put(self, what: object, at: float) -> None:
        if len(self._new) >= _REMEMBERED >> 1:
            self._old, self._new = self._new, {}
        self._new[what] = at


def fault_of(outcome: Frame | SerinusError) -> ErrorClass | None:
    """Whose fault it is; None for an answer."""
    if isinstance(outcome, Frame):
        status = outcome.status
        if status < 400:
            return None
        if status == DeadlineExceeded.status:
            return ErrorClass.TIMEOUT
        # As MLflow does, a replica answers 400 when predict raised; only then has it a model time.
        return ErrorClass.CLIENT if status < 500 and not outcome.aux else ErrorClass.MODEL
    if isinstance(outcome, DeadlineExceeded):
        return ErrorClass.TIMEOUT
    if isinstance(outcome, NoReplica):
        return ErrorClass.MODEL if outcome.died else ErrorClass.UNAVAILABLE
    if isinstance(outcome, ResourceExhausted):
        return ErrorClass.UNAVAILABLE
    if isinstance(outcome, Quarantined):
        return ErrorClass.MODEL  # it died of it twice
    return ErrorClass.CLIENT if outcome.status < 500 else ErrorClass.MODEL


def _cause(
    arm: Arm, link: ReplicaLink | None, outcome: Frame | SerinusError, at: float
) -> Cause | None:
    if isinstance(outcome, NoReplica | NoAnswer | Quarantined):
        return outcome.cause
    if isinstance(outcome, ResourceExhausted):
        return "full", arm.value, int(at)
    if isinstance(outcome, Frame) and outcome.status == DeadlineExceeded.status and link:
        return "late", link.address.replica_id, outcome.batch
    return None
