"""The snapshot as the steps read it: counts by caller and by hour, and values to transform.

It adds counts together and cuts rows out; it judges nothing.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from serinus.parity.contract import Field, Kind
from serinus.parity.diagnosis.distance import TRAINED
from serinus.parity.diagnosis.finding import Evidence, Exclusion, Finding
from serinus.parity.diagnosis.rows import Rows
from serinus.parity.diagnosis.values import LibraryDifference, Snapshot
from serinus.parity.profiles import GAMMA, FieldProfile
from serinus.parity.shape import Shape, shape_of
from serinus.parity.sketch import WHOLE_HOUR, Buckets, FieldSketch, Sketch

__all__ = ["Found", "Numbers", "Part", "View", "fact", "of_profile", "of_sketch"]

_HALF = math.sqrt(GAMMA)
#: Fewer recorded rows than this say less than the counts of all rows.
_FEW = 200


@dataclass
class Found:
    """What one step leaves behind."""

    findings: list[Finding] = field(default_factory=list)
    excluded: list[Exclusion] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: Fields whose values were compared with the truth and are right.
    blameless: set[str] = field(default_factory=set)

    def exclude(self, fault: str, test: str) -> None:
        """Leave an exclusion."""
        self.excluded.append(Exclusion(fault=fault, test=test))

    def add(self, other: "Found") -> None:
        """Take over what another step left."""
        self.findings += other.findings
        self.excluded += other.excluded
        self.missing += other.missing
        self.notes += other.notes
        self.blameless |= other.blameless


@dataclass(frozen=True)
class Numbers:
    """Numbers with how often each came; not exact when they are middles of histogram buckets."""

    values: Any
    weights: Any
    exact: bool

    @property
    def total(self) -> float:
        """How many there are."""
        return float(self.weights.sum())

    def binned(self, edges: Any) -> Any:
        """Counts as `serinus.parity.profiles.bin_counts` has them."""
        place = np.searchsorted(edges, self.values, side="right")
        return np.bincount(place, weights=self.weights, minlength=len(edges) + 1)

    def mapped(self, values: Any) -> "Numbers":
        """The same rows with other values; what has none is left out."""
        good = np.isfinite(values)
        return Numbers(values[good], self.weights[good], self.exact)

    def only(self, mask: Any) -> "Numbers":
        """Some of them."""
        return Numbers(self.values[mask], self.weights[mask], self.exact)


@dataclass(frozen=True)
class Part:
    """A part of the traffic: all of it, or one caller's."""

    view: "View"
    #: None: all.
    caller: str | None
    sketch: Sketch
    #: Only from this hour on (since the epoch); None: all of the window.
    since: int | None = None

    @cached_property
    def rows(self) -> Rows:
        """The recorded rows of this part."""
        rows = self.view.snapshot.rows.of(self.caller)
        return rows if self.since is None else rows.some(rows.at >= self.since * 3600)

    def field(self, name: str) -> FieldSketch:
        """The counts of one field."""
        return self.sketch.fields.get(name) or FieldSketch()

    def numbers(self, name: str) -> Numbers:
        """The field's numbers: recorded ones where there are enough, else from its histogram."""
        column = self.rows.columns.get(name)
        if column is not None and column.kind in (Kind.NUMBER, Kind.WHOLE):
            values = column.present.astype(np.float64)
            values = values[np.isfinite(values)]
            if len(values) >= min(_FEW, max(self.field(name).present, 1)):
                return Numbers(values, np.ones(len(values)), True)
        return of_sketch(self.field(name), self.view.is_whole(name))


