"""Step 8: patterns of wrong values in what clients send, each with what speaks for it.

These are the dangerous rules: without a true value they can accuse a genuine change. So a change
that can be undone is named only with something else that speaks for it, or as a note.
"""

from collections.abc import Iterable, Iterator
from itertools import permutations

import numpy as np

from serinus.parity.contract import Field, Kind
from serinus.parity.diagnosis.callers import others_as_trained, seen_in_all, senders
from serinus.parity.diagnosis.distance import ENOUGH, Gap, alike
from serinus.parity.diagnosis.finding import Confidence, Finding, Locus, Verdict
from serinus.parity.diagnosis.moved import field_gap, moved, numbers_gap
from serinus.parity.diagnosis.numbers import number_suspects
from serinus.parity.diagnosis.onset import Onset, grown, nearest, onset
from serinus.parity.diagnosis.suspect import Suspect
from serinus.parity.diagnosis.trades import traded
from serinus.parity.diagnosis.view import Found, Part, View, fact
from serinus.parity.diagnosis.words import word_suspects
from serinus.parity.sketch import FieldSketch, Sketch

__all__ = ["suspicion"]

_ENOUGH_PROOFS = 2
_CLIENT_EVENTS = ("client", "schema", "deploy", "feature-job", "environment")
#: A change of this size is worth looking for the hour in which it began.
_STIRRED = 0.02
_UNLIKE = 0.25
#: So is this share of values that training never saw.
_NOVEL = 0.01
#: And this of nulls is all of them.
_GONE = 0.999
_NO_VALUE = "no value at all"
_FEWEST_GONE, _HALF = 200, 0.5


def suspicion(view: View, blameless: set[str], explained: set[str]) -> Found:
    """Step 8; fields in ``explained`` have an exact finding already."""
    found = Found()
    skip = blameless | explained
    whole = _best(_of_part(view.whole, skip))
    parts = [part for part in view.callers.values() if len(view.callers) > 1]
    by_caller = {
        str(part.caller): _best(one for one in _of_part(part, skip) if seen_in_all(view, one))
        for part in parts
    }
    chosen = _joined(whole, by_caller)
    shaken = set(moved(view.whole))
    # What another such change explains is no change beside it.
    known = {
        name
        for each in chosen
        for name in each.fields
        if each.hard or (each.named and each.restored)
    }
    for suspect in chosen:
        step = _prove(view, suspect, by_caller, skip | known)
        finding = _finding(view, suspect, step)
        if len(suspect.proofs) >= _ENOUGH_PROOFS or (
            suspect.proofs and not shaken - set(suspect.fields) - known - skip
        ):
            found.findings.append(finding)
        else:
            found.notes.append(
                f"{', '.join(suspect.fields)}: {suspect.pattern} would explain the values, but "
                "nothing else speaks for it."
            )
    if not found.findings and view.whole.sketch.rows >= ENOUGH and view.profiled:
        found.exclude(
            "schema.semantics",
            "no unit, clock, sentinel, case, swap or clipping explains the values (step 8)",
        )
    return found


def _of_part(part: Part, skip: set[str]) -> Iterator[Suspect]:
    fields = [each for each in part.view.fields if each.name not in skip]
    steps: dict[int | None, Part] = {}
    for field in fields:
        if part.view.sent(field.name):
            yield from word_suspects(part, field)
            yield from _gone(part, field) or _gone_since(part, field)
        yield from number_suspects(part, field)
        later = _since_step(part, field)
        if later is not None:
            later = steps.setdefault(later.since, later)
            yield from number_suspects(later, field)
    for each in (part, *steps.values()):
        if each.sketch.rows >= ENOUGH:
            whole = list(_swaps(each, fields))
            yield from whole or traded(each, fields)


def _gone(part: Part, field: Field) -> list[Suspect]:
    """A field that is no longer sent at all, where it was: the world leaves some."""
    sketch, usual = part.field(field.name), field.observed.null_rate
    null = _nulls(sketch)
    # That all of so many are null by chance is out of the question, where few or half were.
    if sketch.n < _FEWEST_GONE or null < _GONE * sketch.n or usual > _HALF:
        return []
    return [
        Suspect(
            part,
            [field.name],
            _NO_VALUE,
            f"'{field.name}' is null in {null} of {sketch.n} rows, {usual:.1%} in training",
            null / sketch.n - usual,
            hard=True,
            besides="it is so in all of these rows; the world leaves some",
        )
    ]


