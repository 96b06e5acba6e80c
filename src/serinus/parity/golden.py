"""Chooses the golden rows: few requests in which every case of the training data has a place.

Real rows by greedy cover; what no row shows is made by changing one. An imputation fault can be
seen only on a row with the null in it, so rare cases come first.
"""

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serinus.parity.columns import Column
from serinus.parity.contract import Kind
from serinus.parity.observe import MAX_WORDS

__all__ = ["MOST", "NEAR", "Chosen", "choose", "unsendable"]

#: Golden rows, at least and at most.
LEAST = 64
MOST = 256
#: A score this close to the threshold is a neighbour of it.
NEAR = 0.02
_NEIGHBOURS = 4
_TRIES = 3
_SMALL = 24
_LONG = 64


@dataclass(frozen=True)
class _Attribute:
    """One case for each row: an index into ``names``, or -1."""

    kind: str
    ids: Any
    names: Sequence[str]


@dataclass
class Chosen:
    """Rows of the sample and the cases that each is there for."""

    rows: list[int] = field(default_factory=list)
    covers: list[list[str]] = field(default_factory=list)
    wanted: dict[str, int] = field(default_factory=dict)
    covered: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def unsendable(columns: list[Column]) -> Any:
    """Rows that JSON can't carry: infinity, half of a surrogate pair."""
    found = np.zeros(len(columns[0].null), dtype=bool)
    for column in columns:
        if column.kind is Kind.NUMBER:
            found |= np.isinf(column.values)
        elif column.kind is Kind.TEXT:
            bad = [not _is_utf8(word) for word in column.words]
            if any(bad):
                found |= np.array([*bad, False])[column.values]
    return found


def _is_utf8(word: str) -> bool:
    try:
        word.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def choose(
    columns: list[Column],
    plain: Set[str],
    scored: tuple[Any, Any] | None,
    threshold: float | None,
    random: np.random.Generator,
    most: int,
) -> Chosen:
    """At most ``most`` rows that cover the cases of the columns named in ``plain``.

    ``scored`` are the indices of some rows and their scores.
    """
    rows = len(columns[0].null)
    usable = ~unsendable(columns)
    attributes = [each for column in columns for each in _attributes(column, column.name in plain)]
    if scored is not None and threshold is not None:
        attributes.append(_neighbours(rows, *scored, threshold))
    for each in attributes:
        each.ids[~usable] = -1
    chosen = _cover(attributes, _candidates(attributes, rows, random), most)
    spare = np.flatnonzero(usable)
    least = min(LEAST, most, len(spare))
    if len(chosen.rows) < least:
        more = np.setdiff1d(spare, chosen.rows)
        added = random.choice(more, least - len(chosen.rows), replace=False)
        chosen.rows += sorted(int(each) for each in added)
        chosen.covers += [["random"] for _ in added]
    return chosen


def _attributes(column: Column, plain: bool) -> Iterator[_Attribute]:
    name = column.name
    if column.null.any():
        yield _Attribute("null", np.where(column.null, 0, -1), [f"{name} is null"])
    if not plain:  # the name of a case would give its value away
        return
    if column.kind is Kind.TEXT:
        yield from _of_text(column)
    elif column.kind is Kind.FLAG:
        ids = np.where(column.null, -1, column.values.astype(np.int64))
        yield _Attribute("category", ids, [f"{name} is false", f"{name} is true"])
    elif column.kind in (Kind.NUMBER, Kind.WHOLE):
        yield from _of_numbers(column)
    elif column.kind is Kind.INSTANT:
        yield from _of_instants(column)


def _of_text(column: Column) -> Iterator[_Attribute]:
    name, words = column.name, column.words
    if not words:
        return
    if len(words) <= MAX_WORDS:
        names = [f"{name} = {word[:80]}" for word in words]
        yield _Attribute("category", column.values.copy(), names)
    lengths = [len(word) for word in words]
    longest = int(np.argmax(lengths))
    if lengths[longest] >= _LONG or len(words) > MAX_WORDS:
        ids = np.where(column.values == longest, 0, -1)
        yield _Attribute("text", ids, [f"longest {name}"])
    for kind, odd in (
        ("non-ASCII", [not word.isascii() for word in words]),
        ("padded", [word != word.strip() for word in words]),
        ("empty", [not word for word in words]),
    ):
        if any(odd):
            marks = np.array([*(0 if each else -1 for each in odd), -1])
            yield _Attribute("text", marks[column.values], [f"{kind} {name}"])


