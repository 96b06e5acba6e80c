"""Step 6: recorded values beside the true ones, by key and as of the time of the prediction.

A field whose values are the true ones can no longer be blamed. What differs names its own cause:
nothing came, one constant came, an older value came, another unit came, another row's value came.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from serinus.parity.columns import Column
from serinus.parity.contract import Field, Kind
from serinus.parity.diagnosis.finding import Confidence, Evidence, Finding, Locus, family, locus_of
from serinus.parity.diagnosis.offline import Offline, Truth
from serinus.parity.diagnosis.rows import Rows, take
from serinus.parity.diagnosis.view import Found, View, fact

__all__ = ["keyed"]

_FEWEST_ROWS = 50
#: Below this share of differing rows a field is called equal.
_CLEAN = 0.005
#: Of the recorded rows so many must be compared before a field is called right.
_ENOUGH_OF = 0.5
#: The part of the source's values that is looked at as its youngest.
_YOUNG = 0.25
_HOUR = 3600.0
_LAGS = tuple(
    each * _HOUR for each in (1, 2, 3, 4, 6, 8, 12, 18, 24, 36, 48, 72, 96, 120, 144, 168, 336, 720)
)


@dataclass(frozen=True)
class _Pair:
    """One field's recorded values and the true ones, where both can be compared."""

    field: Field
    rows: Rows
    online: Column
    truth: Truth
    equal: Any

    @property
    def compared(self) -> int:
        return len(self.rows)

    def some(self, mask: Any) -> "_Pair":
        """The rows where ``mask`` is true."""
        at = np.flatnonzero(mask)
        truth = self.truth
        some = Truth(
            take(truth.column, at),
            truth.found[at],
            truth.heard[at],
            None if truth.age is None else truth.age[at],
        )
        return _Pair(self.field, self.rows.some(mask), take(self.online, at), some, self.equal[at])

    @property
    def lost(self) -> Any:
        """Nothing came although there was something."""
        return self.online.null & ~self.truth.column.null

    @property
    def wrong(self) -> Any:
        """Something came, and it is not the true value."""
        return ~self.equal & ~self.online.null


def keyed(view: View) -> Found:
    """Step 6."""
    found, snapshot = Found(), view.snapshot
    looked_up = sorted(each.name for each in view.fields if not view.sent(each.name))
    offline = snapshot.offline
    if offline is None:
        if looked_up:
            found.missing.append(
                f"No offline source for {', '.join(looked_up)}: give one with --offline."
            )
        return found
    if len(snapshot.rows) < _FEWEST_ROWS:
        found.missing.append(
            f"Only {len(snapshot.rows)} rows were recorded; comparing with {offline.name} needs "
            f"{_FEWEST_ROWS}."
        )
        return found
    for field in view.fields:
        pair = _pair(offline, snapshot.rows, field) if offline.covers(field.name) else None
        if pair is None or pair.compared < _FEWEST_ROWS:
            if field.name in looked_up:
                found.missing.append(f"{offline.name} has too little of '{field.name}' to compare.")
            continue
        trusted = _trusted(pair)
        finding = None if trusted is None else _judge(view, offline, trusted)
        compared = 0 if trusted is None else trusted.compared
        if finding is not None:
            found.findings.append(finding)
        elif compared >= _ENOUGH_OF * len(snapshot.rows):
            found.blameless.add(field.name)
        else:
            found.findings += _incomplete(found, offline, pair, (compared, len(snapshot.rows)))
    _exclude(found, offline, looked_up)
    return found


def _exclude(found: Found, offline: Offline, looked_up: list[str]) -> None:
    clean = sorted(found.blameless)
    if clean and not found.findings and set(looked_up) <= found.blameless:
        test = f"{', '.join(clean)} equal {offline.name} by key (step 6)"
        found.exclude("availability", test)
        found.exclude("staleness", test)


def _pair(offline: Offline, rows: Rows, field: Field) -> _Pair | None:
    column = rows.columns.get(field.name)
    truth = offline.truth(field.name, rows) if column is not None else None
    if column is None or truth is None:
        return None
    return _cut(field, rows, column, truth)


def _cut(field: Field, rows: Rows, column: Column, truth: Truth) -> _Pair:
    """Where the source has nothing as of then, what came is neither right nor wrong.

    It may be incomplete: that it lacks a row is no proof that there was none.
    """
    kept = (truth.heard & truth.found) | column.null
    pair = _Pair(field, rows, column, truth, _equal(column, truth.column))
    return pair if kept.all() else pair.some(kept)