def _gone_since(part: Part, field: Field) -> list[Suspect]:
    """The same from some hour on."""
    sketch = part.field(field.name)
    if _nulls(sketch) < max(_FEWEST_GONE, 2 * field.observed.null_rate * sketch.n):
        return []
    callers = None if part.caller is None else [part.caller]

    def gone(hour: Sketch) -> tuple[float, float]:
        counts = hour.fields.get(field.name)
        return (0.0, 0.0) if counts is None else (float(_nulls(counts)), float(counts.n))

    step = onset(part.view, callers, gone, fewest=10)
    if step is None:
        return []
    return _gone(part.view.later(part, int(step.at.timestamp()) // 3600), field)


def _nulls(sketch: FieldSketch) -> int:
    return sketch.null + sketch.missing + sketch.nan


def _since_step(part: Part, field: Field) -> Part | None:
    """The part from the hour in which a field took a step; before it, it was as in training."""
    sketch = part.field(field.name)
    if field.type.logical not in (Kind.NUMBER, Kind.WHOLE):
        return None
    found = field_gap(part.view, field, sketch)
    novel = sketch.novel >= _NOVEL * max(sketch.n, 1)
    if found is None or (found.psi < max(_STIRRED, 2 * found.noise) and not novel):
        return None
    callers = None if part.caller is None else [part.caller]

    def touched(hour: Sketch) -> tuple[float, float]:
        counts = hour.fields.get(field.name)
        if novel and counts is not None:
            return float(counts.novel), float(counts.n)
        return grown(part.view, field.name, sketch, hour)

    step = onset(part.view, callers, touched, fewest=10)
    if step is None:
        return None
    later = part.view.later(part, int(step.at.timestamp()) // 3600)
    return later if ENOUGH <= later.sketch.rows < part.sketch.rows else None


def _best(suspects: Iterable[Suspect]) -> list[Suspect]:
    """One for each field; a swap explains two."""
    chosen: dict[str, Suspect] = {}
    for each in sorted(suspects, key=lambda one: (len(one.fields), one.quality), reverse=True):
        if not any(name in chosen for name in each.fields):
            chosen |= dict.fromkeys(each.fields, each)
    return list({id(each): each for each in chosen.values()}.values())


def _joined(whole: list[Suspect], by_caller: dict[str, list[Suspect]]) -> list[Suspect]:
    """A fault of one caller is told as that caller's, not as everybody's."""
    found = []
    named = {name for each in whole for name in each.fields}
    for suspects in by_caller.values():
        for each in suspects:
            if not set(each.fields) & named:
                found.append(each)
                named |= set(each.fields)
    return whole + found


def _swaps(part: Part, fields: list[Field]) -> Iterator[Suspect]:
    view = part.view
    far: dict[str, Gap] = {}
    for field in fields:
        if field.type.logical in (Kind.NUMBER, Kind.WHOLE):
            each = field_gap(view, field, part.field(field.name))
            if each is not None and each.apart:
                far[field.name] = each
    for one, other in permutations(sorted(far), 2):
        # Two fields that always looked alike can't be told from each other.
        if one > other or numbers_gap(view.baseline(one), view.trained(other)).psi < _UNLIKE:
            continue
        crossed = [
            numbers_gap(view.baseline(name), part.numbers(came))
            for name, came in ((one, other), (other, one))
        ]
        if all(alike(after, far[name]) for after, name in zip(crossed, (one, other), strict=True)):
            yield Suspect(
                part,
                [one, other],
                f"swapped: {one} and {other}",
                f"'{one}' has the values of '{other}' and the other way round; swapped back, both "
                "are as in training",
                1.0,
                far[one],
                crossed[0],
                hard=True,
                why="each has the values of the other",
            )


def _prove(
    view: View, suspect: Suspect, by_caller: dict[str, list[Suspect]], skip: set[str]
) -> Onset | None:
    """Collect what speaks for a suspicion; returns the step in time, if there is one."""
    proofs = suspect.proofs
    if suspect.hard:
        proofs.append(suspect.why)
        if suspect.after is None:
            proofs += [suspect.besides] if suspect.besides else []
        elif suspect.restored or not suspect.after.apart:
            proofs.append("undone, the values are distributed as in training")
    others = set(moved(suspect.part)) - set(suspect.fields) - skip
    if not others and len(view.fields) > len(suspect.fields):
        proofs.append("no other field changed")
    alone = _callers(view, suspect, by_caller)
    if alone:
        proofs.append(f"only {', '.join(alone)} sent them so")
    step = onset(view, alone or None, lambda sketch: _touched(view, suspect, sketch))
    if step is not None:
        event = nearest(view.snapshot.events, step.at)
        if event is not None and event.kind in _CLIENT_EVENTS:
            proofs.append(f"it began in one step, with: {event.text}")
    if _joint(suspect):
        proofs.append("its relation to the other fields is broken, and whole after the inverse")
    return step


def _callers(view: View, suspect: Suspect, by_caller: dict[str, list[Suspect]]) -> list[str]:
    """The callers that sent it, when others did not; else none."""
    if len(view.callers) < 2:
        return []
    name = suspect.fields[0]
    guilty = [
        caller
        for caller, suspects in by_caller.items()
        if any(each.fields == suspect.fields for each in suspects)
    ]
    if suspect.part.caller is not None and suspect.part.caller not in guilty:
        guilty.append(suspect.part.caller)
    if guilty and others_as_trained(view, name, guilty):
        return sorted(guilty)
    return senders(view, name) if suspect.hard else []


def _touched(view: View, suspect: Suspect, sketch: Sketch) -> tuple[float, float]:
    """Rows of an hour that look touched: values new to training, else in bins that grew."""
    name = suspect.fields[0]
    counts = sketch.fields.get(name)
    if counts is None or not counts.n:
        return 0.0, 0.0
    if suspect.pattern == _NO_VALUE:
        return float(_nulls(counts)), float(counts.n)
    if suspect.hard and suspect.pattern.startswith("unit"):
        return float(max(counts.off_grid, counts.fractional if _whole(view, name) else 0)), counts.n
    if suspect.hard and "null as" not in suspect.pattern:
        return float(max(counts.novel, counts.negative)), float(counts.n)
    if not len(counts.bins.counts):
        return float(counts.empty), float(counts.n)
    return grown(view, name, suspect.part.field(name), sketch)


def _whole(view: View, name: str) -> bool:
    return view.is_whole(name)


def _joint(suspect: Suspect) -> bool:
    """The regression of a field on the others: broken as it came, whole after the inverse."""
    part, name = suspect.part, suspect.fields[0]
    profile = part.view.snapshot.profile
    joint = profile.joint.get(name)
    column = part.rows.columns.get(name)
    if joint is None or suspect.undone is None or column is None or len(part.rows) < 200:
        return False
    if not set(joint.on) <= part.rows.columns.keys() or joint.residual > 0.9:
        return False
    others = np.zeros(len(part.rows))
    for field, weight in zip(joint.on, joint.weights, strict=True):
        values = part.rows.columns[field].values.astype(np.float64)
        z = (values - profile.means[field]) / profile.scales[field]
        others += weight * np.nan_to_num(z, nan=0.0)
    came = (column.values.astype(np.float64) - joint.mean) / joint.scale
    back = (np.asarray(suspect.undone) - joint.mean) / joint.scale
    good = np.isfinite(came) & np.isfinite(back)
    if good.sum() < 200:
        return False
    as_came = float(np.sqrt(np.mean((came - others)[good] ** 2)))
    as_undone = float(np.sqrt(np.mean((back - others)[good] ** 2)))
    return as_came > 1.3 * joint.residual and as_undone < 1.15 * joint.residual


def _finding(view: View, suspect: Suspect, step: Onset | None) -> Finding:
    part = suspect.part
    share = suspect.share * part.sketch.rows / max(view.whole.sketch.rows, 1)
    callers = [part.caller] if part.caller else []
    for proof in suspect.proofs:
        if proof.startswith("only "):
            callers = proof.removeprefix("only ").removesuffix(" sent them so").split(", ")
    lookup = not view.sent(suspect.fields[0])
    return Finding(
        verdict=Verdict.AVAILABILITY
        if lookup and "null as" in suspect.pattern
        else Verdict.PREPROCESSING
        if lookup
        else Verdict.SCHEMA,
        detail="availability.default"
        if lookup and "null as" in suspect.pattern
        else "preprocessing.unit"
        if lookup
        else "schema.semantics",
        confidence=Confidence.STRONG
        if len(suspect.proofs) >= _ENOUGH_PROOFS
        else Confidence.SUSPECTED,
        features=suspect.fields,
        share=share,
        evidence=[fact(suspect.text, rows=suspect.rows), *map(fact, suspect.proofs)],
        step=8,
        pattern=suspect.pattern,
        callers=[each for each in callers if each is not None],
        since=step.at.isoformat() if step is not None else None,
        locus=Locus.STORE if lookup else Locus.CLIENT,
    )
