"""Counts a batch of answered rows into a sketch, a column at a time.

What was counted depends on the rows alone, not on how they were batched. It must never keep,
change or refuse a value.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from serinus.parity.buckets import Bins, between, log_histograms, over
from serinus.parity.contract import Kind, Privacy
from serinus.parity.observe import hashed
from serinus.parity.scores import count_scores
from serinus.parity.shape import FieldShape, Shape
from serinus.parity.sketch import FieldSketch, Sketch
from serinus.parity.took import count_took

__all__ = ["Batch", "fold", "fold_steps"]

_EXACT = 2.0**53
_LONGEST_WORD = 64
#: Every so many rows of a large batch give their numbers to the list of frequent ones.
_SAMPLED = 128
_AGE_STEPS = 4


@dataclass
class Batch:
    """Answered rows, by column. A field that is not among ``columns`` was not sent."""

    rows: int
    #: Field → its cells, as checked by the reader (None for null), or an array.
    columns: Mapping[str, Sequence[Any]]
    #: What the model answered for these rows, in any form.
    output: Any = None
    requests: int = 1
    #: Requests that had fields which the model doesn't know.
    extra: int = 0
    #: Field → `Lookup` → rows, and field → ages in seconds, for values that were looked up.
    lookups: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    ages: Mapping[str, Sequence[float]] = field(default_factory=dict)
    #: Stage → seconds, one for each request whose times are known.
    took: Mapping[str, Sequence[float]] = field(default_factory=dict)


def fold(sketch: Sketch, shape: Shape, batch: Batch) -> None:
    """Count the batch into the sketch; both must be of the shape's contract."""
    for _ in fold_steps(sketch, shape, batch):
        pass


def fold_steps(sketch: Sketch, shape: Shape, batch: Batch) -> Iterator[None]:
    """As `fold`, in steps of one field each, so that others may run in between."""
    sketch.contract = shape.contract
    sketch.rows += batch.rows
    sketch.requests += batch.requests
    sketch.extra += batch.extra
    count_took(sketch.took, batch.took)
    numbers: dict[str, Any] = {}
    for name, known in shape.fields.items():
        counts = sketch.fields.get(name)
        if counts is None:
            counts = sketch.fields[name] = FieldSketch()
        counts.n += batch.rows
        cells = batch.columns.get(name)
        if cells is None:
            counts.missing += batch.rows
        else:
            values = _COUNTERS[known.kind](counts, known, shape, cells)
            if values is not None:
                numbers[name] = values
        _count_lookups(counts, batch, name)
        yield
    if shape.joint:
        _count_moments(sketch, shape, numbers, batch.rows)
        yield
    if batch.output is not None:
        count_scores(sketch.score, shape.score, batch.output, batch.rows)


def _count_lookups(counts: FieldSketch, batch: Batch, name: str) -> None:
    for status, rows in batch.lookups.get(name, {}).items():
        counts.lookups[status] = counts.lookups.get(status, 0) + rows
    ages = batch.ages.get(name)
    if ages is not None and len(ages):
        seconds = np.maximum(np.asarray(ages, dtype=np.float64), 1.0)
        buckets = np.ceil(np.log2(seconds) * _AGE_STEPS).astype(np.int64)
        counts.ages.add(over(buckets))


def _count_moments(sketch: Sketch, shape: Shape, numbers: dict[str, Any], rows: int) -> None:
    blank = np.full(rows, np.nan)
    block = np.column_stack([numbers.get(name, blank) for name in shape.joint])
    block[~np.isfinite(block)] = np.nan
    if not sketch.moments.n:
        sketch.moments.names = list(shape.joint)
    sketch.moments.count((block - shape.means) / shape.scales)


# Numbers


def _count_numbers(
    counts: FieldSketch, known: FieldShape, _shape: Shape, cells: Sequence[Any]
) -> Any:
    values = _doubles(counts, cells)
    with np.errstate(invalid="ignore"):
        _count_doubles(counts, known, values)
    return values


