"""Every bad request gets the right code, the right status and a sentence that helps."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from serinus.api.edge import BODY_LIMIT

#: None of them gets as far as the store, so one kind of it will do.
pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)

ONE: dict[str, Any] = {"entity_name": "m", "entity_version": "1"}
TWO: dict[str, Any] = {"entity_name": "m", "entity_version": "2"}
INVALID = (400, "INVALID_PARAMETER_VALUE")


def create(*served: object, name: object = "e", **config: object) -> dict[str, object]:
    return {"name": name, "config": {"served_entities": list(served), **config}}


def split(*shares: object) -> dict[str, object]:
    """Two entities and these percentages for m-1 and m-2."""
    routes = [
        {"served_entity_name": f"m-{number}", "traffic_percentage": share}
        for number, share in enumerate(shares, 1)
    ]
    return create(ONE, TWO, traffic_config={"routes": routes})


def routes(*each: dict[str, object]) -> dict[str, object]:
    return create(ONE, traffic_config={"routes": list(each)})


BAD_BODIES: dict[str, tuple[object, tuple[int, str], tuple[str, ...]]] = {
    # Not an endpoint at all.
    "no JSON": (b"{", INVALID, ("not JSON",)),
    "not UTF-8": (b'{"name": "\xff"}', INVALID, ("JSON",)),
    "nested deeply": (b"[" * 100_000, INVALID, ("JSON",)),
    "a list": ([], INVALID, ("must be a JSON object",)),
    "a number": (b"1", INVALID, ("must be a JSON object",)),
    "null": (b"null", INVALID, ("body",)),
    "empty object": ({}, INVALID, ("name: is missing", "config: is missing")),
    "too large": (b" " * (BODY_LIMIT + 1), (413, "INVALID_PARAMETER_VALUE"), ("1048576 bytes",)),
    "config is a list": ({"name": "e", "config": []}, INVALID, ("config: must be a JSON object",)),
    "NUL": (
        create({**ONE, "environment_vars": {"A": "b\0"}}),
        INVALID,
        ("environment_vars.A", "NUL"),
    ),
    "half a surrogate": (
        b'{"name": "e", "config": {}, "description": "\\ud800"}',
        INVALID,
        ("description",),
    ),
    "half a surrogate in a field": (
        create({"entity_name": "m", "entity_versio\ud800": "1"}),
        INVALID,
        ("entity_versio\\ud800", "did you mean 'entity_version'?"),
    ),
    "half a surrogate in a key": (
        create({**ONE, "environment_vars": {"\ud800": "1"}}),
        INVALID,
        ("environment_vars",),
    ),
    # Names.
    "name with ../": (create(ONE, name="../x"), INVALID, ("'../x'", "letters, digits, hyphens")),
    "name with a slash": (create(ONE, name="a/b"), INVALID, ("'a/b'",)),
    "empty name": (create(ONE, name=""), INVALID, ("endpoint name", "letters")),
    "long name": (create(ONE, name="x" * 64), INVALID, ("1 to 63",)),
    "name with a newline": (create(ONE, name="a\n"), INVALID, ("endpoint name",)),
    "name is a number": (create(ONE, name=5), INVALID, ("name: input should be a valid string",)),
    "reserved": (create(ONE, name="databricks-x"), INVALID, ("'databricks-x'", "reserved")),
    "served name with ../": (create({**ONE, "name": "../x"}), INVALID, ("served entity name",)),
    # What is served.
    "nothing served": (create(), INVALID, ("served_entities is missing or empty",)),
    "served null": ({"name": "e", "config": {}}, INVALID, ("served_entities is missing",)),
    "both forms": (
        create(ONE, served_models=[ONE]),
        INVALID,
        ("served_entities or served_models", "not both"),
    ),
    "served twice": (create(ONE, ONE), INVALID, ("'m-1'", "more than one")),
    "no entity_name": (create({"name": "a"}), INVALID, ("entity_name is missing",)),
    "no version": (
        create({"entity_name": "m"}),
        INVALID,
        ("'m' needs an entity_version", "models:/m@alias"),
    ),
    "odd version": (
        create({"entity_name": "m", "entity_version": "1/../2"}),
        INVALID,
        ("entity_version '1/../2'",),
    ),
    "URI and version": (
        create({"entity_name": "models:/m@a", "entity_version": "1"}),
        INVALID,
        ("'models:/m@a'", "leave out entity_version"),
    ),
    "relative path": (create({"entity_name": "a/b"}), INVALID, ("'a/b'", "absolute path")),
    "path with ..": (create({"entity_name": "/a/../b"}), INVALID, ("'/a/../b'", "'..'")),
    "external model": (
        create({"name": "x", "external_model": {"name": "y"}}),
        (501, "NOT_IMPLEMENTED"),
        ("external models",),
    ),
    "no replicas": (
        create({**ONE, "replicas": 0}),
        INVALID,
        ("config.served_entities[0].replicas", "greater than or equal to 1"),
    ),
    "65 replicas": (create({**ONE, "replicas": 65}), INVALID, ("replicas", "64")),
    "a third way to read": (create({**ONE, "intake": "lax"}), INVALID, ("intake", "strict")),
    "half a replica": (create({**ONE, "replicas": 1.5}), INVALID, ("replicas", "integer")),
    "odd variable": (create({**ONE, "environment_vars": {"A=B": "c"}}), INVALID, ("A=B",)),
    "masked variable": (
        create({**ONE, "environment_vars": {"KEY": "***"}}),
        INVALID,
        ("environment_vars: the value of KEY", "Send the value itself"),
    ),
    # The split.
    "99": (split(49, 50), INVALID, ("sum", "must be 100", "it is 99")),
    "101": (split(51, 50), INVALID, ("sum", "must be 100", "it is 101")),
    "one route of 101": (split(101, 0), INVALID, ("routes[0].traffic_percentage", "sum", "101")),
    "-1": (split(-1, 101), INVALID, ("routes[0].traffic_percentage", "0 to 100", "sum", "-1")),
    "ten": (split("ten", 90), INVALID, ("routes[0].traffic_percentage", "sum", 'it is "ten"')),
    "a half": (split(0.5, 99.5), INVALID, ("whole number", "0.5")),
    "true": (split(True, 99), INVALID, ("whole number", "it is true")),
    "null percent": (split(None, 100), INVALID, ("whole number", "it is null")),
    "NaN percent": (
        json.dumps(split(float("nan"), 100)).encode(),
        INVALID,
        ("whole number", "it is NaN"),
    ),
    "huge percent": (split(10**30, 100), INVALID, ("whole number", "1000000")),
    "huge text": (split("9" * 5000, 100), INVALID, ("whole number",)),
    "no percent": (routes({"served_entity_name": "m-1"}), INVALID, ("traffic_percentage",)),
    "two entities, no split": (
        create(ONE, TWO),
        INVALID,
        ("traffic_config is missing", "m-1, m-2"),
    ),
    "unknown target": (
        routes({"served_model_name": "m-9", "traffic_percentage": 100}),
        INVALID,
        ("'m-9', which is not served", "Served entities: m-1"),
    ),
    "target of two names": (
        routes({"served_model_name": "a", "served_entity_name": "b", "traffic_percentage": 100}),
        INVALID,
        ("served_entity_name and served_model_name of one route differ",),
    ),
    "no target": (routes({"traffic_percentage": 100}), INVALID, ("a route names nothing",)),
    "target twice": (
        routes(*({"served_entity_name": "m-1", "traffic_percentage": 50} for _ in "ab")),
        INVALID,
        ("two routes name 'm-1'",),
    ),
    # Slips of the pen.
    "served_entites": (
        {"name": "e", "config": {"served_entites": [ONE]}},
        INVALID,
        ("config: unknown field 'served_entites', did you mean 'served_entities'?",),
    ),
    "entity_versoin": (
        create({"entity_name": "m", "entity_versoin": "1"}),
        INVALID,
        ("config.served_entities[0]", "'entity_versoin'", "'entity_version'?"),
    ),
    "trafic_config": (
        create(ONE, TWO, trafic_config={}),
        INVALID,
        ("'trafic_config', did you mean 'traffic_config'?",),
    ),
    "traffic_percent": (
        routes({"served_entity_name": "m-1", "traffic_percent": 100}),
        INVALID,
        ("'traffic_percent', did you mean 'traffic_percentage'?",),
    ),
    "a rate limit without its period": (
        {**create(ONE), "rate_limits": [{"calls": 1}]},
        INVALID,
        ("rate_limits[0].renewal_period: is missing",),
    ),
    "a rate limit of less than nothing": (
        {**create(ONE), "rate_limits": [{"calls": -1, "renewal_period": "minute"}]},
        INVALID,
        ("rate_limits[0].calls",),
    ),
    "a rate limit for a user that is none": (
        {
            **create(ONE),
            "rate_limits": [
                {"calls": 1, "renewal_period": "minute", "key": "endpoint", "principal": "ann"}
            ],
        },
        INVALID,
        ("principal",),
    ),
    "a rate limit of tokens": (
        {**create(ONE), "rate_limits": [{"tokens": 9, "renewal_period": "minute"}]},
        (501, "NOT_IMPLEMENTED"),
        ("rate_limits", "language models"),
    ),
    "a rate limit of a group": (
        {
            **create(ONE),
            "rate_limits": [{"calls": 9, "renewal_period": "minute", "key": "user_group"}],
        },
        (501, "NOT_IMPLEMENTED"),
        ("user_group",),
    ),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_bad_body_is_refused_with_words_that_help(api, case):
    body, (status, code), words = BAD_BODIES[case]
    reply = api("POST", "", body)
    assert (reply.status_code, reply.json()["error_code"]) == (status, code), reply.text
    assert set(reply.json()) == {"error_code", "message", "details"}
    message = reply.json()["message"]
    for word in words:
        assert word in message
    assert len(message) < 1_000
    assert "Unexpected error" not in message
    assert api.store.endpoints() == ()
    assert api.woken == []


@pytest.mark.parametrize(
    "case", [case for case, (_, _, words) in BAD_BODIES.items() if "config" in "".join(words)]
)
def test_an_update_is_refused_alike_and_changes_nothing(api, case):
    api.create("e")
    api.activate("e")
    before = api.store.endpoint("e")
    api.woken.clear()
    body, (status, code), _ = BAD_BODIES[case]
    config = body.get("config", {}) if isinstance(body, dict) else body
    reply = api("PUT", "e/config", config)
    assert (reply.status_code, reply.json()["error_code"]) == (status, code), reply.text
    assert api.store.endpoint("e") == before
    assert api.woken == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_that_a_web_page_could_post_is_refused(api, content_type):
    body = json.dumps(create(ONE)).encode()
    headers = {"content-type": content_type} if content_type else {"x": "y"}
    reply = api("POST", "", body, headers=headers)
    assert (reply.status_code, reply.json()["error_code"]) == (415, "BAD_REQUEST")
    assert "Content-Type: application/json" in reply.json()["message"]
    assert api.store.endpoints() == ()


def test_the_fields_that_were_refused_are_listed_for_programs(api):
    reply = api("POST", "", create({**ONE, "replicas": 0}, name=5))
    (detail,) = reply.json()["details"]
    assert detail["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    assert [each["field"] for each in detail["field_violations"]] == [
        "name",
        "config.served_entities[0].replicas",
    ]


def test_a_secret_in_a_bad_request_is_not_repeated(api):
    body = create({**ONE, "environment_vars": {"KEY": {"s3cr3t": "s3cr3t"}}, "replicas": "s3cr3t"})
    reply = api("POST", "", body)
    assert reply.status_code == 400
    assert "s3cr3t" not in reply.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "words"),
    [
        ("GET", "/", 404, "RESOURCE_DOES_NOT_EXIST", "There is no GET /."),
        ("GET", "/docs", 404, "RESOURCE_DOES_NOT_EXIST", "/docs"),
        ("GET", "/api/2.0/clusters/list", 404, "RESOURCE_DOES_NOT_EXIST", "clusters"),
        ("GET", "fraud/unheard-of", 404, "RESOURCE_DOES_NOT_EXIST", "unheard-of"),
        (
            "GET",
            "nope",
            404,
            "RESOURCE_DOES_NOT_EXIST",
            "Endpoint with name 'nope' does not exist.",
        ),
        ("DELETE", "nope", 404, "RESOURCE_DOES_NOT_EXIST", "'nope' does not exist."),
        ("GET", "..%2f..%2fetc", 404, "RESOURCE_DOES_NOT_EXIST", ""),
        ("GET", "nope/served-models/x/logs", 404, "RESOURCE_DOES_NOT_EXIST", "'nope'"),
        ("GET", "fraud/served-models/x/logs", 404, "RESOURCE_DOES_NOT_EXIST", "It has: fraud-1"),
        ("GET", "fraud/served-models/x/build-logs", 404, "RESOURCE_DOES_NOT_EXIST", "'x'"),
        ("DELETE", "", 405, "BAD_REQUEST", "this path answers GET, POST."),
        ("POST", "fraud", 405, "BAD_REQUEST", "this path answers DELETE, GET."),
        ("GET", "fraud/config", 405, "BAD_REQUEST", "this path answers PUT."),
        ("PATCH", "fraud/telemetry-config", 501, "NOT_IMPLEMENTED", "scrape GET"),
        ("POST", "pt", 501, "NOT_IMPLEMENTED", "Provisioned throughput"),
        ("PUT", "pt/x/config", 501, "NOT_IMPLEMENTED", "give its served entities replicas"),
        ("POST", "/api/2.0/external-function", 501, "NOT_IMPLEMENTED", "External functions"),
        ("GET", "fraud/metrics", 503, "TEMPORARILY_UNAVAILABLE", "Nothing is counted"),
        ("GET", "fraud/openapi", 400, "INVALID_STATE", "serves nothing yet"),
        ("POST", "fraud/config:stop", 409, "RESOURCE_CONFLICT", "currently updating"),
        ("GET", "nope/metrics", 404, "RESOURCE_DOES_NOT_EXIST", "'nope'"),
    ],
)
def test_what_is_not_there_says_so_in_the_shape_that_clients_read(
    api, method, path, status, code, words
):
    api.create()
    reply = api(method, path)
    assert (reply.status_code, reply.json()["error_code"]) == (status, code), reply.text
    assert words in reply.json()["message"]
    if status == 405:
        assert reply.headers["allow"] in reply.json()["message"]


def test_a_fault_of_ours_can_be_found_in_the_log(api):
    api.create()

    def crash(endpoint_id: str, served: str) -> str:
        raise RuntimeError("s3cr3t internals")

    api.replica_logs = crash
    with capture_logs() as events:
        reply = api("GET", "fraud/served-models/fraud-1/logs")
    assert (reply.status_code, reply.json()["error_code"]) == (500, "INTERNAL_ERROR")
    message = reply.json()["message"]
    assert "s3cr3t" not in message
    assert "Unexpected error" not in message
    incident = message.split()[-1].rstrip(".")
    assert len(incident) == 32
    (event,) = events
    assert (event["event"], event["incident"]) == ("api_request_failed", incident)
    assert str(event["exc_info"]) == "s3cr3t internals"
