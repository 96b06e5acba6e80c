"""What changed from one contract to another, and whether those who call the model must care.

It compares two values; which versions they are of is the caller's affair.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from serinus.parity.contract import Contract, Field
from serinus.parity.folder import Bundle
from serinus.parity.lock import Lock

__all__ = ["Change", "Severity", "differences"]


class Severity(Enum):
    """What a change asks of a client."""

    #: Requests that were right are refused, or mean something else now.
    BREAKING = "breaking"
    #: All that was right stays right; something more is possible.
    COMPATIBLE = "compatible"
    #: Good to know; nobody has to do anything.
    INFORMATIONAL = "informational"


@dataclass(frozen=True)
class Change:
    """One difference."""

    severity: Severity
    #: ``field distance``, ``outputs``, ``environment`` …
    where: str
    #: What of it, e.g. ``declared.min``.
    what: str
    old: Any
    new: Any
    why: str


_BREAKING, _COMPATIBLE, _INFO = Severity.BREAKING, Severity.COMPATIBLE, Severity.INFORMATIONAL
#: What a client may go on sending when the type becomes another.
_WIDER = {
    ("integer", "long"),
    ("integer", "double"),
    ("integer", "float"),
    ("long", "double"),
    ("float", "double"),
}
_MEANING = ("unit", "tz", "calendar", "cyclic")
#: A null rate or a bound that moves less than this is not worth a line.
_SMALL = 0.01
_SHOWN = 20


def differences(old: Bundle, new: Bundle) -> list[Change]:
    """All changes, the gravest first; of equal ones in the order of the contract."""
    one, two = old.contract, new.contract
    found = [
        *_fields(one, two),
        *_outputs(one, two),
        *_model(one, two),
        *_environment(old.lock, new.lock),
    ]
    order = list(Severity)
    return sorted(found, key=lambda change: order.index(change.severity))


def _fields(old: Contract, new: Contract) -> Iterator[Change]:
    before, after = {f.name: f for f in old.fields}, {f.name: f for f in new.fields}
    for name, field in before.items():
        if name not in after:
            why = "clients may go on sending it; it is dropped"
            if old.inputs.positional or new.inputs.positional:
                yield Change(_BREAKING, f"field {name}", "removed", name, None, "others move up")
            else:
                yield Change(_COMPATIBLE, f"field {name}", "removed", name, None, why)
        else:
            yield from _field(field, after[name])
    for name, field in after.items():
        if name not in before:
            yield _added(field)
    kept = [name for name in new.inputs.names if name in before]
    if kept != [name for name in old.inputs.names if name in after]:
        placed = old.inputs.positional or new.inputs.positional
        yield Change(
            _BREAKING if placed else _INFO,
            "inputs",
            "order",
            old.inputs.names,
            new.inputs.names,
            "the model reads by place" if placed else "columns are found by name",
        )


def _added(field: Field) -> Change:
    where = f"field {field.name}"
    if field.source != "request":
        return Change(_INFO, where, "added", None, field.source, "it does not come from clients")
    if field.required:
        return Change(_BREAKING, where, "added", None, field.type.physical, "clients must send it")
    return Change(_COMPATIBLE, where, "added", None, field.type.physical, "clients may send it")


def _field(old: Field, new: Field) -> Iterator[Change]:
    where = f"field {old.name}"
    yield from _type(where, old, new)
    if old.required != new.required:
        severity = _BREAKING if new.required else _COMPATIBLE
        why = "clients must send it" if new.required else "clients may leave it out"
        yield Change(severity, where, "required", old.required, new.required, why)
    if old.null.allowed != new.null.allowed:
        severity = _COMPATIBLE if new.null.allowed else _BREAKING
        why = "null is taken now" if new.null.allowed else "null is refused now"
        yield Change(severity, where, "null.allowed", old.null.allowed, new.null.allowed, why)
    for what in _MEANING:
        before, after = getattr(old, what), getattr(new, what)
        if before != after and None in (before, after):
            yield Change(_INFO, where, what, before, after, "only one of the two says it")
        elif before != after:
            why = "the same value means something else"
            yield Change(_BREAKING, where, what, before, after, why)
    if old.source != new.source:
        needs = new.source == "request" and new.required
        why = "clients must send it" if needs else "clients need not send it any more"
        yield Change(
            _BREAKING if needs else _COMPATIBLE, where, "source", old.source, new.source, why
        )
    if old.unknown_category != new.unknown_category:
        refused = new.unknown_category == "reject"
        yield Change(
            _BREAKING if refused else _COMPATIBLE,
            where,
            "unknown_category",
            old.unknown_category,
            new.unknown_category,
            "an unknown category is refused now"
            if refused
            else "unknown categories are treated in another way",
        )
    for what in ("privacy", "role"):
        if getattr(old, what) != getattr(new, what):
            before, after = (_plain(getattr(each, what)) for each in (old, new))
            yield Change(_INFO, where, what, before, after, "it concerns what is kept, not sent")
    yield from _domain(where, old, new)
    yield from _observed(where, old, new)


def _type(where: str, old: Field, new: Field) -> Iterator[Change]:
    before, after = old.type.physical, new.type.physical
    if before == after:
        return
    wider = (before, after) in _WIDER
    yield Change(
        _COMPATIBLE if wider else _BREAKING,
        where,
        "type",
        before,
        after,
        "all that was right stays right" if wider else "values that were right may be refused",
    )


def _domain(where: str, old: Field, new: Field) -> Iterator[Change]:
    before, after = old.declared, new.declared
    for what, narrower in (
        ("min", _above(after.min, before.min)),
        ("max", _above(_minus(after.max), _minus(before.max))),
        ("enum", _fewer(after.enum, before.enum)),
        ("pattern", after.pattern is not None),
        ("integral", bool(after.integral)),
    ):
        if getattr(before, what) != getattr(after, what):
            yield Change(
                _BREAKING if narrower else _COMPATIBLE,
                where,
                f"declared.{what}",
                getattr(before, what),
                getattr(after, what),
                "values that were right are refused" if narrower else "more values are right",
            )


def _above(new: float | None, old: float | None) -> bool:
    return new is not None and (old is None or new > old)


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _fewer(new: list[str] | None, old: list[str] | None) -> bool:
    return new is not None and (old is None or not set(old) <= set(new))


def _observed(where: str, old: Field, new: Field) -> Iterator[Change]:
    before, after = old.observed, new.observed
    if not before.n or not after.n:
        return
    why = "training saw other data"
    if abs(before.null_rate - after.null_rate) > _SMALL:
        yield Change(_INFO, where, "observed.null_rate", before.null_rate, after.null_rate, why)
    for what in ("min", "max"):
        low, high = getattr(before, what), getattr(after, what)
        if low != high and _far(low, high, before.min, before.max):
            yield Change(_INFO, where, f"observed.{what}", low, high, why)
    for what in ("grid", "case"):
        if getattr(before, what) != getattr(after, what):
            yield Change(
                _INFO, where, f"observed.{what}", getattr(before, what), getattr(after, what), why
            )
    if before.values is not None and after.values is not None and not before.hashed:
        gone = sorted(set(before.values) - set(after.values))
        come = sorted(set(after.values) - set(before.values))
        if gone or come:
            yield Change(
                _INFO,
                where,
                "observed.values",
                gone[:_SHOWN],
                come[:_SHOWN],
                f"{len(come)} categories are new to the model, {len(gone)} are not known any more",
            )


def _far(one: Any, other: Any, low: Any, high: Any) -> bool:
    """True unless two bounds are within a hundredth of the old span."""
    numbers = [each for each in (one, other, low, high) if isinstance(each, float)]
    return len(numbers) < 4 or abs(numbers[0] - numbers[1]) > _SMALL * (numbers[3] - numbers[2])


def _outputs(old: Contract, new: Contract) -> Iterator[Change]:
    before, after = old.outputs, new.outputs
    for what, severity, why in (
        ("kind", _BREAKING, "answers are of another kind"),
        ("method", _BREAKING, "answers are of another kind"),
        ("names", _BREAKING, "answers have other names"),
        ("classes", _BREAKING, "a class has another label or place"),
        ("column", _BREAKING, "another column of the score counts"),
        ("threshold", _COMPATIBLE, "the same score may be decided otherwise"),
        ("calibration", _COMPATIBLE, "the same score stands for another probability"),
    ):
        if getattr(before, what) != getattr(after, what):
            if "other" in (before.kind, after.kind) and what not in ("method", "names"):
                severity = _INFO  # of one of them nobody knows
            yield Change(
                severity, "outputs", what, getattr(before, what), getattr(after, what), why
            )


def _model(old: Contract, new: Contract) -> Iterator[Change]:
    if old.origin != new.origin:
        yield Change(
            _INFO,
            "contract",
            "origin",
            old.origin.value,
            new.origin.value,
            "a derived contract promises less",
        )
    for what in ("code", "parameters"):
        before, after = getattr(old.model, what), getattr(new.model, what)
        changed = sorted(k for k in {*before, *after} if before.get(k) != after.get(k))
        if changed:
            yield Change(
                _INFO, "model", what, None, changed[:_SHOWN], "the model itself is another"
            )
    if old.training.fingerprint != new.training.fingerprint:
        yield Change(
            _INFO,
            "training",
            "data",
            old.training.rows,
            new.training.rows,
            "it learned from other rows",
        )
    metrics = {each.name: each for each in old.metrics}
    for each in new.metrics:
        then = metrics.get(each.name)
        if then is not None and abs(then.offline - each.offline) > 1e-9:
            yield Change(
                _INFO, "metrics", each.name, then.offline, each.offline, "as measured offline"
            )
    if old.model.rows_independent and new.model.rows_independent is False:
        yield Change(
            _COMPATIBLE,
            "model",
            "rows_independent",
            True,
            False,
            "rows sent together change each other's answers",
        )


def _environment(old: Lock, new: Lock) -> Iterator[Change]:
    if old.python != new.python:
        yield Change(_INFO, "environment", "python", old.python, new.python, "of the training")
    names: Iterable[str] = sorted({*old.distributions, *new.distributions})
    for name in names:
        before, after = old.distributions.get(name), new.distributions.get(name)
        one, two = (each.version if each else None for each in (before, after))
        # What only one of two different kinds of lock lists says nothing.
        if one != two and (old.source == new.source or (one and two)):
            yield Change(_INFO, "environment", name, one, two, "of the training")


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)
