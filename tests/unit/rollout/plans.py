"""The small plans that are walked; together they take every edge of the table."""

from serinus.rollout.parse import parse_spec
from serinus.rollout.spec import RolloutSpec

_COMMON: dict[str, object] = {
    "candidate": "models:/m/2",
    "step": {"min_duration": "30s", "timeout": "2m", "warmup": "10s"},
    "guardrails": [{"error_rate": {}}, {"predictions": {}}],
    "rollback": {"keep_warm": "10m"},
}
_TWO = [{"set_weight": "5%"}, {"pause": {}}, {"set_weight": "50%"}]


def _plan(**keys: object) -> RolloutSpec:
    return parse_spec(_COMMON | keys)


def _self_test(**keys: object) -> RolloutSpec:
    common = {key: value for key, value in _COMMON.items() if key != "candidate"}
    return parse_spec(common | {"self_test": True} | keys)


PLANS: dict[str, RolloutSpec] = {
    "canary": _plan(steps=_TWO, registry_alias="champion"),
    "canary-bake": _plan(
        steps=[
            {"pause": {}},
            {"shadow": {"until": {"requests": 10}}},
            {"set_weight": "20%"},
            {"pause": {"for": "30s"}},
        ],
        bake={"holdback": "5%", "for": "30s"},
        registry_alias="champion",
    ),
    "control": _plan(steps=[{"set_weight": "5%"}, {"set_weight": "60%"}], control=True),
    "by-time": _plan(steps=_TWO, guardrails=[], advance={"after": "30s"}),
    "no-regression": _plan(
        steps=[{"set_weight": "10%"}],
        advance="when-no-regression",
        on={"invalid": "rollback", "no_data": "rollback"},
    ),
    "impatient": _plan(
        steps=[{"set_weight": "10%"}], on={"undecided": "rollback", "no_data": "advance"}
    ),
    "blue-green": _plan(strategy="blue-green", registry_alias="champion"),
    "blue-green-approve": _plan(
        strategy="blue-green", cutover="approve", preview={"for": "30s"}, bake={"for": "30s"}
    ),
    "diagnosed": _plan(steps=[{"set_weight": "10%"}], bake={"holdback": "5%", "for": "30s"}),
    "self-test": _self_test(steps=_TWO),
    "shadow": _plan(
        strategy="shadow",
        steps=[{"shadow": {"percent": 50, "until": {"requests": 10, "duration": "30s"}}}],
    ),
}
