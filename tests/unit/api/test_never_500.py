"""Whatever a client sends, the answer is one of ours: never a 500, never another shape."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serinus.api.schemas import (
    ConfigInput,
    CreateEndpoint,
    RouteInput,
    ServedInput,
    Tag,
    TrafficInput,
)

# Field names, their slips, and arbitrary text with half surrogates.
NAMES = st.sampled_from(
    [
        name
        for model in (CreateEndpoint, ConfigInput, ServedInput, TrafficInput, RouteInput, Tag)
        for name in model.model_fields
    ]
    + ["served_entites", "entity_nam", "entity_name\ud800", "model_name", "model_version"]
)
TEXT = st.text(st.characters(), max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXT
    | st.sampled_from(
        ["m", "1", "m-1", "models:/m@a", "/a", "\ud800", "\0", "50", "{{secrets/a/b}}"]
    )
    | st.integers(0, 100)
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | TEXT, inner, max_size=4),
    max_leaves=12,
)
ENTITY = st.fixed_dictionaries(
    {"entity_name": st.sampled_from(["m", "a.m", "models:/m/1"]) | ANYTHING},
    optional={"entity_version": SCALARS, "environment_vars": ANYTHING, "replicas": SCALARS},
)
CONFIG = st.fixed_dictionaries(
    {"served_entities": st.lists(ENTITY, max_size=3) | ANYTHING},
    optional={
        "traffic_config": ANYTHING,
        "auto_capture_config": st.dictionaries(NAMES, ANYTHING, max_size=2),
    },
)
BODY = ANYTHING | st.fixed_dictionaries(
    {"name": st.just("e") | TEXT, "config": CONFIG | ANYTHING},
    optional={"description": TEXT, "tags": ANYTHING},
)
EXAMPLES = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def accepted(reply: Any) -> bool:
    body = reply.json()
    assert reply.status_code in {200, 400, 404, 405, 409, 415, 501}, reply.text
    if reply.status_code == 200:
        return True
    assert set(body) == {"error_code", "message", "details"}
    assert body["message"]
    return False


@EXAMPLES
@given(BODY)
def test_create(api, body):
    if accepted(api("POST", "", {} if body is None else body)):
        (endpoint,) = api.store.endpoints()
        assert api("GET", endpoint.name).status_code == 200
        assert api("DELETE", endpoint.name).json() == {}
        api.store.purge(endpoint.id)


@EXAMPLES
@given(CONFIG | ANYTHING)
def test_update(api, body):
    if not api.store.endpoints():
        api.create("e")
        api.activate("e")
    if accepted(api("PUT", "e/config", {} if body is None else body)):
        assert api("GET", "e").status_code == 200
        # A repeat of the update before makes nothing that could be activated.
        if api.store.endpoint("e").pending is not None:
            api.activate("e")


@EXAMPLES
@given(st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]), st.text(max_size=20))
def test_paths(api, method, path):
    from urllib.parse import quote

    reply = api(method, "/api/2.0/serving-endpoints/" + quote(path.encode("utf-8", "replace")))
    if reply.status_code != 200:
        accepted(reply)


SPEC_NAMES = st.sampled_from(
    [
        *("candidate", "candidat", "strategy", "steps", "unit", "advance", "step", "control"),
        *("guardrails", "confidence", "on", "bake", "rollback", "notify", "preview", "cutover"),
        *("registry_alias", "set_weight", "pause", "shadow", "percent", "until", "for", "header"),
        *("timeout", "min_duration", "latency", "error_rate", "predictions", "after", "webhook"),
    ]
)
SPEC_SCALARS = SCALARS | st.sampled_from(
    [
        "5%",
        "0.1%",
        "1e400",
        "10m",
        "9999999999d",
        "1s",
        "canary",
        "blue-green",
        "shadow",
        "when-safe",
        "0s",
    ]
)
SPEC_ANYTHING = st.recursive(
    SPEC_SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(SPEC_NAMES | TEXT, inner, max_size=4)
    ),
    max_leaves=10,
)
SPEC = SPEC_ANYTHING | st.fixed_dictionaries(
    {"candidate": st.sampled_from(["models:/m/2", "/a", "runs:/a/b", "m", "models:/"]) | SCALARS},
    optional=dict.fromkeys(
        ["steps", "unit", "bake", "guardrails", "step", "advance", "notify", "on", "rollback"],
        SPEC_ANYTHING,
    ),
)
OURS = "/api/serinus/v1/endpoints/e"


@EXAMPLES
@given(SPEC)
def test_start_a_rollout(rolling, body):
    rolling.deaf = True
    if accepted(rolling("POST", f"{OURS}/rollouts", {} if body is None else body)):
        found = rolling.now()
        assert rolling("GET", f"{OURS}/rollouts/{found['id']}/evidence").status_code == 200
        rolling.deaf = False
        accepted(rolling("POST", f"{OURS}/rollouts/current/abort"))
        rolling.world.pass_time(1)
        assert rolling.now()["phase"] == "ROLLED_BACK"


@EXAMPLES
@given(st.fixed_dictionaries({}, optional={"rollout": SPEC_ANYTHING}) | SPEC_ANYTHING)
def test_set_a_policy(rolling, body):
    rolling.deaf = True
    if accepted(rolling("PUT", f"{OURS}/policy", {} if body is None else body)):
        policy = rolling.good("GET", "policy")
        assert rolling.good("PUT", "policy", policy) == policy


@EXAMPLES
@given(
    st.sampled_from(["promote", "pause", "resume", "approve", "abort", "retry", "undo"]), ANYTHING
)
def test_verbs(rolling, verb, body):
    path = "undo" if verb == "undo" else f"rollouts/current/{verb}"
    accepted(rolling("POST", f"{OURS}/{path}", body))
    accepted(rolling("GET", f"{OURS}/rollouts/{verb}"))
