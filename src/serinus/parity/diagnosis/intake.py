"""Step 3: what was refused, or breaks what somebody declared: the client sent it.

Declared facts are enforced, so a violation is exact. What training merely did not see is no
violation and is left to later steps.
"""

from collections.abc import Callable

from serinus.parity.contract import Field, Kind
from serinus.parity.diagnosis.finding import Confidence, Evidence, Finding, Verdict
from serinus.parity.diagnosis.view import Found, Part, View, fact
from serinus.parity.sketch import OTHER_CALLER, WHOLE_HOUR, FieldSketch

__all__ = ["intake"]

_FEWEST = 5
_SHARE = 0.005
#: Of one caller's requests.
_CALLER_SHARE = 0.05

#: What is broken in words, its class, and how many broke it.
_Rule = tuple[str, str, Callable[[FieldSketch], int]]


def intake(view: View) -> Found:
    """Step 3."""
    found = Found()
    whole = view.whole
    if not whole.sketch.rows and not whole.sketch.refused:
        found.missing.append(_nothing(view))
        return found
    for kind, fields in sorted(whole.sketch.refused.items()):
        for name, count in sorted(fields.items()):
            if _matters(view, kind, name, count):
                found.findings.append(_refused(view, kind, name, count))
    for field in view.fields:
        if view.sent(field.name):
            found.findings += _broken(view, field)
    if not found.findings:
        found.exclude(
            "schema.structure",
            f"{_requests(whole)} requests, none refused more often than now and then (step 3)",
        )
    return found


def _nothing(view: View) -> str:
    """That nothing was counted; of one caller, who was."""
    wanted = view.snapshot.scope.caller
    known = sorted({key.caller for key in view.snapshot.live} - {WHOLE_HOUR, ""})
    if wanted is None or not known:
        return "No live traffic was counted in the window."
    told = f"No live traffic of caller '{wanted}' was counted in the window, but of "
    told += f"{', '.join(known)}."
    if OTHER_CALLER in known:
        told += f" Callers beyond the first eight are counted together, as '{OTHER_CALLER}'."
    return told


def _requests(part: Part) -> int:
    refused = sum(sum(each.values()) for each in part.sketch.refused.values())
    return part.sketch.requests + refused


def _matters(view: View, kind: str, name: str, count: int) -> bool:
    if count < _FEWEST:
        return False
    if count >= _SHARE * _requests(view.whole):
        return True
    return any(_of(part, kind, name) >= _CALLER_SHARE * _requests(part) for part in _parts(view))


def _parts(view: View) -> list[Part]:
    return list(view.callers.values())


def _of(part: Part, kind: str, name: str) -> int:
    count = part.sketch.refused.get(kind, {}).get(name, 0)
    return count if count >= _FEWEST else 0


def _refused(view: View, kind: str, name: str, count: int) -> Finding:
    total = _requests(view.whole)
    text = f"{count} of {total} requests were refused ({kind.replace('_', ' ')}"
    text += f", field '{name}')" if name else ")"
    evidence = [fact(text, refused=count, requests=total)]
    examples = [each for each in view.snapshot.refused if each.kind == kind and each.field == name]
    if examples:
        got = ", ".join(dict.fromkeys(each.got for each in examples[:5]))
        evidence.append(fact(f"for example {got}"))
        evidence += _meaning([each.got for each in examples])
    return Finding(
        verdict=Verdict.SCHEMA,
        detail="schema.structure",
        confidence=Confidence.EXACT,
        features=[name] if name else [],
        share=count / total,
        evidence=evidence,
        step=3,
        pattern=f"refused: {kind.replace('_', ' ')}",
        callers=_callers(view, lambda part: _of(part, kind, name) > 0),
    )


def _meaning(got: list[str]) -> list[Evidence]:
    """What the refused texts look like."""
    texts = [each.partition('"')[2].rpartition('"')[0] for each in got]
    if any("," in each and each.replace(",", "", 1).lstrip("-").isdigit() for each in texts):
        return [fact("they are numbers written with a decimal comma")]
    if any(each.replace(".", "", 1).lstrip("-").isdigit() for each in texts):
        return [fact("they are numbers sent as text")]
    return []


def _callers(view: View, test: Callable[[Part], bool]) -> list[str]:
    chosen = [name for name, part in view.callers.items() if test(part)]
    return chosen if len(chosen) < len(view.callers) else []


def _broken(view: View, field: Field) -> list[Finding]:
    """What breaks the declared domain of a field, or its type."""
    found = []
    for what, detail, count_of in _rules(view, field):
        sketch = view.whole.field(field.name)
        count = count_of(sketch)
        enough = count >= _FEWEST and (
            count >= 0.002 * sketch.n
            or any(
                count_of(part.field(field.name)) >= _CALLER_SHARE * max(part.field(field.name).n, 1)
                for part in _parts(view)
            )
        )
        if not enough:
            continue
        found.append(
            Finding(
                verdict=Verdict.SCHEMA,
                detail=detail,
                confidence=Confidence.EXACT,
                features=[field.name],
                share=count / max(sketch.n, 1),
                evidence=[
                    fact(
                        f"{count} of {sketch.n} values of '{field.name}' {what}",
                        rows=_examples(view, field),
                    )
                ],
                step=3,
                pattern=what,
                callers=[
                    name
                    for name, part in view.callers.items()
                    if len(view.callers) > 1 and count_of(part.field(field.name))
                ],
            )
        )
    return found


def _rules(view: View, field: Field) -> list[_Rule]:
    said, seen = field.declared, field.observed
    low = seen.min if isinstance(seen.min, float | int) else None
    high = seen.max if isinstance(seen.max, float | int) else None
    rules: list[_Rule] = []
    if said.min is not None and (low is None or low >= said.min):
        rules.append(
            (
                f"lie below the declared minimum {said.min:g}",
                "schema.semantics",
                lambda each: each.below,
            )
        )
    if said.max is not None and (high is None or high <= said.max):
        rules.append(
            (
                f"lie above the declared maximum {said.max:g}",
                "schema.semantics",
                lambda each: each.above,
            )
        )
    if said.enum is not None or said.pattern is not None:
        rules.append(
            ("are none of the declared values", "schema.semantics", lambda each: each.undeclared)
        )
    if said.integral and view.is_whole(field.name):
        rules.append(
            ("are not whole, as declared", "schema.semantics", lambda each: each.fractional)
        )
    if field.type.logical is not Kind.OTHER:
        rules.append(("are of another type", "schema.structure", lambda each: each.wrong_type))
    if high is None or abs(high) < 2**53:
        rules.append(
            (
                "are whole numbers beyond 2^53, which JSON can't carry",
                "schema.structure",
                lambda each: each.beyond_exact,
            )
        )
    return rules


def _examples(view: View, field: Field) -> list[str]:
    rows = view.snapshot.rows
    column = rows.columns.get(field.name)
    said = field.declared
    if column is None or column.kind not in (Kind.NUMBER, Kind.WHOLE):
        return []
    bad = (column.values < (-float("inf") if said.min is None else said.min)) | (
        column.values > (float("inf") if said.max is None else said.max)
    )
    return rows.examples(bad & ~column.null)
