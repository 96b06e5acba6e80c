"""How far live values lie from training's, and two versions' from each other, field by field.

Pure, over counts. Limits grow with small samples; below a thousand rows it says so and nothing
else. It says that something differs, never why: `diagnosis` does that.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from serinus.parity.contract import Contract, Kind, Origin
from serinus.parity.diagnosis.distance import Gap, benjamini_hochberg, gap, merged
from serinus.parity.profiles import FieldProfile, Profile
from serinus.parity.shape import FieldShape, Shape, shape_of
from serinus.parity.sketch import Buckets, FieldSketch, Sketch

__all__ = ["ANSWERS", "ENOUGH", "FieldSkew", "Skew", "SkewVerdict", "skew_between", "skew_of"]

#: Live rows below which nothing is said.
ENOUGH = 1000
#: Training rows below which the noise is not what the formula says.
_TRAINED = 300
#: The name of the model's answers among the fields.
ANSWERS = "(answers)"
#: Share of rows with values that training never had, from which they are a finding.
_NOVEL = 0.005
_WORDS = 30
_BINS = 32


class SkewVerdict(Enum):
    """What is said of a field, and of all of them."""

    SKEWED = "skewed"
    ALIKE = "alike"
    NOT_ENOUGH = "not enough data"
    NO_PROFILE = "no training profile"


@dataclass(frozen=True)
class FieldSkew:
    """How far one field's live values lie from training's, or from another version's."""

    field: str
    verdict: SkewVerdict
    #: Rows with this field, live and on the other side.
    rows: int
    other_rows: int
    #: Population stability index, and the limit that it is held against.
    psi: float | None = None
    limit: float | None = None
    #: Shares of rows without a value.
    null: float | None = None
    other_null: float | None = None
    #: Shares of rows with a value that training never had, and off its grid.
    novel: float | None = None
    off_grid: float | None = None
    importance: float | None = None
    #: In words, what is odd.
    detail: str = ""


@dataclass(frozen=True)
class Skew:
    """All fields, what matters most first."""

    #: ``training``, or the version that was compared with.
    against: str
    verdict: SkewVerdict
    rows: int
    fields: list[FieldSkew] = field(default_factory=list)
    detail: str = ""


def skew_of(sketch: Sketch, contract: Contract, profile: Profile) -> Skew:
    """Live values against what training saw."""
    if contract.origin is Origin.DERIVED or not profile.rows:
        return Skew(
            "training",
            SkewVerdict.NO_PROFILE,
            sketch.rows,
            detail="The contract was derived from the model's signature: nothing was observed in "
            "training. Capture one with serinus contract capture.",
        )
    shape = shape_of(contract, profile)
    compared = [
        _against_training(name, sketch.fields.get(name, FieldSketch()), known, profile.fields[name])
        for name, known in shape.fields.items()
        if name in profile.fields and known.kind is not Kind.OTHER
    ]
    answers = _answers_against_training(sketch, shape, profile)
    compared += [answers] if answers is not None else []
    return _judged("training", sketch.rows, compared, contract)


def skew_between(
    sketch: Sketch, other: Sketch, contract: Contract, shape: Shape, against: str
) -> Skew:
    """Two versions' live values on the same traffic; the fields are those of ``contract``."""
    compared = [
        _versions(name, sketch.fields[name], other.fields[name], known)
        for name, known in shape.fields.items()
        if known.kind is not Kind.OTHER and name in sketch.fields and name in other.fields
    ]
    compared.append(
        _Compared(
            ANSWERS,
            _pair(
                _answer_counts(sketch, other),
                _answer_counts(other, sketch),
            ),
            sketch.score.n,
            other.score.n,
            both_live=True,
        )
    )
    return _judged(against, min(sketch.rows, other.rows), compared, contract)


@dataclass(frozen=True)
class _Compared:
    """Two histograms of one field, over the same bins."""

    field: str
    gap: Gap
    rows: int
    other_rows: int
    null: float | None = None
    other_null: float | None = None
    novel: float | None = None
    off_grid: float | None = None
    both_live: bool = False
    #: Values that training never had are findings by themselves.
    oddities: tuple[str, ...] = ()

    @property
    def enough(self) -> bool:
        return self.rows >= ENOUGH and self.other_rows >= (ENOUGH if self.both_live else _TRAINED)


