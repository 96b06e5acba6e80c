"""Reads the steps of a rollout spec and checks that they make sense one after the other. Pure."""

from serinus.entities import WHOLE
from serinus.errors import InvalidParameterValue
from serinus.rollout.amount import read_duration, read_share, show_percent
from serinus.rollout.fields import Fields, items, read_count, single
from serinus.rollout.spec import (
    RolloutSpec,
    Step,
    StepKind,
    Strategy,
    default_steps,
    full_bp,
)

__all__ = ["check_steps", "read_steps"]

_ALLOWED = {
    Strategy.CANARY: (StepKind.SHADOW, StepKind.SET_WEIGHT, StepKind.PAUSE),
    Strategy.BLUE_GREEN: (StepKind.SHADOW, StepKind.PAUSE),
    Strategy.SHADOW: (StepKind.SHADOW,),
}


def read_steps(value: object, path: str) -> tuple[Step, ...]:
    """Steps such as ``{shadow: …}``, ``{set_weight: 5%}``, ``{pause: {for: 10m}}``."""
    return tuple(_step(each, where) for each, where in items(value, path))


def _step(value: object, path: str) -> Step:
    name, inner = single(value, path, tuple(kind.value for kind in StepKind))
    where = f"{path}.{name}"
    match StepKind(name):
        case StepKind.SET_WEIGHT:
            return Step(StepKind.SET_WEIGHT, weight_bp=read_share(inner, where))
        case StepKind.PAUSE:
            fields = Fields(inner, where, ("for",))
            return Step(StepKind.PAUSE, for_s=fields.read("for", _spell, None))
        case StepKind.SHADOW:
            return _shadow(inner, where)


def _shadow(value: object, path: str) -> Step:
    default = default_steps(Strategy.SHADOW)[0]
    fields = Fields(value, path, ("percent", "until"))
    share = fields.read("percent", _percent, default.shadow_bp)
    if not share:
        raise InvalidParameterValue(f"{fields.at('percent')} is 0%; write 100% to copy them all.")
    if "until" not in fields:
        return Step(StepKind.SHADOW, shadow_bp=share, requests=default.requests)
    until = Fields(fields.raw("until"), fields.at("until"), ("requests", "duration"))
    requests = until.read("requests", _count, None)
    spell = until.read("duration", _spell, None)
    if requests is None and spell is None:
        raise InvalidParameterValue(
            f"{until.path} says no end; write {{requests: 2000}} or {{duration: 10m}}."
        )
    return Step(StepKind.SHADOW, shadow_bp=share, requests=requests, for_s=spell)


def _percent(value: object, path: str) -> int:
    """A field called percent means percent, so here a bare number is one."""
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    return read_share(f"{value}%" if plain else value, path)


def _count(value: object, path: str) -> int | None:
    return read_count(value, path)


def _spell(value: object, path: str) -> float | None:
    spell = read_duration(value, path)
    if not spell:
        raise InvalidParameterValue(f"{path} is no time at all; write it like 10m or leave it out.")
    return spell


def check_steps(spec: RolloutSpec, path: str) -> None:
    """Raise InvalidParameterValue unless the steps fit the strategy and rise."""
    for index, step in enumerate(spec.steps):
        if step.kind not in _ALLOWED[spec.strategy]:
            kinds = " and ".join(kind.value for kind in _ALLOWED[spec.strategy])
            raise InvalidParameterValue(
                f"{path}[{index}].{step.kind.value} does not fit strategy {spec.strategy.value}, "
                f"whose steps are {kinds}."
            )
    if spec.strategy is Strategy.SHADOW and not spec.steps:
        raise InvalidParameterValue(f"{path} is empty; leave it out to shadow 2000 requests.")
    _check_shadow_first(spec, path)
    if spec.strategy is Strategy.CANARY:
        _check_weights(spec, path)


def _check_shadow_first(spec: RolloutSpec, path: str) -> None:
    weighted = False
    for index, step in enumerate(spec.steps):
        weighted = weighted or step.kind is StepKind.SET_WEIGHT
        if step.kind is StepKind.SHADOW and weighted:
            raise InvalidParameterValue(
                f"{path}[{index}].shadow comes after a set_weight; shadow before any user is "
                "exposed, so move it to the front."
            )


def _check_weights(spec: RolloutSpec, path: str) -> None:
    full, before = full_bp(spec), 0
    for index, step in enumerate(spec.steps):
        if step.kind is not StepKind.SET_WEIGHT:
            continue
        where = f"{path}[{index}].set_weight"
        said = show_percent(step.weight_bp)
        if step.weight_bp <= before:
            least = show_percent(before)
            raise InvalidParameterValue(
                f"{where} is {said}, but weights rise from step to step; write more than {least}."
            )
        before = step.weight_bp
        if step.weight_bp == WHOLE and index == len(spec.steps) - 1:
            continue  # said for clarity: every canary ends there
        if step.weight_bp >= full:
            raise InvalidParameterValue(
                f"{where} is {said}; below the last step write less than {show_percent(full)}"
                f"{', what bake.holdback leaves' if full < WHOLE else ''}."
            )
    if not any(0 < step.weight_bp < WHOLE for step in spec.steps):
        raise InvalidParameterValue(
            f"{path} has no set_weight below 100%; add one such as 5%, "
            "or use strategy: blue-green to move everybody at once."
        )