def _trusted(pair: _Pair) -> _Pair | None:
    """Only rows that the source can speak for, if it shows that it can't for all of them.

    A source that lacks rows gives an older value in their place: its youngest values agree with
    what came, and older ones do not. A wrong value that came is wrong beside young ones too.
    """
    age = pair.truth.age
    if age is None or pair.wrong.sum() < max(_CLEAN * pair.compared, 3):
        return pair
    known = np.isfinite(age)
    limit = float(np.quantile(age[known], _YOUNG)) if known.any() else 0.0
    young = known & (age <= limit)
    if young.sum() < _FEWEST_ROWS or young.sum() == known.sum():
        return pair
    missed = float(pair.wrong[young].mean())
    if missed > 0.2 * pair.wrong[known & ~young].mean():
        return pair
    return None if missed > _CLEAN else pair.some(~pair.wrong)


def _incomplete(
    found: Found, offline: Offline, pair: _Pair, compared: tuple[int, int]
) -> list[Finding]:
    """That the source has too little is said; what differs from it proves nothing then."""
    count, recorded = compared
    text = (
        f"{offline.name} is incomplete: it can speak for '{pair.field.name}' of {count} of "
        f"{recorded} recorded rows; give all of its rows."
    )
    found.missing.append(text)
    if not pair.wrong.sum():
        return []
    return [
        Finding(
            verdict=family("inconclusive"),
            detail="inconclusive.offline_incomplete",
            confidence=Confidence.INCONCLUSIVE,
            features=[pair.field.name],
            evidence=[fact(text, rows=pair.rows.examples(pair.wrong))],
            step=6,
        )
    ]


def _equal(online: Column, offline: Column) -> Any:
    both_null = online.null & offline.null
    if Kind.OTHER in (online.kind, offline.kind) or (
        (online.kind is Kind.TEXT) != (offline.kind is Kind.TEXT)
    ):
        same = np.array([a == b for a, b in zip(_cells(online), _cells(offline), strict=True)])
    elif online.kind is Kind.TEXT:
        same = _words(online) == _words(offline)
    elif online.kind is Kind.INSTANT:
        same = online.values == offline.values
    else:
        a, b = online.values.astype(np.float64), offline.values.astype(np.float64)
        with np.errstate(invalid="ignore"):
            same = np.abs(a - b) <= 1e-5 * np.maximum(np.abs(a), np.abs(b))
    return both_null | (same & ~online.null & ~offline.null)


def _words(column: Column) -> Any:
    return np.array([*column.words, None], dtype=object)[column.values]


def _cells(column: Column) -> list[Any]:
    if column.kind is Kind.TEXT:
        return list(_words(column))
    return [None if n else v for v, n in zip(column.values, column.null, strict=True)]


def _judge(view: View, offline: Offline, pair: _Pair) -> Finding | None:
    lost, wrong = pair.lost, pair.wrong
    total = pair.compared
    if lost.sum() + wrong.sum() < max(_CLEAN * total, 3):
        return None
    if lost.sum() >= max(wrong.sum(), 1):
        return _finding(
            view,
            pair,
            "availability.miss",
            lost,
            "nothing came",
            fact(
                f"'{pair.field.name}' was null for {int(lost.sum())} of {total} rows for which "
                f"{offline.name} has a value",
                rows=pair.rows.examples(lost),
            ),
        )
    return _other(view, offline, pair, wrong)


def _other(view: View, offline: Offline, pair: _Pair, wrong: Any) -> Finding:
    """What came instead of the true value."""
    name, total, count = pair.field.name, pair.compared, int(wrong.sum())
    examples = pair.rows.examples(wrong)
    start = f"{count} of {total} values of '{name}' are not those of {offline.name}"
    constant = _constant(pair, wrong)
    if constant is not None:
        text = f"{start}; they are all {constant}"
        return _finding(
            view,
            pair,
            "availability.default",
            wrong,
            f"always {constant}",
            fact(text, rows=examples),
        )
    lag = _lag(offline, pair, wrong)
    if lag is not None:
        text = f"{start}; they are what it had {lag / _HOUR:g} hours before"
        return _finding(
            view,
            pair,
            "staleness.old_value",
            wrong,
            f"{lag / _HOUR:g} h old",
            fact(text, rows=examples),
        )
    line = _affine(pair, wrong)
    if line is not None:
        slope, shift, fit = line
        text = f"{start}; they are {slope:.4g} x the true value {shift:+.4g} (r² {fit:.5f})"
        pattern = f"x {slope:.4g} {shift:+.4g}" if abs(shift) > 1e-6 else f"x {slope:.4g}"
        return _finding(view, pair, "preprocessing.unit", wrong, pattern, fact(text, rows=examples))
    return _finding(
        view,
        pair,
        "preprocessing.compute",
        wrong,
        "another value",
        fact(f"{start}{_of_another(pair, wrong)}", rows=examples),
    )


