"""What one stage of a rollout has shown, as counters that may be added in any order. Pure.

A gateway records into `StageSummary` and flushes all of them, cumulatively, as a `Flush`; the
controller keeps the newest of each gateway incarnation in a `Ledger`. Nothing here ever reads a
clock, draws a number or forgets a count.
"""

import hashlib
from dataclasses import dataclass, field
from enum import Enum
from functools import reduce

from serinus.evidence.exposure import Exposure
from serinus.evidence.histogram import Histogram, add_counts, duration_bucket

__all__ = [
    "Arm",
    "ArmSummary",
    "ErrorClass",
    "Exclusion",
    "FirstEvent",
    "Flush",
    "Ledger",
    "PairSummary",
    "StageSummary",
    "event_key",
    "stage_key",
]


class Arm(Enum):
    """A side of the comparison."""

    STABLE = "stable"
    CANDIDATE = "candidate"
    #: Stable's version in a pool as fresh and as loaded as the candidate's.
    CONTROL = "control"


class ErrorClass(Enum):
    """Whose fault a failed request is."""

    CLIENT = "client"  # 4xx: never counts against a model
    MODEL = "model"  # the model raised, or its replica died under the request
    TIMEOUT = "timeout"  # no answer within the deadline
    UNAVAILABLE = "unavailable"  # no replica, or its queue was full


class Exclusion(Enum):
    """Why a request is no evidence."""

    FORCED = "forced"  # pinned to a served entity by its path
    SHADOWED = "shadowed"  # a copy; its pair is in `PairSummary`
    RETRIED = "retried"  # same client request id and body as one before
    WARM_UP = "warm_up"  # within the first seconds of a stage or a replica
    NO_UNIT = "no_unit"  # the header, cookie or path that names the unit is not there
    REPEATED = "repeated"  # the same as one within the time for which answers are given again


#: Members by module-level name: reading them off the class costs more than a counter does.
_STABLE, _CANDIDATE, _CLIENT = Arm.STABLE, Arm.CANDIDATE, ErrorClass.CLIENT

#: Distinct keyed events kept per stage. Past it, no further keyed event of *either* arm counts: one
#: limit for all arms, so that reaching it says nothing about any of them.
MOST_KEYS = 10_000
#: Distinct prediction labels kept per arm; all others share one.
MOST_LABELS = 256
OTHER_LABEL = "(other)"


@dataclass(slots=True)
class ArmSummary:
    """Counters of one arm in one stage."""

    #: Units first seen here (a gateway counts each once; with unit ``request``, every request).
    units: int = 0
    #: Requests that count as evidence, failed ones included.
    requests: int = 0
    #: Every failed request.
    errors: dict[ErrorClass, int] = field(default_factory=dict)
    #: Failures at the model's fault that share neither a cause nor a unit with another one; those
    #: with a key are in `StageSummary.first_events` instead.
    lone_errors: int = 0
    #: Units (requests, where those are the unit) that failed at the model's fault, of whatever
    #: cause: what users met, and so what SAFE is held against.
    failed: int = 0
    excluded: dict[Exclusion, int] = field(default_factory=dict)
    #: The gateway's view of requests answered without error, of each replica one at a time.
    latency: Histogram = field(default_factory=dict)
    #: Inside the model, one count per batch.
    model_time: Histogram = field(default_factory=dict)
    #: Class label, or `histogram.score_bin`, of the first row of each answer.
    predictions: dict[str, int] = field(default_factory=dict)

    def add(self, other: "ArmSummary") -> "ArmSummary":
        """Both together, as a new value; an empty `ArmSummary` changes nothing."""
        return ArmSummary(
            units=self.units + other.units,
            requests=self.requests + other.requests,
            errors=add_counts(self.errors, other.errors),
            lone_errors=self.lone_errors + other.lone_errors,
            failed=self.failed + other.failed,
            excluded=add_counts(self.excluded, other.excluded),
            latency=add_counts(self.latency, other.latency),
            model_time=add_counts(self.model_time, other.model_time),
            predictions=add_counts(self.predictions, other.predictions),
        )


