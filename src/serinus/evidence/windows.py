"""What each stretch of a rollout added, with thresholds that were fixed before it began. Pure.

The slow-event test asks which answers exceeded the baseline's quantile *of the past*; so the
controller gives each tick's totals to a `Timeline`, which cuts them into windows and writes into
every window, when it opens, the thresholds that the closed ones before it gave. A window that is
open is replaced at each tick, a closed one never changes: all that is decided can be computed
again from what is stored.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from serinus.entities import WHOLE
from serinus.evidence.histogram import (
    Histogram,
    add_counts,
    count_above,
    quantile_bucket,
    subtract_counts,
)
from serinus.evidence.summary import ArmSummary, StageSummary

__all__ = ["QUANTILES", "Counts", "Timeline", "Window"]

#: Quantiles of the baseline for which every window keeps a threshold.
QUANTILES = (0.5, 0.9, 0.95, 0.99)
#: Baseline answers after which a window may close …
_SMALLEST = 200
#: … if they are also this share of all before: few windows, however long a rollout lasts.
_GROWTH = 0.25
#: Thresholds come from the newest closed windows that hold so many baseline answers together.
_RECENT = 1000
#: The control pool's answers after which thresholds come from it alone.
_ENOUGH = 100


@dataclass(slots=True)
class Counts:
    """One arm in one window."""

    latency: Histogram = field(default_factory=dict)
    model_time: Histogram = field(default_factory=dict)
    predictions: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, arm: ArmSummary) -> "Counts":
        """What a window keeps of an arm."""
        return cls(arm.latency, arm.model_time, arm.predictions)

    def add(self, other: "Counts") -> "Counts":
        """Both together."""
        return Counts(
            add_counts(self.latency, other.latency),
            add_counts(self.model_time, other.model_time),
            add_counts(self.predictions, other.predictions),
        )

    def beyond(self, other: "Counts") -> "Counts":
        """What this has more than ``other``."""
        return Counts(
            subtract_counts(self.latency, other.latency),
            subtract_counts(self.model_time, other.model_time),
            subtract_counts(self.predictions, other.predictions),
        )


@dataclass(slots=True)
class Window:
    """A stretch of one stage."""

    stage: int
    candidate_bp: int
    control_bp: int
    #: Bucket of each of `QUANTILES` in the baseline's past latency; empty when there was no past.
    latency_edges: tuple[int, ...] = ()
    #: The same for time inside the model.
    model_edges: tuple[int, ...] = ()
    #: The baseline's answers in this window above each of these edges.
    latency_above: tuple[int, ...] = ()
    model_above: tuple[int, ...] = ()
    closed: bool = False
    stable: Counts = field(default_factory=Counts)
    candidate: Counts = field(default_factory=Counts)
    control: Counts = field(default_factory=Counts)

    def is_of(self, total: StageSummary) -> bool:
        """True when that stage, with the same weights, is the one that this is a stretch of."""
        return (self.stage, self.candidate_bp, self.control_bp) == (
            total.stage,
            total.candidate_bp,
            total.control_bp,
        )

    def share(self) -> float:
        """The candidate's part of the traffic of the two arms that are compared."""
        other = self.control_bp or WHOLE - self.candidate_bp
        return self.candidate_bp / (self.candidate_bp + other)

    def baseline(self) -> Counts:
        """The arm that the candidate is compared with: control where there is one."""
        return self.control if self.control_bp else self.stable

    def old_version(self) -> Counts:
        """Stable's version in both of its pools: what thresholds are taken from."""
        return self.stable.add(self.control) if self.control_bp else self.stable


@dataclass(slots=True)
class Timeline:
    """The windows of one rollout, in the order in which they opened."""

    windows: list[Window] = field(default_factory=list)

    def observe(self, totals: list[StageSummary]) -> None:
        """Take each stage's totals so far; the newest ones only, harmless when repeated."""
        for total in sorted(totals, key=lambda each: each.stage):
            done = [each for each in self.windows if each.is_of(total) and each.closed]
            stable = _rest(total.stable, [each.stable for each in done])
            candidate = _rest(total.candidate, [each.candidate for each in done])
            control = _rest(total.control, [each.control for each in done])
            if stable == candidate == control == Counts():
                continue
            window = self._open_window(total)
            window.stable, window.candidate, window.control = stable, candidate, control
            other = window.baseline()
            window.latency_above = _above(other.latency, window.latency_edges)
            window.model_above = _above(other.model_time, window.model_edges)
            window.closed = self._is_full(window)

    def _open_window(self, total: StageSummary) -> Window:
        for window in reversed(self.windows):
            if window.is_of(total) and not window.closed:
                return window
        window = Window(
            total.stage,
            total.candidate_bp,
            total.control_bp,
            latency_edges=self._edges(total, of_model=False),
            model_edges=self._edges(total, of_model=True),
        )
        self.windows.append(window)
        return window

    def _is_full(self, window: Window) -> bool:
        size = sum(window.old_version().latency.values())
        before = sum(
            sum(each.old_version().latency.values()) for each in self.windows if each.closed
        )
        return size >= max(_SMALLEST, _GROWTH * before)

    def _edges(self, total: StageSummary, *, of_model: bool) -> tuple[int, ...]:
        recent: Histogram = {}
        if total.control_bp:
            # Its own past, once there is enough: a pool with all the other traffic queues more and
            # would set thresholds that the two small pools hardly ever reach.
            recent = self._recent(lambda window: window.control, of_model=of_model)
        if sum(recent.values()) < _ENOUGH:
            recent = self._recent(Window.old_version, of_model=of_model)
        edges = (quantile_bucket(recent, share) for share in QUANTILES)
        return tuple(edge for edge in edges if edge is not None)

    def _recent(self, side: Callable[[Window], Counts], *, of_model: bool) -> Histogram:
        recent: Histogram = {}
        seen = 0
        for window in reversed(self.windows):
            if window.closed and seen < _RECENT:
                counts = side(window)
                part = counts.model_time if of_model else counts.latency
                recent = add_counts(recent, part)
                seen += sum(part.values())
        return recent


def _above(histogram: Histogram, edges: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(count_above(histogram, edge) for edge in edges)


def _rest(arm: ArmSummary, done: list[Counts]) -> Counts:
    before = Counts()
    for each in done:
        before = before.add(each)
    # A copy even when nothing came before: the summary goes on counting in its own dicts.
    return Counts.of(arm).beyond(before)
