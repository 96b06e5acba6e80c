"""What became of requests, told later: counts by window, in the order of exposure. Pure.

A unit counts when its label window is over, with what was known by then, and never in the order in
which labels arrive: only so is who was assigned what independent of everything before. Within a
window units with equal outcomes are a count, so what is judged by stays small for ever.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from serinus.entities import WHOLE
from serinus.evidence.histogram import add_counts
from serinus.evidence.means import Outcomes
from serinus.evidence.ratio import log_mismatch

__all__ = ["OutcomeLine", "OutcomeWindow", "Settled"]

#: Values are told apart to this part of the whole range.
STEPS = 1000
#: Labelled units after which a window closes …
_SMALLEST = 20
#: … if they are also this share of all before.
_GROWTH = 0.1


class Settled(NamedTuple):
    """A unit whose label window is over."""

    at_us: int
    request: int
    on_candidate: bool
    candidate_bp: int
    #: In [0, 1]; None: no label came in time.
    value: float | None


@dataclass(slots=True)
class OutcomeWindow:
    """Units that followed one another while the candidate's share was the same."""

    candidate_bp: int
    #: Value in steps of a thousandth → units.
    candidate: dict[int, int] = field(default_factory=dict)
    stable: dict[int, int] = field(default_factory=dict)
    candidate_missing: int = 0
    stable_missing: int = 0
    closed: bool = False

    @property
    def units(self) -> int:
        """Those with a label."""
        return sum(self.candidate.values()) + sum(self.stable.values())


@dataclass(slots=True)
class OutcomeLine:
    """All windows of one quality guardrail, in order, and how far in time they go."""

    windows: list[OutcomeWindow] = field(default_factory=list)
    #: Time in microseconds and request key of the last unit counted.
    through: tuple[int, int] = (-1, -1)
    labelled: int = 0

    def take(self, units: Iterable[Settled], *, absent_is_zero: bool = False) -> None:
        """Count units, which follow in order on those before; one that does not is left out."""
        for unit in units:
            if (unit.at_us, unit.request) <= self.through:
                continue
            self.through = (unit.at_us, unit.request)
            window = self._window(unit.candidate_bp)
            value = 0.0 if unit.value is None and absent_is_zero else unit.value
            if value is None:
                window.candidate_missing += unit.on_candidate
                window.stable_missing += not unit.on_candidate
                continue
            side = window.candidate if unit.on_candidate else window.stable
            step = round(value * STEPS)
            side[step] = side.get(step, 0) + 1
            self.labelled += 1
            window.closed = window.units >= max(_SMALLEST, _GROWTH * self.labelled)

    def outcomes(self) -> Outcomes:
        """As the processes for means read them: while both arms could be met."""
        rows = [
            (on_candidate, window.candidate_bp / WHOLE, step / STEPS, count, place)
            for place, window in enumerate(self.windows)
            if 0 < window.candidate_bp < WHOLE
            for on_candidate, side in ((1.0, window.candidate), (0.0, window.stable))
            for step, count in sorted(side.items())
        ]
        table = np.array(rows, dtype=np.float64).reshape(len(rows), 5)
        return Outcomes(
            on_candidate=table[:, 0] > 0,
            share=table[:, 1],
            value=table[:, 2],
            count=table[:, 3],
            window=table[:, 4].astype(np.int64),
        )

    def missing(self) -> tuple[int, int]:
        """Units without a label: the candidate's, and stable's."""
        return (
            sum(window.candidate_missing for window in self.windows),
            sum(window.stable_missing for window in self.windows),
        )

    def log_mismatch(self) -> float:
        """Log evidence that labels come for the one arm more often than for the other."""
        by_share: dict[int, dict[str, int]] = {}
        for window in self.windows:
            counts = {"candidate": sum(window.candidate.values()), "all": window.units}
            by_share[window.candidate_bp] = add_counts(
                by_share.get(window.candidate_bp, {}), counts
            )
        return sum(
            log_mismatch(
                [counts["all"] - counts["candidate"], counts["candidate"]],
                [1.0 - bp / WHOLE, bp / WHOLE],
            )
            for bp, counts in by_share.items()
        )

    def _window(self, candidate_bp: int) -> OutcomeWindow:
        last = self.windows[-1] if self.windows else None
        if last is None or last.closed or last.candidate_bp != candidate_bp:
            last = OutcomeWindow(candidate_bp)
            self.windows.append(last)
        return last