def _of_numbers(column: Column) -> Iterator[_Attribute]:
    values = column.values.astype(np.float64)
    good = ~column.null & np.isfinite(values)
    if not good.any():
        return
    low = int(np.argmin(np.where(good, values, np.inf)))
    high = int(np.argmax(np.where(good, values, -np.inf)))
    ids = np.full(len(values), -1)
    ids[high], ids[low] = 1, 0
    names = [f"lowest {column.name}", f"highest {column.name}"]
    yield _Attribute("extreme", ids, names if low != high else names[:1])
    for kind, test in (("zero", values == 0), ("negative", good & (values < 0))):
        if test.any() and not test.all():
            yield _Attribute("extreme", np.where(test, 0, -1), [f"{kind} {column.name}"])
    if column.kind is Kind.WHOLE and values[high] - values[low] < MAX_WORDS:
        present = np.unique(column.values[good])
        if len(present) <= _SMALL:
            ids = np.where(good, np.searchsorted(present, column.values), -1)
            yield _Attribute("category", ids, [f"{column.name} = {each}" for each in present])


def _of_instants(column: Column) -> Iterator[_Attribute]:
    good = ~column.null
    if not good.any():
        return
    stamps = np.where(good, column.values.astype(np.int64), 0)
    lowest = np.where(good, stamps, np.iinfo(np.int64).max)
    highest = np.where(good, stamps, np.iinfo(np.int64).min)
    ids = np.full(len(stamps), -1)
    ids[int(np.argmax(highest))], ids[int(np.argmin(lowest))] = 1, 0
    yield _Attribute("extreme", ids, [f"earliest {column.name}", f"latest {column.name}"])
    hours = column.values.astype("datetime64[h]").astype(np.int64)
    months = column.values.astype("datetime64[M]").astype(np.int64) % 12
    sunday = (hours // 24 + 3) % 7 == 6
    night = sunday & (hours % 24 >= 1) & (hours % 24 <= 3) & good
    for at, word in ((2, "March"), (9, "October"), (10, "November")):
        test = night & (months == at)
        if test.any():
            yield _Attribute(
                "dst", np.where(test, 0, -1), [f"{column.name} on a Sunday night in {word}"]
            )


def _neighbours(rows: int, at: Any, scores: Any, threshold: float) -> _Attribute:
    distance = np.asarray(scores, dtype=np.float64) - threshold
    ids = np.full(rows, -1)
    names: list[str] = []
    for side, test in (("below", distance < 0), ("above", distance >= 0)):
        near = np.flatnonzero(test & (np.abs(distance) <= NEAR))
        near = near[np.argsort(np.abs(distance[near]), kind="stable")][:_NEIGHBOURS]
        for each in near:
            ids[at[each]] = len(names)
            names.append(f"score just {side} the threshold ({len(names) + 1})")
    return _Attribute("threshold", ids, names)


def _candidates(attributes: list[_Attribute], rows: int, random: np.random.Generator) -> Any:
    """A few rows for every case: enough to choose from, few enough to be quick."""
    found = []
    for _ in range(_TRIES):
        order = random.permutation(rows)
        for each in attributes:
            ids = each.ids[order]
            last = np.full(len(each.names) + 1, -1)
            last[ids] = order  # of rows with one id the last one stays; id -1 is the last place
            found.append(last[:-1])
    if not found:
        return np.empty(0, dtype=np.int64)
    together = np.unique(np.concatenate(found))
    return together[together >= 0]


def _cover(attributes: list[_Attribute], candidates: Any, most: int) -> Chosen:
    chosen = Chosen()
    if not len(candidates):
        return chosen
    starts = np.cumsum([0, *(len(each.names) for each in attributes)])
    total = int(starts[-1])
    table = np.column_stack(
        [
            np.where((ids := each.ids[candidates]) >= 0, ids + start, total)
            for each, start in zip(attributes, starts, strict=False)
        ]
    )
    open_cases = np.zeros(total + 1, dtype=bool)
    open_cases[np.unique(table)] = True
    open_cases[total] = False
    names = [(each.kind, name) for each in attributes for name in each.names]
    # pandas' categories may name words that no row has: only what a row can show is wanted.
    wanted = np.flatnonzero(open_cases)
    # Where there is no room for all, categories are what is left out.
    weights = np.array([*(1 if kind == "category" else MAX_WORDS for kind, _ in names), 0])
    while len(chosen.rows) < most:
        gains = (open_cases * weights)[table].sum(axis=1)
        best = int(np.argmax(gains))
        if not gains[best]:
            break
        new = [int(case) for case in np.unique(table[best]) if open_cases[case]]
        open_cases[new] = False
        chosen.rows.append(int(candidates[best]))
        chosen.covers.append([names[case][1] for case in new])
    for case in wanted:
        kind, name = names[case]
        chosen.wanted[kind] = chosen.wanted.get(kind, 0) + 1
        chosen.covered[kind] = chosen.covered.get(kind, 0) + int(not open_cases[case])
        if open_cases[case] and len(chosen.missing) < 100:
            chosen.missing.append(name)
    return chosen