@dataclass(frozen=True)
class View:
    """A snapshot with its counts added up."""

    snapshot: Snapshot

    @cached_property
    def shape(self) -> Shape:
        """How the live values were counted."""
        return shape_of(self.snapshot.contract, self.snapshot.profile)

    @cached_property
    def libraries(self) -> list[LibraryDifference]:
        """What of the environment may be the cause of another answer.

        Another time zone or list of BLAS alone proves nothing, as for the gate on it.
        """
        return [each for each in self.snapshot.environment or () if each.matters]

    @cached_property
    def kept(self) -> dict[Any, Any]:
        """What a step worked out of training alone, for the next part of the traffic."""
        return {}

    @cached_property
    def whole(self) -> Part:
        """All of the traffic in scope."""
        return Part(self, None, _sum(each.sketch for each in self._named.values()))

    @cached_property
    def callers(self) -> dict[str, Part]:
        """Each caller in scope; hours whose callers were put together have none."""
        return {name: part for name, part in self._named.items() if name != WHOLE_HOUR}

    @cached_property
    def _named(self) -> dict[str, Part]:
        found: dict[str, list[Sketch]] = {}
        wanted = self.snapshot.scope.caller
        for key, sketch in sorted(self.snapshot.live.items()):
            if wanted is None or key.caller == wanted:
                found.setdefault(key.caller, []).append(sketch)
        return {name: Part(self, name, _sum(some)) for name, some in found.items()}

    def hourly(self, callers: list[str] | None = None) -> dict[int, Sketch]:
        """Hour → counts, of some callers or all in scope; added up once."""
        wanted = frozenset(callers or self._named)
        kept = self._hours.get(wanted)
        if kept is None:
            found: dict[int, list[Sketch]] = {}
            for key, sketch in sorted(self.snapshot.live.items()):
                if key.caller in wanted and key.caller in self._named:
                    found.setdefault(key.hour, []).append(sketch)
            kept = self._hours[wanted] = {hour: _sum(some) for hour, some in found.items()}
        return kept

    @cached_property
    def _hours(self) -> dict[frozenset[str], dict[int, Sketch]]:
        return {}

    def later(self, part: Part, hour: int) -> Part:
        """A part from an hour on; added up once."""
        kept = self._later.get((part.caller, hour))
        if kept is None:
            callers = None if part.caller is None else [part.caller]
            some = [each for at, each in self.hourly(callers).items() if at >= hour]
            kept = self._later[part.caller, hour] = Part(self, part.caller, _sum(some), hour)
        return kept

    @cached_property
    def _later(self) -> dict[tuple[str | None, int], Part]:
        return {}

    @property
    def profiled(self) -> bool:
        """Whether enough of training's values were counted to lay live ones beside them."""
        return self.snapshot.profile.rows >= TRAINED

    @property
    def fields(self) -> list[Field]:
        """The model's inputs."""
        return self.snapshot.contract.fields

    def baseline(self, name: str) -> FieldProfile:
        """Training's counts of a field."""
        return self.snapshot.profile.fields.get(name, FieldProfile(n=0))

    def is_whole(self, name: str) -> bool:
        """Whether training saw only whole numbers there."""
        profile = self.baseline(name)
        present = profile.n - profile.null - profile.nan - profile.infinite
        return bool(present) and profile.integral == present

    def trained(self, name: str) -> Numbers:
        """Training's numbers, from its logarithmic histogram."""
        return of_profile(self.baseline(name), self.is_whole(name))

    def sent(self, name: str) -> bool:
        """Whether clients send it (rather than a lookup or a function)."""
        found = self.snapshot.contract.field(name)
        return found is None or found.source == "request"


def _middles(buckets: Iterable[tuple[int, int]], sign: float, whole: bool) -> list[float]:
    found = []
    for bucket, _ in buckets:
        value = GAMMA**bucket
        inside = math.floor(value * (1 + 1e-9))
        only = whole and 0 < inside <= 50 and inside > value / GAMMA
        found.append(sign * (inside if only else value / _HALF))
    return found


def _from_buckets(
    zero: int, positive: dict[int, int], negative: dict[int, int], whole: bool
) -> Numbers:
    values = [0.0] if zero else []
    values += _middles(positive.items(), 1.0, whole) + _middles(negative.items(), -1.0, whole)
    weights = [zero] if zero else []
    weights += [*positive.values(), *negative.values()]
    return Numbers(np.array(values), np.array(weights, dtype=np.float64), exact=False)


def of_profile(profile: FieldProfile, whole: bool) -> Numbers:
    """Middles of a profile's logarithmic buckets; whole numbers up to 50 come out as they are."""
    positive: dict[int, int] = {}
    negative: dict[int, int] = {}
    for name, count in profile.log.items():
        if name.startswith("n"):
            negative[int(name[1:])] = count
        else:
            positive[int(name)] = count
    return _from_buckets(profile.zero, positive, negative, whole)


def of_sketch(sketch: FieldSketch, whole: bool) -> Numbers:
    """The same of live counts."""
    return _from_buckets(
        sketch.zero, _counted(sketch.positive_log), _counted(sketch.negative_log), whole
    )


def _counted(buckets: Buckets) -> dict[int, int]:
    return {
        buckets.first + int(at): int(buckets.counts[at]) for at in np.nonzero(buckets.counts)[0]
    }


def _sum(sketches: Iterable[Sketch]) -> Sketch:
    found = Sketch()
    for each in sketches:
        found.add(each)
    return found


def fact(text: str, rows: list[str] | None = None, **numbers: float) -> Evidence:
    """One piece of evidence."""
    return Evidence(text=text, rows=rows or [], numbers=numbers)
