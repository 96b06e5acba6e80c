"""Reads a rollout spec from a decoded YAML or JSON mapping. Pure: files and URIs are the caller's.

Every refusal is one sentence that names the field and the nearest thing that would do.
"""

import re
from collections.abc import Mapping

from serinus.entities import Optimize
from serinus.errors import InvalidParameterValue
from serinus.rollout.amount import read_duration, read_fraction, read_share
from serinus.rollout.fields import (
    Fields,
    items,
    one_of,
    read_bool,
    read_count,
    read_text,
    single,
)
from serinus.rollout.guardrail import read_guardrails
from serinus.rollout.spec import (
    Advance,
    AdvanceRule,
    Bake,
    Confidence,
    Cutover,
    Moment,
    OnSilence,
    Preview,
    RollbackRule,
    RolloutSpec,
    Silence,
    StepLimits,
    Strategy,
    Webhook,
    default_guardrails,
    default_steps,
)
from serinus.rollout.steps import check_steps, read_steps
from serinus.traffic import Unit, UnitKind

__all__ = ["parse_spec"]

_KEYS = (
    "kind",
    "endpoint",
    "candidate",
    "optimize",
    "unit",
    "strategy",
    "steps",
    "preview",
    "cutover",
    "advance",
    "step",
    "control",
    "guardrails",
    "confidence",
    "on",
    "bake",
    "rollback",
    "notify",
    "registry_alias",
    "self_test",
)
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_URL = re.compile(r"https?://[^\s/]+\S*")


def parse_spec(mapping: object, *, path: str = "") -> RolloutSpec:
    """The spec that ``mapping`` asks for; raises InvalidParameterValue naming the field.

    ``path`` goes before every field name, for a spec inside a larger document.
    """
    fields = Fields(mapping, path, _KEYS)
    if fields.raw("kind") not in (None, "Rollout"):
        raise InvalidParameterValue(
            f"{fields.at('kind')} is {fields.raw('kind')!r}; a rollout's kind is Rollout."
        )
    self_test = fields.read("self_test", read_bool, False)
    if self_test:
        _check_self_test(fields)
    elif "candidate" not in fields:
        raise InvalidParameterValue(
            f"{fields.at('candidate')} is missing; write a model URI such as models:/my-model/2."
        )
    strategy = fields.read("strategy", one_of(Strategy), Strategy.CANARY)
    _check_strategy_keys(fields, strategy)
    spec = RolloutSpec(
        candidate=fields.read("candidate", read_text, ""),
        optimize=fields.read("optimize", one_of(Optimize), None),
        endpoint=fields.read("endpoint", read_text, ""),
        unit=fields.read("unit", _unit, Unit()),
        strategy=strategy,
        steps=fields.read("steps", read_steps, default_steps(strategy)),
        preview=fields.read("preview", _preview, Preview()),
        cutover=fields.read("cutover", one_of(Cutover), Cutover.AUTO),
        advance=fields.read("advance", _advance, Advance()),
        step=fields.read("step", _limits, StepLimits()),
        control=fields.read("control", read_bool, False),
        guardrails=fields.read("guardrails", read_guardrails, default_guardrails()),
        confidence=fields.read("confidence", _confidence, Confidence()),
        on=fields.read("on", _silence, Silence()),
        bake=_bake(fields, strategy),
        rollback=fields.read("rollback", _rollback, RollbackRule()),
        notify=fields.read("notify", _notify, ()),
        registry_alias=fields.read("registry_alias", _alias, ""),
        self_test=self_test,
    )
    check_steps(spec, fields.at("steps"))
    return spec


def _check_self_test(fields: Fields) -> None:
    """A self-test compares stable with itself and never ends at 100 %."""
    for key in ("candidate", "optimize", "bake", "registry_alias"):
        if fields.raw(key):
            raise InvalidParameterValue(
                f"{fields.at(key)} does not go with self_test: stable is compared with itself, and "
                "nothing takes its place; leave it out."
            )
    if fields.raw("strategy") not in (None, Strategy.CANARY.value):
        raise InvalidParameterValue(
            f"{fields.at('strategy')} is {fields.raw('strategy')!r}; a self-test tries the gate of "
            "a canary, so leave it out."
        )


def _check_strategy_keys(fields: Fields, strategy: Strategy) -> None:
    only = {"preview": Strategy.BLUE_GREEN, "cutover": Strategy.BLUE_GREEN}
    for key, owner in only.items():
        if key in fields and strategy is not owner:
            raise InvalidParameterValue(
                f"{fields.at(key)} belongs to strategy {owner.value}; this one is "
                f"{strategy.value}, so leave it out or write strategy: {owner.value}."
            )
    if fields.raw("control") is True and strategy is not Strategy.CANARY:
        raise InvalidParameterValue(
            f"{fields.at('control')} is for strategy canary; {strategy.value} has no split "
            "to compare in, so leave it out."
        )


def _unit(value: object, path: str) -> Unit:
    if value == UnitKind.REQUEST.value:
        return Unit()
    if isinstance(value, str) or not isinstance(value, Mapping):
        raise InvalidParameterValue(
            f"{path} is {value!r}; write request, or {{header: x-user-id}}, {{cookie: session}} "
            "or {json_path: context.user_id}."
        )
    kinds = tuple(kind.value for kind in UnitKind if kind is not UnitKind.REQUEST)
    name, key = single(value, path, kinds)
    kind, text = UnitKind(name), read_text(key, f"{path}.{name}")
    good = all(text.split(".")) if kind is UnitKind.JSON_PATH else _HEADER.fullmatch(text)
    if not good:
        like = "context.user_id" if kind is UnitKind.JSON_PATH else "x-user-id"
        raise InvalidParameterValue(f"{path}.{name} is {text!r}; write it like {like}.")
    return Unit(kind, text.lower() if kind is UnitKind.HEADER else text)