def _judged(against: str, rows: int, compared: list[_Compared], contract: Contract) -> Skew:
    able = [each for each in compared if each.enough]
    significant = benjamini_hochberg({each.field: each.gap.chance for each in able})
    importance = {each.name: each.importance for each in contract.fields}
    fields = [_field(each, significant, importance.get(each.field)) for each in compared]
    fields.sort(key=lambda each: _order(each, len(fields)))
    if not able:
        verdict = SkewVerdict.NOT_ENOUGH
        needed = f"{ENOUGH} rows are needed, and {rows} were counted."
        return Skew(against, verdict, rows, fields, needed)
    skewed = any(each.verdict is SkewVerdict.SKEWED for each in fields)
    return Skew(against, SkewVerdict.SKEWED if skewed else SkewVerdict.ALIKE, rows, fields)


def _field(each: _Compared, significant: set[str], importance: float | None) -> FieldSkew:
    moved = each.gap.psi >= each.gap.limit and each.field in significant
    words = [
        *([f"PSI {each.gap.psi:.2f} over {each.gap.limit:.2f}"] if moved else []),
        *each.oddities,
    ]
    verdict = SkewVerdict.NOT_ENOUGH
    if each.enough:
        verdict = SkewVerdict.SKEWED if words else SkewVerdict.ALIKE
    return FieldSkew(
        each.field,
        verdict,
        each.rows,
        each.other_rows,
        psi=each.gap.psi if each.enough else None,
        limit=each.gap.limit if each.enough else None,
        null=each.null,
        other_null=each.other_null,
        novel=each.novel,
        off_grid=each.off_grid,
        importance=importance,
        detail="; ".join(words) if each.enough else "",
    )


def _order(each: FieldSkew, fields: int) -> tuple[bool, float, str]:
    """Skewed ones first; then by how much the model hangs on them and how far they moved."""
    weight = 1 / max(fields, 1) if each.importance is None else each.importance
    return each.verdict is not SkewVerdict.SKEWED, -weight * (each.psi or 0.0), each.field


# Against training


def _against_training(
    name: str, live: FieldSketch, known: FieldShape, trained: FieldProfile
) -> _Compared:
    pairs = _training_bins(live, known, trained)
    absent, trained_absent = live.n - live.present, trained.null + trained.nan
    n, m = live.n, trained.n
    found = _Compared(
        name,
        _pair([*(a for a, _ in pairs), absent], [*(b for _, b in pairs), trained_absent]),
        n,
        m,
        null=absent / n if n else None,
        other_null=trained_absent / m if m else None,
        novel=live.novel / n if n else None,
        off_grid=live.off_grid / n if n and known.grid is not None else None,
    )
    return _with_oddities(found, live, known, trained)


def _with_oddities(
    found: _Compared, live: FieldSketch, known: FieldShape, trained: FieldProfile
) -> _Compared:
    # The next value beyond training's extremes comes about once in m rows at each end.
    rare = max(_NOVEL, 20 / max(trained.n, 1))
    words = []
    if known.closed and live.new_word > _NOVEL * max(live.n, 1):
        words.append(f"{live.new_word / live.n:.1%} are words that training had not")
    if live.under + live.over > rare * max(live.n, 1):
        words.append(f"{(live.under + live.over) / live.n:.1%} lie outside of training's range")
    if known.grid is not None and live.off_grid > _NOVEL * max(live.n, 1):
        words.append(f"{live.off_grid / live.n:.1%} are no multiples of {known.grid:g}")
    for count, what in ((live.below + live.above, "range"), (live.undeclared, "words")):
        if count:
            words.append(f"{count / live.n:.1%} break the declared {what}")
    return _Compared(**{**_as_dict(found), "oddities": tuple(words)})


def _as_dict(found: _Compared) -> dict[str, Any]:
    return {name: getattr(found, name) for name in found.__dataclass_fields__}


def _training_bins(
    live: FieldSketch, known: FieldShape, trained: FieldProfile
) -> list[tuple[float, float]]:
    if known.kind is Kind.FLAG:
        return [
            (live.true, trained.true),
            (live.present - live.true, trained.n - trained.null - trained.true),
        ]
    if known.kind is Kind.TEXT:
        return _words(live.words, live.other, trained.words, trained.other)
    if known.kind is Kind.INSTANT:
        # The date itself always moves on; the time of day is what a fault shifts.
        return _paired(live.hours.counts, trained.hours)
    return _paired(live.bins.counts, trained.counts)


def _paired(live: Any, trained: Any) -> list[tuple[float, float]]:
    if len(live) != len(trained):
        live = np.zeros(len(trained))
    return list(zip((float(a) for a in live), (float(b) for b in trained), strict=True))


