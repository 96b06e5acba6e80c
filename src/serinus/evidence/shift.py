"""Did the candidate's predictions move by more than a tolerance? Sets of labels, by betting. Pure.

For a set of labels (one class, or all bins up to one) Y = 1 when the answer is in it, and Z as in
`means` has the difference of the two arms' shares as its mean, at any split and under any drift of
the input. With stakes and centre fixed before a window, the wealth depends on the window's four
counts alone. A difference on any set is a lower bound of the total variation distance of the two.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serinus.evidence.eprocess import Floats
from serinus.evidence.labels import LabelSets
from serinus.evidence.windows import Window

__all__ = ["Shifts"]

#: Predictions of the old version that must be there before sets are fixed.
_ENOUGH = 100
#: Predictions after which centres are taken anew, as a multiple of those before.
_REFRESH = 2.0
#: Assumed effects beyond the tolerance; their wealth is averaged.
_EFFECTS = np.geomspace(0.015, 1.0, 6)[:, None, None]
_LARGEST_BET = 0.9


@dataclass(frozen=True, slots=True)
class Shifts:
    """Counts per label set; axes are (stretch of one share and one centre, set)."""

    candidate: Floats
    candidate_all: Floats
    baseline: Floats
    baseline_all: Floats
    #: Share of each set in what was seen before.
    centre: Floats
    #: The candidate's share of traffic, (stretch, 1).
    share: Floats
    #: A name for each set, for reasons.
    names: tuple[str, ...]

    @classmethod
    def of(cls, windows: list[Window]) -> "Shifts | None":
        """None until closed windows have shown enough of what the old version predicts."""
        past: dict[str, int] = {}
        rest = iter(windows)
        for window in rest:
            if window.closed:
                for label, count in window.old_version().predictions.items():
                    past[label] = past.get(label, 0) + count
            if sum(past.values()) >= _ENOUGH:
                break
        used = [window for window in rest if 0.0 < window.share() < 1.0]
        return _counted(used, past, LabelSets.of(past)) if used else None

    @property
    def answers(self) -> int:
        """The candidate's predictions that were compared."""
        return int(self.candidate_all.sum())

    def log_beyond(self, tolerance: float) -> tuple[float, str]:
        """Log evidence that some set moved by more than ``tolerance``, and which speaks loudest."""
        both = np.stack([self._wealth(sign, -tolerance) for sign in (1.0, -1.0)])
        top = float(both.max())
        loudest = self.names[int(both.max(axis=0).argmax())]
        return top + float(np.log(np.mean(np.exp(both - top)))), loudest

    def log_within(self, tolerance: float) -> float:
        """Log evidence that every set moved by less than ``tolerance``: that of the weakest."""
        if tolerance >= 1.0:
            return np.inf if self.answers else 0.0
        return float(min(self._wealth(sign, tolerance).min() for sign in (1.0, -1.0)))

    def difference(self) -> tuple[float, str]:
        """The largest difference as estimated, and its set; to show, not to decide by."""
        weight = self.candidate_all * (self.baseline_all > 0)
        gaps = self.candidate / np.maximum(self.candidate_all, 1.0) - self.baseline / np.maximum(
            self.baseline_all, 1.0
        )
        gap = (gaps * weight).sum(axis=0) / max(float(weight.sum()), 1.0)
        place = int(np.abs(gap).argmax())
        return float(gap[place]), self.names[place]

    def _wealth(self, sign: float, offset: float) -> Floats:
        """Log wealth per set of betting that sign * Z + offset is positive on average."""
        share, centre = self.share, self.centre
        cells = (
            (self.candidate, (1.0 - centre) / share),
            (self.candidate_all - self.candidate, -centre / share),
            (self.baseline, -(1.0 - centre) / (1.0 - share)),
            (self.baseline_all - self.baseline, centre / (1.0 - share)),
        )
        worst = np.max([-(sign * value + offset) for _, value in cells], axis=0)
        spread = np.maximum(centre * (1.0 - centre), 0.01) / (share * (1.0 - share))
        bets = np.minimum(_EFFECTS / (spread + _EFFECTS**2), _LARGEST_BET / np.maximum(worst, 1e-9))
        log = np.zeros((len(_EFFECTS), len(self.names)))
        for count, value in cells:
            log += (count * np.log1p(bets * (sign * value + offset))).sum(axis=1)
        top = log.max(axis=0)
        result: Floats = top + np.log(np.exp(log - top).mean(axis=0))
        return result


def _counted(used: list[Window], past: dict[str, int], sets: LabelSets) -> Shifts:
    candidate, candidate_all = sets.count([window.candidate.predictions for window in used])
    baseline, baseline_all = sets.count([window.baseline().predictions for window in used])
    inside, seen = (table[0] for table in sets.count([past]))
    centre = _centred(inside, float(seen[0]))
    fresh, fresh_inside = 0.0, np.zeros_like(inside)
    centres: list[Floats] = []
    # Windows of one share and one centre are one stretch; the key is (share, which centre).
    stretches: dict[tuple[float, int], int] = {}
    stretch_of = []
    for place, window in enumerate(used):
        if fresh >= _REFRESH * float(seen[0]):
            inside, seen = inside + fresh_inside, seen + fresh
            centre = _centred(inside, float(seen[0]))
            fresh, fresh_inside = 0.0, np.zeros_like(inside)
        if not centres or centre is not centres[-1]:
            centres.append(centre)
        key = (window.share(), len(centres) - 1)
        stretch_of.append(stretches.setdefault(key, len(stretches)))
        if window.closed:
            fresh += float(candidate_all[place, 0] + baseline_all[place, 0])
            fresh_inside = fresh_inside + candidate[place] + baseline[place]
    onto = np.array(stretch_of)
    return Shifts(
        candidate=_summed(candidate, onto, len(stretches)),
        candidate_all=_summed(candidate_all, onto, len(stretches)),
        baseline=_summed(baseline, onto, len(stretches)),
        baseline_all=_summed(baseline_all, onto, len(stretches)),
        centre=np.array([centres[number] for _, number in stretches]),
        share=np.array([[share] for share, _ in stretches]),
        names=sets.names,
    )


def _summed(table: Floats, onto: NDArray[np.int64], count: int) -> Floats:
    result = np.zeros((count, table.shape[1]))
    np.add.at(result, onto, table)
    return result


def _centred(inside: Floats, seen: float) -> Floats:
    # Half an observation each way keeps it off 0 and 1.
    return (inside + 0.5) / (seen + 1.0)