@dataclass(slots=True)
class PairSummary:
    """Shadowed requests whose two answers, stable's and the candidate's, were compared."""

    #: Both answered without error; only these were compared.
    pairs: int = 0
    #: Pairs in which some row got another class.
    flips: int = 0
    #: Pairs in which some score moved by more than the stage's tolerance.
    over_tolerance: int = 0
    #: Pairs in which the candidate took longer.
    candidate_slower: int = 0
    #: Shadowed requests on which only this side failed (by its own fault), or both did.
    candidate_errors: int = 0
    stable_errors: int = 0
    both_errors: int = 0
    #: Copies never sent or never finished (no replica, full queue, deadline): no evidence.
    not_compared: int = 0
    #: ``stable label → candidate label`` of the first row that differed, e.g. ``"cat→dog"``.
    flip_matrix: dict[str, int] = field(default_factory=dict)

    def record(
        self, *, flipped: bool, over_tolerance: bool, slower: bool, flip: str | None = None
    ) -> None:
        """Count one compared pair; ``flip`` is the cell of the flip matrix."""
        self.pairs += 1
        self.flips += flipped
        self.over_tolerance += over_tolerance
        self.candidate_slower += slower
        if flip is not None:
            _count_label(self.flip_matrix, flip)

    @property
    def disagreements(self) -> int:
        """Pairs that differ: by class where there are classes, else by score."""
        return max(self.flips, self.over_tolerance)

    def add(self, other: "PairSummary") -> "PairSummary":
        """Both together, as a new value."""
        return PairSummary(
            pairs=self.pairs + other.pairs,
            flips=self.flips + other.flips,
            over_tolerance=self.over_tolerance + other.over_tolerance,
            candidate_slower=self.candidate_slower + other.candidate_slower,
            candidate_errors=self.candidate_errors + other.candidate_errors,
            stable_errors=self.stable_errors + other.stable_errors,
            both_errors=self.both_errors + other.both_errors,
            not_compared=self.not_compared + other.not_compared,
            flip_matrix=add_counts(self.flip_matrix, other.flip_matrix),
        )


#: (microseconds since the epoch, arm) of the earliest event with one key.
FirstEvent = tuple[int, Arm]


@dataclass(slots=True)
class StageSummary:
    """What was seen while a rollout's weights stayed the same."""

    rollout_id: str
    stage: int
    #: The propensity in force, from the `StageRoute`: constant in a stage.
    candidate_bp: int = 0
    control_bp: int = 0
    stable: ArmSummary = field(default_factory=ArmSummary)
    candidate: ArmSummary = field(default_factory=ArmSummary)
    control: ArmSummary = field(default_factory=ArmSummary)
    shadow: PairSummary = field(default_factory=PairSummary)
    #: Errors that share a cause or a sticky unit: one event per key, on the arm where it was first.
    first_events: dict[int, FirstEvent] = field(default_factory=dict)
    #: Keyed events that were not kept because there were `MOST_KEYS` already.
    keys_dropped: int = 0
    #: Exposures that no outcome can be told of, because there were too many at a time.
    exposures_dropped: int = 0

    def arm(self, arm: Arm) -> ArmSummary:
        """The counters of one arm."""
        return (
            self.candidate if arm is _CANDIDATE else self.stable if arm is _STABLE else self.control
        )

    def record(
        self,
        arm: Arm,
        error: ErrorClass | None,
        latency_s: float | None,
        model_us: int | None = None,
        *,
        new_unit: bool = True,
        key: int | None = None,
        at_us: int = 0,
    ) -> None:
        """Count one request that was routed by the split.

        ``latency_s``: the gateway's view; None when it should not count (with a sticky unit, any
        but the unit's first request in the stage; one that was under way while another answer of
        its replica was timed). ``model_us``: inside the model, None but for one answer of each
        batch.
        ``new_unit``: the first time this gateway sees the unit in this stage.
        ``key``: `event_key` of what the error shares with others (the replica that died and the
        second, the sticky unit); ``at_us`` then says when, in microseconds since the epoch.
        """
        side = (
            self.candidate if arm is _CANDIDATE else self.stable if arm is _STABLE else self.control
        )
        side.requests += 1
        if new_unit:
            side.units += 1
        if error is not None:
            self._record_error(arm, side, error, key, at_us)
            return
        if latency_s is not None:
            bucket = duration_bucket(latency_s)
            histogram = side.latency
            histogram[bucket] = histogram.get(bucket, 0) + 1
        if model_us is not None:
            bucket = duration_bucket(model_us * 1e-6)
            histogram = side.model_time
            histogram[bucket] = histogram.get(bucket, 0) + 1

    def _record_error(
        self, arm: Arm, side: ArmSummary, error: ErrorClass, key: int | None, at_us: int
    ) -> None:
        side.errors[error] = side.errors.get(error, 0) + 1
        if error is _CLIENT:
            return
        if key is None:
            side.lone_errors += 1
            return
        first = self.first_events.get(key)
        if first is not None:
            self.first_events[key] = _earlier(first, (at_us, arm))
        elif len(self.first_events) < MOST_KEYS:
            self.first_events[key] = (at_us, arm)
        else:
            self.keys_dropped += 1

    def exclude(self, arm: Arm, why: Exclusion) -> None:
        """Count one request that is no evidence."""
        excluded = self.arm(arm).excluded
        excluded[why] = excluded.get(why, 0) + 1

    def predicted(self, arm: Arm, label: str) -> None:
        """Count one answer: its first row's class, or `histogram.score_bin` of its score."""
        _count_label(self.arm(arm).predictions, label)

    def error_events(self, arm: Arm) -> int:
        """Errors at the model's fault, one per cause and sticky unit: what the tests count."""
        keyed = sum(1 for _, each in self.first_events.values() if each is arm)
        return self.arm(arm).lone_errors + keyed

    def add(self, other: "StageSummary") -> "StageSummary":
        """Both together, as a new value. Raises ValueError when they are not of the same stage."""
        mine = (self.rollout_id, self.stage, self.candidate_bp, self.control_bp)
        theirs = (other.rollout_id, other.stage, other.candidate_bp, other.control_bp)
        if mine != theirs:
            raise ValueError(f"summaries of different stages cannot be added: {mine} and {theirs}")
        firsts = dict(self.first_events)
        for key, event in other.first_events.items():
            firsts[key] = _earlier(firsts[key], event) if key in firsts else event
        return StageSummary(
            *mine,
            stable=self.stable.add(other.stable),
            candidate=self.candidate.add(other.candidate),
            control=self.control.add(other.control),
            shadow=self.shadow.add(other.shadow),
            first_events=firsts,
            keys_dropped=self.keys_dropped + other.keys_dropped,
            exposures_dropped=self.exposures_dropped + other.exposures_dropped,
        )