def _advance(value: object, path: str) -> Advance:
    if isinstance(value, Mapping):
        _, after = single(value, path, ("after",))
        return Advance(AdvanceRule.AFTER, read_duration(after, f"{path}.after"))
    if value == AdvanceRule.AFTER.value:
        raise InvalidParameterValue(f"{path} says after, but not how long; write {{after: 10m}}.")
    return Advance(one_of(AdvanceRule)(value, path))


def _preview(value: object, path: str) -> Preview:
    fields = Fields(value, path, ("for",))
    return Preview(fields.read("for", read_duration, Preview().for_s))


def _limits(value: object, path: str) -> StepLimits:
    default = StepLimits()
    fields = Fields(value, path, ("min_duration", "timeout", "warmup"))
    limits = StepLimits(
        min_duration_s=fields.read("min_duration", read_duration, default.min_duration_s),
        timeout_s=fields.read("timeout", read_duration, default.timeout_s),
        warmup_s=fields.read("warmup", read_duration, default.warmup_s),
    )
    least = max(limits.min_duration_s, limits.warmup_s)
    if limits.timeout_s <= least:
        raise InvalidParameterValue(
            f"{fields.at('timeout')} must be longer than min_duration and warmup "
            f"(more than {least:g}s); it is {limits.timeout_s:g}s."
        )
    return limits


def _confidence(value: object, path: str) -> Confidence:
    default = Confidence()
    fields = Fields(value, path, ("false_rollback", "false_promote"))
    return Confidence(
        false_rollback=fields.read("false_rollback", _chance, default.false_rollback),
        false_promote=fields.read("false_promote", _chance, default.false_promote),
    )


def _chance(value: object, path: str) -> float:
    chance = read_fraction(value, path)
    if not 0 < chance < 0.5:
        raise InvalidParameterValue(
            f"{path} is {value}; a chance of being wrong lies above 0% and below 50%, such as 1%."
        )
    return chance


def _silence(value: object, path: str) -> Silence:
    fields = Fields(value, path, ("undecided", "no_data", "invalid", "diagnosis"))
    silence = Silence(
        undecided=fields.read("undecided", one_of(OnSilence), OnSilence.HOLD),
        no_data=fields.read("no_data", one_of(OnSilence), OnSilence.HOLD),
        invalid=fields.read("invalid", one_of(OnSilence), OnSilence.HOLD),
        diagnosis=fields.read("diagnosis", one_of(OnSilence), OnSilence.HOLD),
    )
    if silence.diagnosis is OnSilence.ROLLBACK:
        raise InvalidParameterValue(
            f"{fields.at('diagnosis')} cannot be rollback: a fault that is found may be a client's "
            "or stable's too; write hold or advance (abort goes back by hand)."
        )
    for name, choice in (("undecided", silence.undecided), ("invalid", silence.invalid)):
        if choice is OnSilence.ADVANCE:
            raise InvalidParameterValue(
                f"{fields.at(name)} cannot be advance: that would call an open question safe; "
                "write hold or rollback (promote overrides by hand)."
            )
    return silence


def _bake(fields: Fields, strategy: Strategy) -> Bake | None:
    value, path = fields.raw("bake"), fields.at("bake")
    if "bake" not in fields or value is None or value is False:
        return None
    at_once = strategy is Strategy.BLUE_GREEN
    default = Bake(holdback_bp=0) if at_once else Bake()
    inner = Fields(value, path, ("holdback", "for"))
    bake = Bake(
        holdback_bp=inner.read("holdback", read_share, default.holdback_bp),
        for_s=inner.read("for", read_duration, default.for_s),
    )
    if at_once and bake.holdback_bp:
        raise InvalidParameterValue(
            f"{inner.at('holdback')} must be 0% with strategy blue-green, which moves everybody "
            "at once; use canary to hold some back."
        )
    if bake.holdback_bp >= 5_000:
        raise InvalidParameterValue(
            f"{inner.at('holdback')} must be below 50%, such as 5%; after 100% most requests go "
            "to the candidate."
        )
    return bake


def _rollback(value: object, path: str) -> RollbackRule:
    default = RollbackRule()
    fields = Fields(value, path, ("keep_warm", "keep_revisions"))
    return RollbackRule(
        keep_warm_s=fields.read("keep_warm", read_duration, default.keep_warm_s),
        keep_revisions=fields.read("keep_revisions", read_count, default.keep_revisions),
    )


def _notify(value: object, path: str) -> tuple[Webhook, ...]:
    return tuple(_webhook(each, where) for each, where in items(value, path))


def _webhook(value: object, path: str) -> Webhook:
    fields = Fields(value, path, ("webhook", "on"))
    url = read_text(fields.raw("webhook"), fields.at("webhook"))
    if not _URL.fullmatch(url):
        raise InvalidParameterValue(
            f"{fields.at('webhook')} is {url!r}; write an address that starts with https://."
        )
    return Webhook(url, fields.read("on", _moments, tuple(Moment)))


def _moments(value: object, path: str) -> tuple[Moment, ...]:
    return tuple(one_of(Moment)(each, where) for each, where in items(value, path))


def _alias(value: object, path: str) -> str:
    alias = read_text(value, path)
    if not re.fullmatch(r"[\w-]+", alias) or re.fullmatch(r"v\d+|latest", alias.lower()):
        raise InvalidParameterValue(
            f"{path} is {alias!r}, which the registry does not take as an alias; "
            "write a word such as champion."
        )
    return alias
