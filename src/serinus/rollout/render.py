"""Writes a rollout spec as the mapping that `serinus.rollout.parse` reads back. Pure."""

from collections.abc import Mapping

from serinus.rollout.amount import show_duration, show_fraction, show_percent
from serinus.rollout.spec import (
    AdvanceRule,
    Guardrail,
    GuardrailKind,
    RolloutSpec,
    Step,
    StepKind,
    Strategy,
)
from serinus.traffic import Unit, UnitKind

__all__ = ["to_mapping"]


def to_mapping(spec: RolloutSpec) -> dict[str, object]:
    """The whole spec with every default written out, ready for YAML or JSON."""
    written: dict[str, object] = {"kind": "Rollout"}
    if spec.endpoint:
        written["endpoint"] = spec.endpoint
    # The candidate of a self-test is what serves, and is not asked for.
    written |= {"self_test": True} if spec.self_test else {"candidate": spec.candidate}
    if spec.optimize is not None:
        written["optimize"] = spec.optimize.value
    written |= {
        "unit": _unit(spec.unit),
        "strategy": spec.strategy.value,
        "steps": [_step(step) for step in spec.steps],
    }
    if spec.strategy is Strategy.BLUE_GREEN:
        written["preview"] = {"for": show_duration(spec.preview.for_s)}
        written["cutover"] = spec.cutover.value
    written |= {
        "advance": _advance(spec),
        "step": {
            "min_duration": show_duration(spec.step.min_duration_s),
            "timeout": show_duration(spec.step.timeout_s),
            "warmup": show_duration(spec.step.warmup_s),
        },
        "control": spec.control,
        "guardrails": [{each.kind.value: _guardrail(each)} for each in spec.guardrails],
        "confidence": {
            "false_rollback": show_fraction(spec.confidence.false_rollback),
            "false_promote": show_fraction(spec.confidence.false_promote),
        },
        "on": {
            "undecided": spec.on.undecided.value,
            "no_data": spec.on.no_data.value,
            "invalid": spec.on.invalid.value,
            "diagnosis": spec.on.diagnosis.value,
        },
        **_after(spec),
    }
    return written


def _after(spec: RolloutSpec) -> Mapping[str, object]:
    written: dict[str, object] = {}
    if spec.bake is not None:
        written["bake"] = {
            "holdback": show_percent(spec.bake.holdback_bp),
            "for": show_duration(spec.bake.for_s),
        }
    written["rollback"] = {
        "keep_warm": show_duration(spec.rollback.keep_warm_s),
        "keep_revisions": spec.rollback.keep_revisions,
    }
    written["notify"] = [
        {"webhook": each.url, "on": [moment.value for moment in each.on]} for each in spec.notify
    ]
    if spec.registry_alias:
        written["registry_alias"] = spec.registry_alias
    return written


def _unit(unit: Unit) -> object:
    return "request" if unit.kind is UnitKind.REQUEST else {unit.kind.value: unit.key}


def _advance(spec: RolloutSpec) -> object:
    if spec.advance.rule is AdvanceRule.AFTER:
        return {"after": show_duration(spec.advance.after_s)}
    return spec.advance.rule.value


def _step(step: Step) -> dict[str, object]:
    match step.kind:
        case StepKind.SET_WEIGHT:
            return {"set_weight": show_percent(step.weight_bp)}
        case StepKind.PAUSE:
            return {"pause": {} if step.for_s is None else {"for": show_duration(step.for_s)}}
        case StepKind.SHADOW:
            until: dict[str, object] = {}
            if step.requests is not None:
                until["requests"] = step.requests
            if step.for_s is not None:
                until["duration"] = show_duration(step.for_s)
            return {"shadow": {"percent": show_percent(step.shadow_bp), "until": until}}


def _guardrail(each: Guardrail) -> dict[str, object]:
    written: dict[str, object]
    match each.kind:
        case GuardrailKind.ERROR_RATE:
            written = {
                "max_increase": show_fraction(each.max_increase),
                "floor": show_fraction(each.floor),
            }
        case GuardrailKind.LATENCY:
            margins = {"p50": each.p50, "p95": each.p95, "p99": each.p99}
            written = {name: show_fraction(m) for name, m in margins.items() if m is not None}
            written["floor"] = show_duration(each.latency_floor_s)
        case GuardrailKind.PREDICTIONS:
            written = {"max_shift": show_fraction(each.max_shift), "tolerance": each.tolerance}
        case GuardrailKind.QUALITY:
            written = {
                "metric": each.metric,
                "max_drop": show_fraction(each.max_drop),
                "label_window": show_duration(each.label_window_s),
                "absent": "zero" if each.absent_is_zero else "missing",
            }
    return written | {"on_fail": each.on_fail.value}