@dataclass(slots=True)
class Flush:
    """All that one gateway incarnation has seen since it started; sending it twice is harmless.

    A stage that is over may be left out of later flushes: the ledger keeps what it had.
    """

    gateway_id: str
    incarnation: str
    #: Rises with each flush of this incarnation.
    sequence: int
    stages: list[StageSummary] = field(default_factory=list)
    #: Not cumulative: those that no controller has kept yet. Each has a key, so twice is once.
    exposures: list[Exposure] = field(default_factory=list)


@dataclass(slots=True)
class Ledger:
    """The newest summary per stage and gateway incarnation; gateways that are gone stay in it."""

    #: ``stage_key`` → incarnation → (sequence of the flush, summary).
    entries: dict[str, dict[str, tuple[int, StageSummary]]] = field(default_factory=dict)

    def replace(self, flush: Flush) -> None:
        """Take the flush's summaries in place of older ones of the same incarnation."""
        for summary in flush.stages:
            known = self.entries.setdefault(stage_key(summary), {})
            kept = known.get(flush.incarnation)
            if kept is None or kept[0] <= flush.sequence:
                known[flush.incarnation] = (flush.sequence, summary)

    def total(self, rollout_id: str, stage: int) -> StageSummary | None:
        """All incarnations of one stage together; None when nothing was ever seen of it.

        Should a stage have had other weights before, its newest ones (as first seen) are meant.
        """
        matching = [total for total in self.stages(rollout_id) if total.stage == stage]
        return matching[-1] if matching else None

    def stages(self, rollout_id: str) -> list[StageSummary]:
        """Totals of every stage of a rollout that was seen, in order, one for each weight."""
        totals = [
            reduce(StageSummary.add, (summary for _, summary in known.values()))
            for known in self._of(rollout_id).values()
        ]
        return sorted(totals, key=lambda total: total.stage)

    def incarnations(self, rollout_id: str) -> int:
        """How many gateway incarnations saw this rollout: each may count a sticky unit once."""
        return len({each for known in self._of(rollout_id).values() for each in known})

    def forget(self, rollout_id: str) -> None:
        """Drop a rollout whose evidence is in the journal."""
        for key in self._of(rollout_id):
            del self.entries[key]

    def _of(self, rollout_id: str) -> dict[str, dict[str, tuple[int, StageSummary]]]:
        return {
            key: known
            for key, known in self.entries.items()
            if key.rsplit("/", maxsplit=3)[0] == rollout_id
        }


def stage_key(summary: StageSummary) -> str:
    """The name of a stage in a `Ledger`; with its weights, since only like may be added to like."""
    return f"{summary.rollout_id}/{summary.stage}/{summary.candidate_bp}/{summary.control_bp}"


def event_key(*parts: str) -> int:
    """A number for what events share, the same in every gateway; 53 bits, so JSON keeps it."""
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 11


def _earlier(left: FirstEvent, right: FirstEvent) -> FirstEvent:
    # A tie in the microsecond is decided by name: rare, and the same whatever the order of adding.
    return min(left, right, key=lambda event: (event[0], event[1].value))


def _count_label(counts: dict[str, int], label: str) -> None:
    if label not in counts and len(counts) >= MOST_LABELS:
        label = OTHER_LABEL
    counts[label] = counts.get(label, 0) + 1
