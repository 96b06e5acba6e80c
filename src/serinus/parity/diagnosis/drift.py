"""Step 9: the world changed. A verdict of last resort, given only when parity ran and passed.

Without that the answer is "inconclusive", and it names what is missing.
"""

from serinus.parity.contract import Kind
from serinus.parity.diagnosis.distance import ENOUGH, TRAINED, Gap, benjamini_hochberg
from serinus.parity.diagnosis.estimate import estimate
from serinus.parity.diagnosis.finding import Confidence, Evidence, Finding, Verdict
from serinus.parity.diagnosis.moved import field_gap, more_nulls, moved, unknown_share
from serinus.parity.diagnosis.replay import fresh
from serinus.parity.diagnosis.view import Found, View, fact
from serinus.parity.verification import GateResult

__all__ = ["drift", "parity_passed"]

_SHOWN = 6


def parity_passed(view: View) -> bool:
    """True when golden rows were replayed in the window and none of them differed."""
    golden = view.snapshot.golden
    if golden is None or not fresh(view):
        return False
    results = [each.result for each in golden.gates]
    staged = [each for each in golden.gates if each.stage and each.result is GateResult.FAIL]
    return GateResult.PASS in results and not staged


def drift(view: View, blameless: set[str], explained: set[str], exact: bool) -> Found:
    """Step 9; ``exact`` when an earlier step found something exact."""
    found = Found()
    if view.whole.sketch.rows < ENOUGH:
        return found
    if not view.profiled:
        found.missing.append(_unprofiled(view.snapshot.profile.rows))
        return found
    gaps = _significant(view)
    words = _shares(view, Kind.TEXT, explained)
    nulls = {
        each.name: share
        for each in view.fields
        if each.name not in explained
        and (share := more_nulls(view, each.name, view.whole.field(each.name))) is not None
    }
    changed = (set(gaps) | set(words) | set(nulls)) - explained
    if not changed:
        if not exact:
            apart = sorted((set(gaps) | set(_shares(view, Kind.TEXT, set()))) & explained)
            but = f", but for {', '.join(apart)}, which a finding explains" if apart else ""
            alike = f"{_compared(view)} are distributed as in training{but} (step 9)"
            found.exclude("drift", alike)
        return found
    unproved = sorted(name for name in changed if not view.sent(name) and name not in blameless)
    passed = parity_passed(view)
    if not exact and (not passed or unproved):
        found.findings.append(_undecided(view, changed, unproved, passed))
        return found
    found.findings.append(_finding(view, changed, (gaps, words, nulls), exact))
    return found


def _unprofiled(rows: int) -> str:
    if not rows:
        return (
            "Training's values are not known, since the contract was derived from the signature: "
            "capture one with serinus contract capture."
        )
    return (
        f"The contract was captured on {rows} rows, and distributions are compared from {TRAINED} "
        "on: capture one on more rows."
    )


def _compared(view: View) -> str:
    """How many fields could be compared, on enough values of both sides."""
    gaps = [field_gap(view, each, view.whole.field(each.name)) for each in view.fields]
    able = sum(each is not None and each.comparable for each in gaps)
    rest = len(gaps) - able
    return f"{able} fields" + (f" ({rest} have too little to compare)" if rest else "")


def _significant(view: View) -> dict[str, Gap]:
    apart = moved(view.whole)
    chances = {}
    for field in view.fields:
        each = field_gap(view, field, view.whole.field(field.name))
        if each is not None:
            chances[field.name] = each.chance
    kept = benjamini_hochberg(chances)
    return {name: each for name, each in apart.items() if name in kept}


def _shares(view: View, kind: Kind, explained: set[str]) -> dict[str, float]:
    found = {}
    for field in view.fields:
        if field.type.logical is kind and field.name not in explained:
            share = unknown_share(view, field.name, view.whole.field(field.name))
            if share is not None:
                found[field.name] = share
    return found


def _undecided(view: View, changed: set[str], unproved: list[str], passed: bool) -> Finding:
    why = []
    if not passed:
        why.append("no golden replay passed in the window")
    if unproved:
        why.append(f"{', '.join(unproved)} could not be compared with an offline source")
    return Finding(
        verdict=Verdict.INCONCLUSIVE,
        detail="inconclusive.unproved",
        confidence=Confidence.INCONCLUSIVE,
        features=_by_weight(view, changed),
        evidence=[
            fact(
                f"{', '.join(_by_weight(view, changed)[:_SHOWN])} differ from training, but "
                f"whether the world or the pipeline changed can't be said: {'; '.join(why)}"
            )
        ],
        step=9,
    )


def _by_weight(view: View, names: set[str]) -> list[str]:
    """The most important to the model first."""
    weight = {each.name: each.importance or 0.0 for each in view.fields}
    return sorted(names, key=lambda name: (-weight.get(name, 0.0), name))


def _finding(
    view: View,
    changed: set[str],
    signs: tuple[dict[str, Gap], dict[str, float], dict[str, float]],
    exact: bool,
) -> Finding:
    gaps, words, nulls = signs
    rest = {name for name in gaps if name in changed and name not in words}
    detail = "drift.covariate"
    if not rest and words:
        detail = "drift.new_category"
    elif not rest and nulls:
        detail = "drift.coverage"
    order = _by_weight(view, changed)
    evidence = []
    for name in order[:_SHOWN]:
        evidence.append(Evidence(text=_sign(view, name, signs), numbers=_numbers(gaps.get(name))))
    if not exact:
        by_key = any(not view.sent(name) for name in changed)
        evidence.append(
            fact(
                "golden replay and comparison by key passed in the same window"
                if by_key
                else "golden replay passed in the same window"
            )
        )
    told = estimate(view)
    if told and not exact:
        evidence.append(fact(told))
    return Finding(
        verdict=Verdict.DRIFT,
        detail=detail,
        confidence=Confidence.SUSPECTED if exact else Confidence.STRONG,
        features=order,
        share=max([words[each] for each in words] + [nulls[each] for each in nulls] or [0.0])
        if not rest
        else None,
        evidence=evidence,
        step=9,
    )


def _numbers(found: Gap | None) -> dict[str, float]:
    return {} if found is None else {"psi": round(found.psi, 4), "limit": round(found.limit, 4)}


def _sign(
    view: View, name: str, signs: tuple[dict[str, Gap], dict[str, float], dict[str, float]]
) -> str:
    gaps, words, nulls = signs
    if name in words:
        top = list(view.whole.field(name).unknown.kept)[:3]
        return f"'{name}' has words that training never saw in {words[name]:.1%} of rows: " + (
            ", ".join(top)
        )
    if name in nulls:
        usual = view.baseline(name)
        rate = (usual.null + usual.nan) / max(usual.n, 1)
        return f"'{name}' is null in {nulls[name]:.1%} of rows, {rate:.1%} in training"
    return (
        f"'{name}' is distributed otherwise than in training: index {gaps[name].psi:.2f}, "
        f"{gaps[name].limit:.2f} would be chance"
    )