def _constant(pair: _Pair, wrong: Any) -> str | None:
    """The one value that came instead, if it was one while the true ones differ."""
    cells = [each for each, bad in zip(_cells(pair.online), wrong, strict=True) if bad]
    true = {each for each, bad in zip(_cells(pair.truth.column), wrong, strict=True) if bad}
    if len(cells) < 3 or len(true) < 2:
        return None
    counts: dict[Any, int] = {}
    for each in cells:
        counts[each] = counts.get(each, 0) + 1
    value = max(counts, key=lambda each: counts[each])
    if counts[value] < 0.9 * len(cells):
        return None
    return f"{value:g}" if isinstance(value, float) else str(value)


def _numbers(pair: _Pair, wrong: Any) -> tuple[Any, Any]:
    if Kind.TEXT in (pair.online.kind, pair.truth.column.kind):
        return np.empty(0), np.empty(0)
    if {pair.online.kind, pair.truth.column.kind} & {Kind.OTHER, Kind.INSTANT}:
        return np.empty(0), np.empty(0)
    both = wrong & ~pair.truth.column.null & ~pair.online.null
    return (
        pair.truth.column.values[both].astype(np.float64),
        pair.online.values[both].astype(np.float64),
    )


def _affine(pair: _Pair, wrong: Any) -> tuple[float, float, float] | None:
    true, came = _numbers(pair, wrong)
    if len(true) < 10 or np.ptp(true) == 0 or np.ptp(came) == 0:
        return None
    slope, shift = np.polyfit(true, came, 1)
    # A few other faults beside it must not hide the line that nearly all lie on.
    off = np.abs(came - (slope * true + shift))
    near = off <= max(float(np.quantile(off, 0.9)), 1e-9)
    if np.ptp(true[near]) > 0:
        slope, shift = np.polyfit(true[near], came[near], 1)
    spread = ((came - came.mean()) ** 2).sum()
    fit = 1 - ((came - (slope * true + shift)) ** 2).sum() / spread
    if fit < 0.999 or (abs(slope - 1) < 1e-3 and abs(shift) < 1e-6):
        return None
    return float(slope), float(shift if abs(shift) > 1e-6 * np.abs(came).max() else 0.0), float(fit)


def _lag(offline: Offline, pair: _Pair, wrong: Any) -> float | None:
    rows = pair.rows.some(wrong)
    column = rows.columns[pair.field.name]
    for lag in _LAGS:
        truth = offline.truth(pair.field.name, rows, lag)
        if truth is None:
            return None
        known = truth.found
        if known.sum() >= max(10, 0.5 * len(rows)):
            same = _equal(column, truth.column)[known]
            if same.mean() >= 0.95:
                return lag
    return None


def _of_another(pair: _Pair, wrong: Any) -> str:
    true, came = _numbers(pair, wrong)
    if len(true) < 30 or wrong.mean() < 0.2 or not np.std(true) or not np.std(came):
        return ""
    fit = float(np.corrcoef(true, came)[0, 1]) ** 2
    known = set(pair.truth.column.values[~pair.truth.column.null].tolist())
    if fit < 0.2 and np.mean([each in known for each in came.tolist()]) > 0.9:
        return f"; they are values of other rows (r² {fit:.3f}): a wrong key, or a mixed-up cache"
    return ""


def _finding(
    view: View, pair: _Pair, detail: str, touched: Any, pattern: str, evidence: Evidence
) -> Finding:
    sent = view.sent(pair.field.name)
    callers = sorted({str(each) for each in pair.rows.callers[touched]})
    finding = Finding(
        verdict=family(detail),
        detail=detail,
        confidence=Confidence.EXACT,
        features=[pair.field.name],
        share=float(touched.mean()),
        evidence=[evidence],
        step=6,
        pattern=pattern,
        callers=callers if len(callers) < len(view.callers) else [],
        locus=locus_of(detail),
    )
    if not sent:
        return finding
    # Clients send it themselves: what is wrong with it is wrong with the request.
    return msgspec.structs.replace(
        finding, verdict=family("schema"), detail="schema.semantics", locus=Locus.CLIENT
    )