def _words(
    live: dict[str, int], other: int, trained: dict[str, int], trained_other: int
) -> list[tuple[float, float]]:
    """The most frequent words each for itself, the rest together, and those not counted by name."""
    first = sorted(trained.keys() | live.keys(), key=lambda w: (-trained.get(w, 0), w))
    named, rest = first[:_WORDS], first[_WORDS:]
    pairs = [(float(live.get(w, 0)), float(trained.get(w, 0))) for w in named]
    pairs.append(
        (
            float(sum(live.get(w, 0) for w in rest)),
            float(sum(trained[w] for w in rest if w in trained)),
        )
    )
    return [*pairs, (float(other), float(trained_other))]


def _pair(live: Iterable[float], other: Iterable[float]) -> Gap:
    """The gap over as many bins as the smaller side can carry, empty ones left out."""
    one = np.array(list(live), dtype=np.float64)
    two = np.array(list(other), dtype=np.float64)
    used = (one + two) > 0
    one, two = one[used], two[used]
    if len(one) > _BINS + 1:
        places = merged(one + two, min(one.sum(), two.sum()))
        return gap(np.bincount(places, weights=one), np.bincount(places, weights=two))
    return gap(one, two)


def _answers_against_training(sketch: Sketch, shape: Shape, profile: Profile) -> _Compared | None:
    trained = profile.score
    if trained is None or not sketch.score.n:
        return None
    if shape.score.kind == "class" and trained.decisions:
        labels = {label: count for label, (count, _) in sketch.score.labels.kept.items()}
        pairs = _words(labels, 0, trained.decisions, 0)
    elif shape.score.kind != "class" and len(sketch.score.bins.counts) == len(trained.counts):
        pairs = _paired(sketch.score.bins.counts, trained.counts)
    else:
        return None
    return _Compared(
        ANSWERS,
        _pair((a for a, _ in pairs), (b for _, b in pairs)),
        sketch.score.n,
        trained.n,
    )


# Version against version


def _versions(name: str, one: FieldSketch, two: FieldSketch, known: FieldShape) -> _Compared:
    pairs = _live_bins(one, two, known)
    lacks, other_lacks = one.n - one.present, two.n - two.present
    return _Compared(
        name,
        _pair([*(a for a, _ in pairs), lacks], [*(b for _, b in pairs), other_lacks]),
        one.n,
        two.n,
        null=lacks / one.n if one.n else None,
        other_null=other_lacks / two.n if two.n else None,
        both_live=True,
    )


def _live_bins(one: FieldSketch, two: FieldSketch, known: FieldShape) -> list[tuple[float, float]]:
    if known.kind is Kind.FLAG:
        return [(one.true, two.true), (one.present - one.true, two.present - two.true)]
    if known.kind is Kind.TEXT:
        # By whatever words each of them knew.
        words = [{**s.words, **{w: c for w, (c, _) in s.unknown.kept.items()}} for s in (one, two)]
        return _words(words[0], 0, words[1], 0)
    if known.kind is Kind.INSTANT:
        return _paired(one.hours.counts, two.hours.counts)
    return _logs(one, two)


def _logs(one: Any, two: Any) -> list[tuple[float, float]]:
    """Over the logarithmic histograms, which don't hang on any training."""
    pairs = [(float(one.zero), float(two.zero))]
    for first, second in (
        (one.negative_log, two.negative_log),
        (one.positive_log, two.positive_log),
    ):
        pairs += _aligned(first, second)
    return pairs


def _aligned(one: Buckets, two: Buckets) -> list[tuple[float, float]]:
    if not len(one.counts) and not len(two.counts):
        return []
    sides = []
    begin = min(side.first for side in (one, two) if len(side.counts))
    end = max(side.first + len(side.counts) for side in (one, two) if len(side.counts))
    for side in (one, two):
        counts = np.zeros(end - begin)
        if len(side.counts):
            counts[side.first - begin : side.first - begin + len(side.counts)] = side.counts
        sides.append(counts)
    return list(zip(*sides, strict=True))


def _answer_counts(sketch: Sketch, other: Sketch) -> list[float]:
    """Answers of the first, over bins that both have: labels where there are any, else scores."""
    if sketch.score.labels.n or other.score.labels.n:
        labels = sorted(sketch.score.labels.kept.keys() | other.score.labels.kept.keys())
        return [float(sketch.score.labels.kept.get(each, (0, 0))[0]) for each in labels]
    return [a for a, _ in _logs(sketch.score, other.score)]