def _doubles(counts: FieldSketch, cells: Sequence[Any]) -> Any:
    """The cells as doubles, NaN for what has none; counts nulls, NaN and other types."""
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "iufb":
        values = cells.astype(np.float64)
        # An array can't tell NaN from null.
        counts.null += int(np.isnan(values).sum())
        return values
    try:
        values = np.array(cells, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        values = np.array([_double(cell) for cell in cells], dtype=np.float64)
        counts.wrong_type += sum(cell is not None and _double(cell) is None for cell in cells)
    absent = int(np.isnan(values).sum())
    if absent:
        nulls = sum(cell is None for cell in cells)
        counts.null += nulls
        counts.nan += sum(isinstance(cell, float) and bool(cell != cell) for cell in cells)
    return values


def _double(cell: Any) -> float | None:
    return float(cell) if isinstance(cell, int | float) and abs(cell) < 1e308 else None


def _count_doubles(counts: FieldSketch, known: FieldShape, values: Any) -> None:
    finite = values[np.isfinite(values)]
    counts.infinite += int(np.isinf(values).sum()) if len(finite) < len(values) else 0
    if not len(finite):
        return
    lowest, highest = float(finite.min()), float(finite.max())
    _count_limits(counts, known, finite, lowest, highest)
    counts.bins.add(between(known.edges, finite))
    whole = finite == np.floor(finite)
    integral = int(whole.sum())
    counts.integral += integral
    counts.fractional += len(finite) - integral
    if max(-lowest, highest) > _EXACT:
        counts.beyond_exact += int((whole & (np.abs(finite) > _EXACT)).sum())
    if known.grid is not None and not (known.grid == 1.0 and integral == len(finite)):
        counts.off_grid += _off_grid(finite, known.grid)
    positive, negative, zero = log_histograms(finite)
    counts.positive_log.add(positive)
    counts.negative_log.add(negative)
    counts.zero += zero
    _count_frequent(counts, finite)


def _count_limits(
    counts: FieldSketch, known: FieldShape, finite: Any, lowest: float, highest: float
) -> None:
    if lowest < 0:
        counts.negative += int((finite < 0).sum())
    if known.least is not None and lowest < known.least:
        counts.below += int((finite < known.least).sum())
    if known.most is not None and highest > known.most:
        counts.above += int((finite > known.most).sum())
    if known.low is not None and lowest < known.low:
        counts.under += int((finite < known.low).sum())
    if known.high is not None and highest > known.high:
        counts.over += int((finite > known.high).sum())
    if isinstance(known.default, int | float):
        counts.defaulted += int((finite == known.default).sum())
    for special in known.specials:
        if lowest <= special <= highest:
            found = int((finite == special).sum())
            if found:
                key = repr(special)
                counts.specials[key] = counts.specials.get(key, 0) + found


def _off_grid(finite: Any, grid: float) -> int:
    ratio = finite / grid
    # As the contract found its grid; what is too large to tell is on it.
    return int((np.abs(ratio - np.rint(ratio)) > 1e-6 + 1e-12 * np.abs(ratio)).sum())


def _count_frequent(counts: FieldSketch, finite: Any) -> None:
    some = finite[:: max(1, len(finite) // _SAMPLED)]
    values, times = np.unique(some, return_counts=True)
    # One that holds less than a hundredth of a large sample is no spike.
    chosen = times * 100 >= len(some)
    counts.frequent.n += int(times[~chosen].sum())
    counts.frequent.count(
        dict(zip(map(repr, values[chosen].tolist()), times[chosen].tolist(), strict=True))
    )


# Text


def _count_texts(
    counts: FieldSketch, known: FieldShape, shape: Shape, cells: Sequence[Any]
) -> None:
    for word, times in _tally(cells).items():
        if word is None:
            counts.null += times
        elif isinstance(word, str):
            _count_word(counts, known, shape, word, times)
        elif word != word:
            counts.nan += times
        else:
            counts.wrong_type += times


def _tally(cells: Sequence[Any]) -> Mapping[Any, int]:
    try:
        return Counter(cells if isinstance(cells, list | tuple) else list(cells))
    except TypeError:  # lists and objects among them have no hash
        return Counter(cell if isinstance(cell, str) or cell is None else 0 for cell in cells)


def _count_word(
    counts: FieldSketch, known: FieldShape, shape: Shape, word: str, times: int
) -> None:
    length = str(len(word).bit_length())
    counts.lengths[length] = counts.lengths.get(length, 0) + times
    counts.empty += times * (not word)
    counts.padded += times * (word != word.strip())
    counts.non_ascii += times * (not word.isascii())
    counts.undeclared += times * (not _declared(known, word))
    counts.defaulted += times * (word == known.default)
    if known.privacy is Privacy.DROP:
        return
    shown = _shown(word, known, shape.salt)
    if shown in known.words:
        counts.words[shown] = counts.words.get(shown, 0) + times
        return
    counts.other += times
    counts.unknown.count({shown[:_LONGEST_WORD]: times})
    if known.closed:
        counts.new_word += times
        for how in _near(word, known, shape.salt):
            counts.near[how] = counts.near.get(how, 0) + times


def _declared(known: FieldShape, word: str) -> bool:
    if known.enum is not None and word not in known.enum:
        return False
    return known.pattern is None or _fits(known.pattern, word)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        return None


def _fits(pattern: str, word: str) -> bool:
    compiled = _compiled(pattern)
    return compiled is None or compiled.fullmatch(word) is not None


def _shown(word: str, known: FieldShape, salt: str) -> str:
    return hashed(word, salt) if known.privacy is Privacy.HASH else word


def _near(word: str, known: FieldShape, salt: str) -> list[str]:
    """How this unknown word comes close to a known one."""
    words = known.words
    tried = {
        "case": (word.upper(), word.lower(), word.title()),
        "space": (word.strip(), " ".join(word.split())),
        "unicode": (unicodedata.normalize("NFC", word), unicodedata.normalize("NFKC", word)),
    }
    found = [
        how
        for how, others in tried.items()
        if any(other != word and _shown(other, known, salt) in words for other in others)
    ]
    if known.privacy is Privacy.PLAIN and not found:
        if any(each.casefold() == word.casefold() for each in words):
            found.append("case")
        elif word and any(each.startswith(word) for each in words):
            found.append("prefix")
    return found


# Other kinds


def _count_flags(counts: FieldSketch, known: FieldShape, _: Shape, cells: Sequence[Any]) -> None:
    if isinstance(cells, np.ndarray):
        cells = cells.tolist()
    for cell, times in _tally(cells).items():
        if cell is None:
            counts.null += times
        elif not isinstance(cell, bool | np.bool_):
            counts.wrong_type += times
        else:
            counts.true += times if cell else 0
            counts.defaulted += times if cell == known.default else 0


def _count_instants(counts: FieldSketch, known: FieldShape, _: Shape, cells: Sequence[Any]) -> None:
    wrong = 0
    try:
        values = np.array(cells, dtype="datetime64[us]")
    except (TypeError, ValueError):
        values = np.array([_instant(cell) for cell in cells], dtype="datetime64[us]")
        wrong = sum(cell is not None and bool(np.isnat(_instant(cell))) for cell in cells)
    absent = np.isnat(values)
    counts.wrong_type += wrong
    counts.null += int(absent.sum()) - wrong
    present = values[~absent]
    if not len(present):
        return
    seconds = present.astype(np.int64) / 1e6
    if len(known.edges):
        counts.under += int((seconds < known.edges[0]).sum())
        counts.over += int((seconds > known.edges[-1]).sum())
    counts.bins.add(between(known.edges, seconds))
    hours = present.astype("datetime64[h]").astype(np.int64)
    months = present.astype("datetime64[M]").astype(np.int64) % 12
    counts.hours.add(Bins(np.bincount(hours % 24, minlength=24)))
    # The first of January 1970 was a Thursday; Monday is 0.
    counts.weekdays.add(Bins(np.bincount((hours // 24 + 3) % 7, minlength=7)))
    counts.months.add(Bins(np.bincount(months, minlength=12)))


def _instant(cell: Any) -> Any:
    try:
        return np.datetime64("NaT" if cell is None else cell, "us")
    except (TypeError, ValueError):
        return np.datetime64("NaT", "us")


def _count_others(counts: FieldSketch, _: FieldShape, __: Shape, cells: Sequence[Any]) -> None:
    counts.null += sum(cell is None for cell in cells)


_COUNTERS: dict[Kind, Any] = {
    Kind.NUMBER: _count_numbers,
    Kind.WHOLE: _count_numbers,
    Kind.FLAG: _count_flags,
    Kind.TEXT: _count_texts,
    Kind.INSTANT: _count_instants,
    Kind.OTHER: _count_others,
}
