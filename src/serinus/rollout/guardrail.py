"""Reads the guardrails of a rollout spec. Pure."""

from collections.abc import Callable
from enum import Enum

from serinus.errors import InvalidParameterValue
from serinus.rollout.amount import read_duration, read_fraction
from serinus.rollout.fields import Fields, items, one_of, read_text, single
from serinus.rollout.spec import (
    Guardrail,
    GuardrailKind,
    OnFail,
    default_guardrails,
)

__all__ = ["read_guardrails"]

_KINDS = tuple(kind.value for kind in GuardrailKind)
_PERCENTILES = ("p50", "p95", "p99")


class _Absent(Enum):
    """What a request is whose label did not come in time."""

    MISSING = "missing"
    ZERO = "zero"


def read_guardrails(value: object, path: str) -> tuple[Guardrail, ...]:
    """Guardrails such as ``{error_rate: {max_increase: 50%}}``; an empty list means none at all."""
    read: dict[str, Guardrail] = {}
    for each, where in items(value, path):
        kind, inner = single(each, where, _KINDS)
        guardrail = _READ[GuardrailKind(kind)](inner, f"{where}.{kind}")
        if guardrail.name in read:
            raise InvalidParameterValue(f"{where} asks for {guardrail.name} twice; drop one.")
        read[guardrail.name] = guardrail
    return tuple(read.values())


def _on_fail(fields: Fields, default: OnFail = OnFail.ROLLBACK) -> OnFail:
    return fields.read("on_fail", one_of(OnFail), default)


def _error_rate(value: object, path: str) -> Guardrail:
    default = Guardrail(GuardrailKind.ERROR_RATE)
    fields = Fields(value, path, ("max_increase", "floor", "on_fail"))
    return Guardrail(
        GuardrailKind.ERROR_RATE,
        on_fail=_on_fail(fields),
        max_increase=fields.read("max_increase", _margin, default.max_increase),
        floor=fields.read("floor", _part, default.floor),
    )


def _latency(value: object, path: str) -> Guardrail:
    fields = Fields(value, path, (*_PERCENTILES, "floor", "on_fail"))
    # Naming one percentile means that one; naming none means the three of the default.
    if any(name in fields for name in _PERCENTILES):
        default = Guardrail(GuardrailKind.LATENCY)
    else:
        default = next(g for g in default_guardrails() if g.kind is GuardrailKind.LATENCY)
    return Guardrail(
        GuardrailKind.LATENCY,
        on_fail=_on_fail(fields),
        p50=fields.read("p50", _maybe_margin, default.p50),
        p95=fields.read("p95", _maybe_margin, default.p95),
        p99=fields.read("p99", _maybe_margin, default.p99),
        latency_floor_s=fields.read("floor", read_duration, default.latency_floor_s),
    )


def _predictions(value: object, path: str) -> Guardrail:
    default = Guardrail(GuardrailKind.PREDICTIONS)
    fields = Fields(value, path, ("max_shift", "tolerance", "on_fail"))
    return Guardrail(
        GuardrailKind.PREDICTIONS,
        on_fail=_on_fail(fields, OnFail.HOLD),
        max_shift=fields.read("max_shift", _part, default.max_shift),
        tolerance=fields.read("tolerance", _difference, default.tolerance),
    )


def _quality(value: object, path: str) -> Guardrail:
    default = Guardrail(GuardrailKind.QUALITY)
    fields = Fields(value, path, ("metric", "max_drop", "label_window", "absent", "on_fail"))
    if "metric" not in fields:
        raise InvalidParameterValue(f"{fields.at('metric')} is missing; name one, e.g. accuracy.")
    return Guardrail(
        GuardrailKind.QUALITY,
        on_fail=_on_fail(fields),
        metric=read_text(fields.raw("metric"), fields.at("metric")),
        max_drop=fields.read("max_drop", _part, default.max_drop),
        label_window_s=fields.read("label_window", read_duration, default.label_window_s),
        absent_is_zero=fields.read("absent", one_of(_Absent), _Absent.MISSING) is _Absent.ZERO,
    )


def _margin(value: object, path: str) -> float:
    """A tolerated increase; with none at all no amount of data would ever be a proof."""
    margin = read_fraction(value, path)
    if not margin:
        raise InvalidParameterValue(
            f"{path} is {value}: that nothing at all changed can never be proved; "
            "write a margin such as 10%."
        )
    return margin


def _maybe_margin(value: object, path: str) -> float | None:
    return _margin(value, path)


def _part(value: object, path: str) -> float:
    part = read_fraction(value, path)
    if part > 1:
        raise InvalidParameterValue(f"{path} is {value}; the most is 100%.")
    return part


def _difference(value: object, path: str) -> float:
    """A difference of scores: in the model's own unit, so any number from 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e308:
        raise InvalidParameterValue(f"{path} must be a number from 0, e.g. 1e-6; it is {value!r}.")
    return float(value)


_READ: dict[GuardrailKind, Callable[[object, str], Guardrail]] = {
    GuardrailKind.ERROR_RATE: _error_rate,
    GuardrailKind.LATENCY: _latency,
    GuardrailKind.PREDICTIONS: _predictions,
    GuardrailKind.QUALITY: _quality,
}
