"""The arithmetic of the rollout benchmark: from answers and verbs to delays and counts.

Pure: no clock, no sockets. Moments are nanoseconds since the epoch, delays are milliseconds.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.latency import percentile

__all__ = [
    "CANDIDATE",
    "STABLE",
    "Answer",
    "Change",
    "Spread",
    "Target",
    "after_abort",
    "failures",
    "served_by",
    "spread",
]

STABLE, CANDIDATE = "stable", "candidate"


@dataclass(frozen=True, slots=True)
class Answer:
    """One request of the generator and what came back."""

    gateway: str
    #: The request's unit answers to every weight change: it is on one side before, on the other
    #: after it.
    probe: bool
    sent: int
    received: int
    #: `STABLE` or `CANDIDATE`; anything else says how the request failed.
    outcome: str


@dataclass(frozen=True, slots=True)
class Change:
    """One verb, and the time until the next one."""

    verb: str
    #: Who answers the probes' unit from this change on.
    outcome: str
    #: Just before the POST was sent.
    sent: int
    #: When the POST had been answered.
    answered: int
    #: When the controller knew that every gateway serves by it.
    acknowledged: int
    #: Just before the next verb that moves a weight.
    until: int


@dataclass(frozen=True, slots=True)
class Spread:
    """Milliseconds."""

    count: int
    p50: float
    p99: float
    highest: float


@dataclass(frozen=True, slots=True)
class Target:
    """One row of the table. ``measured`` None: it was not measured."""

    text: str
    want: float
    measured: float | None
    unit: str = ""

    @property
    def met(self) -> bool | None:
        """None when it was not measured."""
        return None if self.measured is None else self.measured <= self.want


def served_by(change: Change, answers: Iterable[Answer], gateways: Sequence[str]) -> float | None:
    """Milliseconds from the POST to the last gateway's first answer by the change.

    For each gateway: until the probe answer that followed its last one by the old weights, so a
    gateway that went back and forth counts until it was steady. None when a gateway gave no
    answer by the new weights before the next verb.
    """
    probes: dict[str, list[Answer]] = {gateway: [] for gateway in gateways}
    for answer in answers:
        if answer.probe and change.sent <= answer.received and answer.sent < change.until:
            probes.setdefault(answer.gateway, []).append(answer)
    steady = [_steady(found, change.outcome) for found in probes.values()]
    moments = [moment for moment in steady if moment is not None]
    if not moments or len(moments) < len(steady):
        return None
    return max(0.0, (max(moments) - change.sent) / 1e6)


def _steady(answers: list[Answer], outcome: str) -> int | None:
    """When the run of answers by ``outcome`` that lasts to the end began."""
    began = None
    for answer in sorted(answers, key=lambda each: each.received, reverse=True):
        if answer.outcome != outcome:
            break
        began = answer.received
    return began


def after_abort(changes: Iterable[Change], answers: Sequence[Answer]) -> int:
    """Requests that were sent after an abort was acknowledged and that the candidate answered.

    Only up to the next verb: that one gives the candidate traffic again.
    """
    return sum(
        change.acknowledged < answer.sent and answer.received < change.until
        for change in changes
        if change.verb == "abort"
        for answer in answers
        if answer.outcome == CANDIDATE
    )


def failures(answers: Iterable[Answer]) -> Mapping[str, int]:
    """How requests failed → how many."""
    return Counter(a.outcome for a in answers if a.outcome not in (STABLE, CANDIDATE))


def spread(delays: Sequence[float]) -> Spread | None:
    """Percentiles by nearest rank; None for no delays at all."""
    if not delays:
        return None
    ordered = sorted(delays)
    return Spread(
        len(ordered), percentile(ordered, 50), percentile(ordered, 99), percentile(ordered, 100)
    )
