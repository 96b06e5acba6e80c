"""Puts the hour of onset to findings that hourly counts can date."""

from collections.abc import Callable
from datetime import timedelta

import msgspec

from serinus.parity.diagnosis.finding import Finding
from serinus.parity.diagnosis.onset import grown, onset
from serinus.parity.diagnosis.view import View
from serinus.parity.sketch import Lookup, Sketch

__all__ = ["with_onset"]

_DEPLOYED = ("deploy", "route", "environment")


def with_onset(view: View, finding: Finding) -> Finding:
    """The finding with its ``since``, where it can be had."""
    if finding.since is not None:
        return finding
    if finding.step in (1, 4, 7):
        return msgspec.structs.replace(finding, since=_last_deploy(view))
    measure = _measure(view, finding)
    if measure is None:
        return finding
    step = onset(view, finding.callers or None, measure)
    return finding if step is None else msgspec.structs.replace(finding, since=step.at.isoformat())


def _last_deploy(view: View) -> str | None:
    """What the endpoint itself does began with what was last done to it."""
    scope = view.snapshot.scope
    done = [
        each.at
        for each in view.snapshot.events
        if each.kind in _DEPLOYED and scope.since - timedelta(days=30) <= each.at <= scope.until
    ]
    return max(done).isoformat() if done else None


def _measure(view: View, finding: Finding) -> Callable[[Sketch], tuple[float, float]] | None:
    if finding.step == 3:
        return lambda sketch: _refused(sketch, finding)
    if not finding.features:
        return None
    name = finding.features[0]
    if finding.step in (5, 6):
        return lambda sketch: _absent(sketch, name)
    if finding.step == 9:
        return lambda sketch: grown(view, name, view.whole.field(name), sketch)
    return None


def _refused(sketch: Sketch, finding: Finding) -> tuple[float, float]:
    name = finding.features[0] if finding.features else ""
    count = sum(fields.get(name, 0) for fields in sketch.refused.values())
    field = sketch.fields.get(name)
    if field is not None:
        count += field.below + field.above + field.undeclared + field.wrong_type
    total = sketch.requests + sum(sum(each.values()) for each in sketch.refused.values())
    return float(min(count, total)), float(total)


def _absent(sketch: Sketch, name: str) -> tuple[float, float]:
    field = sketch.fields.get(name)
    if field is None:
        return 0.0, 0.0
    lost = sum(count for status, count in field.lookups.items() if status != Lookup.PRESENT)
    return float(max(field.null + field.missing, lost)), float(field.n)
