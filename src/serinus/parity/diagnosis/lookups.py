"""Step 5: what lookups themselves reported: whether a value was there, and how old it was.

A share of nulls is judged against training's; where an offline source knows better, step 6 decides.
"""

from serinus.parity.contract import Field
from serinus.parity.declarations import seconds
from serinus.parity.diagnosis.distance import share_gap
from serinus.parity.diagnosis.finding import Confidence, Finding, family
from serinus.parity.diagnosis.view import Found, View, fact
from serinus.parity.sketch import FieldSketch, Lookup

__all__ = ["lookups"]

_SIGMAS = 5.0
_MORE = 0.01
#: Old values, as a share of those whose age is known.
_OLD = 0.01
_USUAL_OLD = 0.10
_STEPS_A_DOUBLING = 4


def lookups(view: View) -> Found:
    """Step 5."""
    found = Found()
    looked_up = [each for each in view.fields if not view.sent(each.name)]
    if not looked_up:
        found.exclude("availability", "no field of this model is looked up (step 5)")
        found.exclude("staleness", "no field of this model is looked up (step 5)")
        return found
    known: list[str] = []
    aged: list[str] = []
    unlimited: list[str] = []
    for field in looked_up:
        sketch = view.whole.field(field.name)
        if sketch.lookups:
            known.append(field.name)
            found.findings += _absent(view, field, sketch)
        if len(sketch.ages.counts):
            (aged if _limit(field)[0] is not None else unlimited).append(field.name)
            found.findings += _old(field, sketch)
    silent = sorted({each.name for each in looked_up} - set(known))
    if silent:
        found.missing.append(f"Lookup status is not available for {', '.join(silent)}.")
    if unlimited:
        found.missing.append(
            f"How old {', '.join(unlimited)} may be is not known: declare max_age in the contract."
        )
    undated = sorted({each.name for each in looked_up} - {*aged, *unlimited})
    if undated:
        found.missing.append(f"Ages are not available for {', '.join(undated)}.")
    if known and not found.findings:
        found.exclude(
            "availability",
            f"lookup status of {', '.join(known)}: no more misses than usual (step 5)",
        )
    if aged and not any(each.detail.startswith("staleness") for each in found.findings):
        found.exclude("staleness", f"ages of {', '.join(aged)} are within their limits (step 5)")
    return found


def _absent(view: View, field: Field, sketch: FieldSketch) -> list[Finding]:
    total = sum(sketch.lookups.values())
    hard = sum(
        sketch.lookups.get(each, 0) for each in (Lookup.ERROR, Lookup.EXPIRED, Lookup.DEFAULTED)
    )
    soft = sum(sketch.lookups.get(each, 0) for each in (Lookup.NOT_FOUND, Lookup.NULL))
    offline = view.snapshot.offline
    if offline is not None and offline.covers(field.name) and len(view.snapshot.rows):
        soft = 0  # step 6 knows whether there was a value to find
    usual = field.observed.null_rate
    gone = hard + soft
    if not total or gone / total < usual + _MORE:
        return []
    if share_gap(gone, total, usual, max(field.observed.n, 1)) < _SIGMAS:
        return []
    defaulted = sketch.lookups.get(Lookup.DEFAULTED, 0)
    kind = "default" if defaulted > gone / 2 else "miss"
    counted = ", ".join(f"{name} {count}" for name, count in sorted(sketch.lookups.items()))
    return [
        Finding(
            verdict=family("availability"),
            detail=f"availability.{kind}",
            confidence=Confidence.EXACT if hard else Confidence.STRONG,
            features=[field.name],
            share=gone / total,
            evidence=[
                fact(
                    f"'{field.name}' was not there for {gone / total:.1%} of {total} lookups, "
                    f"{usual:.1%} in training: {counted}"
                )
            ],
            step=5,
            pattern=f"lookup {kind}",
        )
    ]


def _limit(field: Field) -> tuple[float | None, float]:
    """Seconds from which a value is old, None where nothing says so; and how many may be."""
    if field.time.max_age is not None:
        return seconds(field.time.max_age), _OLD
    if field.time.train_lag_p99:
        return 3 * field.time.train_lag_p99, _USUAL_OLD
    return None, _USUAL_OLD


def _old(field: Field, sketch: FieldSketch) -> list[Finding]:
    limit, share = _limit(field)
    counts = sketch.ages.counts
    total = int(counts.sum())
    if limit is None or not total:
        return []
    # A bucket counts as old when even its youngest are.
    first = sketch.ages.first
    old = sum(
        int(count)
        for at, count in enumerate(counts)
        if 2.0 ** ((first + at - 1) / _STEPS_A_DOUBLING) >= limit
    )
    if old < share * total:
        return []
    word = "declared max_age" if field.time.max_age else "three times what training saw"
    return [
        Finding(
            verdict=family("staleness"),
            detail="staleness.age",
            confidence=Confidence.EXACT if field.time.max_age else Confidence.STRONG,
            features=[field.name],
            share=old / total,
            evidence=[
                fact(
                    f"{old} of {total} values of '{field.name}' were older than {word} "
                    f"({limit:g} s)"
                )
            ],
            step=5,
            pattern="older than allowed",
        )
    ]
