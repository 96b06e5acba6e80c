"""Which fields of a part of the traffic no longer look as in training, by the counts of all rows.

It says how far; whether that is a fault or the world is for others.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from serinus.parity.contract import Field, Kind
from serinus.parity.diagnosis.distance import ENOUGH, TRAINED, Gap, gap, merged, share_gap
from serinus.parity.diagnosis.view import Numbers, Part, View
from serinus.parity.profiles import FieldProfile
from serinus.parity.sketch import FieldSketch

__all__ = [
    "binned_gap",
    "expected_new",
    "field_gap",
    "more_nulls",
    "moved",
    "numbers_gap",
    "trained_range",
    "unknown_share",
    "words_gap",
]

_WORDS = 30
_SIGMAS = 5.0
_POINTS = 0.02
_NEW, _NEW_SIGMAS = 0.01, 4.0


def moved(part: Part) -> dict[str, Gap]:
    """Field → how far, for those that are apart; on enough rows."""
    found = {}
    for field in part.view.fields:
        each = field_gap(part.view, field, part.field(field.name))
        if each is not None and each.apart:
            found[field.name] = each
    return found


def field_gap(view: View, field: Field, sketch: FieldSketch) -> Gap | None:
    """Between a field's live counts and training's; None when they can't be laid side by side."""
    trained = view.baseline(field.name)
    kind = field.type.logical
    if kind in (Kind.NUMBER, Kind.WHOLE) and len(trained.counts) > 1 and len(sketch.bins.counts):
        return binned_gap(trained, sketch.bins.counts)
    if kind is Kind.TEXT and trained.words:
        return _words(trained, sketch)
    if kind is Kind.FLAG and trained.n:
        present = trained.n - trained.null
        return gap(
            [sketch.true, sketch.present - sketch.true], [trained.true, present - trained.true]
        )
    if kind is Kind.INSTANT and len(trained.hours) == 24 and len(sketch.hours.counts) == 24:
        return gap(sketch.hours.counts, trained.hours)
    return None


def binned_gap(trained: FieldProfile, counts: Any) -> Gap:
    """Between counts over training's bins, put together so that each bin has weight."""
    train = np.asarray(trained.counts, dtype=np.float64)
    live = np.asarray(counts, dtype=np.float64)
    if len(train) != len(live):
        return Gap(0.0, 1, 0.0, 0.0)
    place = merged(train, min(live.sum(), train.sum()))
    size = int(place.max()) + 1 if len(place) else 0
    return gap(
        np.bincount(place, weights=live, minlength=size),
        np.bincount(place, weights=train, minlength=size),
    )


def numbers_gap(trained: FieldProfile, live: Numbers) -> Gap:
    """The same for numbers that are not binned yet."""
    return binned_gap(trained, live.binned(np.asarray(trained.edges)))


def _words(trained: FieldProfile, sketch: FieldSketch) -> Gap:
    return words_gap(trained, sketch.words, sketch.other)


def words_gap(trained: FieldProfile, words: Mapping[str, int], other: int) -> Gap:
    """Between counts of words: the most frequent of training, the rest, and unknown ones."""
    top = sorted(trained.words, key=lambda each: -trained.words[each])[:_WORDS]
    kept = set(top)
    live = [float(words.get(each, 0)) for each in top]
    train = [float(trained.words[each]) for each in top]
    rest = sum(count for word, count in words.items() if word not in kept and word in trained.words)
    strange = other + sum(count for word, count in words.items() if word not in trained.words)
    # Had another sample been training's, the words it had once would be the unknown ones.
    once = sum(count for word, count in trained.words.items() if count == 1 and word not in kept)
    train_rest = sum(count for word, count in trained.words.items() if word not in kept) - once
    if len(trained.words) > _WORDS:
        live.append(float(rest))
        train.append(float(train_rest))
    if strange or trained.other or once:
        live.append(float(strange))
        train.append(float(trained.other + once))
    return gap(live, train)


def unknown_share(view: View, name: str, sketch: FieldSketch) -> float | None:
    """The share of words that training never saw, where that is more than now and then."""
    field = view.snapshot.contract.field(name)
    if field is None or field.observed.values is None or sketch.n < ENOUGH:
        return None
    share = sketch.new_word / sketch.n
    usual = expected_new(view.baseline(name))
    sigmas = share_gap(sketch.new_word, sketch.n, usual, field.observed.n)
    return share if share >= usual + _NEW and sigmas >= _NEW_SIGMAS else None


def expected_new(trained: FieldProfile) -> float:
    """The share of words that another sample of the same world has and training had not.

    By Good and Turing it is the share of those that training had once.
    """
    once = sum(count == 1 for count in trained.words.values())
    return (trained.other + once) / max(trained.n, 1)


def more_nulls(view: View, name: str, sketch: FieldSketch) -> float | None:
    """The share of nulls, where it is clearly another than in training."""
    trained = view.baseline(name)
    if sketch.n < ENOUGH or trained.n < TRAINED:
        return None
    usual = (trained.null + trained.nan) / trained.n
    gone = sketch.null + sketch.missing + sketch.nan
    share = gone / sketch.n
    if abs(share - usual) < _POINTS:
        return None
    return share if abs(share_gap(gone, sketch.n, usual, trained.n)) >= _SIGMAS else None


def trained_range(trained: FieldProfile) -> tuple[float, float]:
    """The least and greatest number of training."""
    return (trained.edges[0], trained.edges[-1]) if trained.edges else (-math.inf, math.inf)
