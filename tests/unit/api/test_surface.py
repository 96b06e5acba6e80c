"""The rest of the serving-endpoints calls: tags, gateway settings, metrics, stop, history, logs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from serinus.api.app import create_app
from serinus.api.signature_schema import body_schema
from serinus.entities import Deployment, ModelRef
from serinus.evidence.meter import Meter, Vitals
from serinus.replica.card import Card, Column, ColumnType, Tensor
from tests.unit.api.conftest import AT

OURS = "/api/serinus/v1/endpoints/fraud"
TWO = {"entity_name": "a.fraud", "entity_version": "2"}


def good(reply: Any) -> dict[str, Any]:
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def refused(reply: Any, status: int, words: str) -> None:
    assert reply.status_code == status, reply.text
    assert words in reply.json()["message"]


def test_tags_are_set_replaced_deleted_and_sorted(api):
    api.create()
    add = {"add_tags": [{"key": "team", "value": "risk"}, {"key": "a"}]}
    assert good(api("PATCH", "fraud/tags", add)) == {
        "tags": [{"key": "a", "value": ""}, {"key": "team", "value": "risk"}]
    }
    change = {"add_tags": [{"key": "team", "value": "ops"}], "delete_tags": ["a", "team", "nope"]}
    assert good(api("PATCH", "fraud/tags", change)) == {"tags": [{"key": "team", "value": "ops"}]}
    assert good(api("GET", "fraud"))["tags"] == [{"key": "team", "value": "ops"}]
    entry = api.store.last_entry(api.store.endpoint("fraud").id, "tags_changed")
    assert entry.data == {"set": ["team"], "deleted": ["a", "nope"]}
    refused(api("PATCH", "fraud/tags", {"add_tag": []}), 400, "did you mean 'add_tags'?")
    refused(api("PATCH", "fraud/tags", {"add_tags": [{"value": "x"}]}), 400, "add_tags[0].key")
    many = [{"key": f"k{number}", "value": ""} for number in range(256)]
    refused(api("PATCH", "fraud/tags", {"add_tags": many}), 400, "would have 257 tags")
    refused(api("PATCH", "nope/tags", {}), 404, "'nope' does not exist")


def test_gateway_settings_are_replaced_whole_and_shown(api):
    api.create()
    table = {"catalog_name": "main", "schema_name": "logs", "enabled": True}
    wanted = {"inference_table_config": table, "usage_tracking_config": {"enabled": True}}
    assert good(api("PUT", "fraud/ai-gateway", wanted)) == wanted
    assert good(api("GET", "fraud"))["ai_gateway"] == wanted
    only = {"usage_tracking_config": {"enabled": False}, "fallback_config": {"enabled": False}}
    kept = {"usage_tracking_config": {"enabled": False}}
    assert good(api("PUT", "fraud/ai-gateway", only)) == kept
    assert good(api("GET", "fraud"))["ai_gateway"] == kept
    for name, value in (
        ("fallback_config", {"enabled": True}),
        ("guardrails", {"input": {"safety": True}}),
    ):
        refused(api("PUT", "fraud/ai-gateway", {name: value}), 501, name)
    assert good(api("GET", "fraud"))["ai_gateway"] == kept


def test_who_is_told_by_mail_is_kept_and_the_reply_says_that_no_mail_is_sent(api):
    api.create()
    mail = {"on_update_success": ["a@b.c"], "on_update_failure": []}
    reply = api("PATCH", "fraud/notifications", {"email_notifications": mail})
    assert good(reply) == {"name": "fraud", "email_notifications": mail}
    assert "No mail is sent" in reply.headers["x-serinus-note"]
    assert good(api("GET", "fraud"))["email_notifications"] == mail
    good(api("PUT", "fraud/ai-gateway", {}))
    assert good(api("GET", "fraud"))["email_notifications"] == mail


def test_a_create_may_say_all_of_it(api):
    wanted = {
        "ai_gateway": {"usage_tracking_config": {"enabled": True}},
        "email_notifications": {"on_update_failure": ["a@b.c"]},
        "budget_policy_id": "b-1",
        "tags": [{"key": "z", "value": "1"}, {"key": "a", "value": "2"}],
    }
    body = {"name": "e", "config": {"served_entities": [TWO]}, **wanted}
    made = good(api("POST", "", body))
    assert {key: made[key] for key in wanted if key != "tags"} == {
        key: value for key, value in wanted.items() if key != "tags"
    }
    assert [tag["key"] for tag in made["tags"]] == ["a", "z"]
    other = {**body, "name": "f", "telemetry_config": {"table_names": {"logs_table": "x"}}}
    refused(api("POST", "", other), 501, "telemetry_config")


def _with(api: Any, **options: Any) -> None:
    api.app = create_app(
        api.store,
        wake=lambda: api.woken.append(None),
        replica_logs=lambda endpoint_id, served: api.replica_logs(endpoint_id, served),
        clock=lambda: AT,
        new_id=lambda: "0" * 32,
        workspace_id="1",
        **options,
    )


def test_metrics_are_text_of_the_last_minute(api):
    minute = Meter("fraud", "")
    minute.count(200, 0.004, 1_000)
    minute.count(200, 0.3, 290_000)
    minute.count(500, 700.0)
    minute.refuse(429)
    _with(api, vitals=lambda endpoint: Vitals(minute, 2, 12.5, None))
    api.create()
    reply = api("GET", "fraud/metrics")
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain")
    lines = reply.text.splitlines()
    at = int(AT.timestamp() * 1000)
    for sample in (
        'request_count_total{endpoint_name="fraud"} 4',
        'request_4xx_count_total{endpoint_name="fraud"} 1',
        'request_5xx_count_total{endpoint_name="fraud"} 1',
        'cpu_usage_percentage{endpoint_name="fraud"} 12.5',
        'provisioned_concurrent_requests_total{endpoint_name="fraud"} 2',
        'request_latency_ms_bucket{endpoint_name="fraud",le="5"} 1',
        'request_latency_ms_bucket{endpoint_name="fraud",le="500"} 2',
        'request_latency_ms_bucket{endpoint_name="fraud",le="600000"} 2',
        'request_latency_ms_bucket{endpoint_name="fraud",le="+Inf"} 3',
        'request_latency_ms_count{endpoint_name="fraud"} 3',
        'model_prediction_latency_ms_sum{endpoint_name="fraud"} 291.000',
        'model_queue_time_ms_count{endpoint_name="fraud"} 2',
    ):
        assert f"{sample} {at}" in lines
    assert "# TYPE request_latency_ms histogram" in lines
    assert "mem_usage_percentage" not in reply.text


def test_a_stopped_endpoint_is_not_ready_and_starts_as_a_new_version(api):
    api.create()
    refused(api("POST", "fraud/config:stop"), 409, "currently updating")
    api.activate()
    del api.woken[:]
    for _ in range(2):  # a call that is sent twice means the same
        stopped = good(api("POST", "fraud/config:stop"))
        assert stopped["state"] == {
            "ready": "NOT_READY",
            "config_update": "NOT_UPDATING",
            "suspend": "STOPPED",
        }
        assert stopped["config"]["config_version"] == 1
    assert len(api.woken) == 2
    refused(api("PUT", "fraud/config", {"served_entities": [TWO]}), 400, "Start it first")
    wanted = {"candidate": "models:/a.fraud/2"}
    refused(api("POST", f"{OURS}/rollouts", wanted), 400, "Start it first")
    assert [each["status"] for each in good(api("GET", f"{OURS}/configs"))["configs"]] == [
        "stopped"
    ]
    for _ in range(2):
        started = good(api("POST", "fraud/config:start"))
        # Nobody is there yet to answer.
        assert started["state"] == {"ready": "NOT_READY", "config_update": "IN_PROGRESS"}
        assert started["pending_config"]["config_version"] == 2
    api.activate()
    assert good(api("GET", "fraud"))["state"] == {"ready": "READY", "config_update": "NOT_UPDATING"}


def test_the_history_shows_every_config_with_what_became_of_it(api):
    api.create()
    api.activate()
    good(api("PUT", "fraud/config", {"served_entities": [TWO]}))
    endpoint = api.store.endpoint("fraud")
    api.store.fail(endpoint.id, 2, "no", AT)
    good(api("PUT", "fraud/config", {"served_entities": [TWO]}))
    api.activate()
    good(api("PUT", "fraud/config", {"served_entities": [{**TWO, "replicas": 2}]}))
    page = good(api("GET", f"{OURS}/configs?limit=3"))
    assert [(each["config_version"], each["status"]) for each in page["configs"]] == [
        (4, "pending"),
        (3, "active"),
        (2, "failed"),
    ]
    last = good(api("GET", f"{OURS}/configs?limit=3&before={page['next']}"))
    assert [(each["config_version"], each["status"]) for each in last["configs"]] == [(1, "past")]
    assert last["next"] is None
    one = good(api("GET", f"{OURS}/configs/2"))
    assert one == page["configs"][2]
    assert one["served_entities"][0]["entity_version"] == "2"
    assert one["created_at"] == "2026-03-01T12:00:00Z"
    refused(api("GET", f"{OURS}/configs/9"), 404, "no config version 9")


def test_logs_come_in_pages_from_the_end_and_of_a_config(api):
    api.create()
    endpoint = api.store.endpoint("fraud")
    entity = endpoint.pending.entities[0]
    built = replace(entity, build_log="0123456789", deployment=Deployment.READY)
    model = ModelRef("d" * 64, "models:/a", "models:/a")
    api.store.save_entity(endpoint.id, 1, replace(built, model=model))
    path = "fraud/served-models/fraud-1"
    assert good(api("GET", f"{path}/build-logs")) == {"logs": "0123456789"}
    pages, before = [], ""
    while before is not None:
        found = good(api("GET", f"{path}/build-logs?limit=4{before and f'&before={before}'}"))
        pages.append(found["logs"])
        before = found["next"]
    assert pages == ["6789", "2345", "01"]
    api.activate()
    assert good(api("GET", f"{path}/logs?config_version=1"))["logs"] == f"{endpoint.id} fraud-1"
    refused(api("GET", f"{path}/logs?config_version=7"), 404, "no such config version")
    # The next config serves other bytes under that name: what runs now is not what was asked for.
    good(api("PUT", "fraud/config", {"served_entities": [{**TWO, "name": "fraud-1"}]}))
    api.activate()
    assert good(api("GET", f"{path}/logs?config_version=1"))["logs"] == ""
    assert good(api("GET", f"{path}/logs?config_version=2"))["logs"] != ""


MODEL = """
flavors: {python_function: {loader_module: x}}
signature:
  inputs: '[{"name": "distance", "type": "double", "required": true},
    {"name": "day", "type": "datetime", "required": false}]'
  params: '[{"name": "limit", "type": "long", "default": 3, "shape": null}]'
"""


def test_the_document_of_an_endpoint_says_what_may_be_sent(api, tmp_path: Path):
    (tmp_path / "MLmodel").write_text(MODEL)
    _with(api, model_directory=lambda digest: tmp_path)
    api.create()
    endpoint = api.store.endpoint("fraud")
    entity = replace(
        endpoint.pending.entities[0], model=ModelRef("d" * 64, "models:/a", "models:/a")
    )
    api.store.save_entity(endpoint.id, 1, entity)
    api.activate()
    reply = api("GET", "fraud/openapi")
    assert reply.headers["content-type"].startswith("text/plain")
    document = json.loads(reply.text)
    assert (document["openapi"], document["info"]["title"]) == ("3.1.0", "fraud")
    assert document["servers"] == [{"url": "http://me:8080"}]
    path = "/serving-endpoints/fraud"
    assert set(document["paths"]) == {
        f"{path}/invocations",
        f"{path}/served-models/fraud-1/invocations",
    }
    body = document["paths"][f"{path}/invocations"]["post"]["requestBody"]["content"]
    forms = {each["required"][0]: each for each in body["application/json"]["schema"]["oneOf"]}
    assert set(forms) == {"dataframe_records", "dataframe_split", "instances", "inputs"}
    row = forms["dataframe_records"]["properties"]["dataframe_records"]["items"]
    assert row["required"] == ["distance"]
    assert row["properties"]["day"] == {"type": ["string", "null"], "format": "date-time"}
    params = forms["inputs"]["properties"]["params"]["properties"]
    assert params["limit"]["default"] == 3


def card(**facts: Any) -> Card:
    return Card(Path(), {}, {}, facts.pop("columns", ()), False, False, None, **facts)


def form(schema: dict[str, Any], name: str) -> Any:
    [found] = [each for each in schema["oneOf"] if each["required"] == [name]]
    return found["properties"][name]


def test_signatures_of_tensors_of_nested_types_and_of_nothing():
    pixels = body_schema(card(tensors=(Tensor(None, "uint8", (-1, 2)),)))
    assert form(pixels, "inputs") == {
        "type": "array",
        "items": {
            "type": "array",
            "items": {"type": "integer"},
            "minItems": 2,
            "maxItems": 2,
        },
    }
    named = body_schema(card(tensors=(Tensor("x", "float32", (-1,)), Tensor("y", "bool", (-1,)))))
    assert form(named, "instances")["items"]["properties"]["y"] == {"type": "boolean"}
    nested = {
        "type": "object",
        "properties": {
            "tags": {"type": "array", "items": {"type": "string"}},
            "counts": {"type": "map", "values": {"type": "long"}, "required": False},
        },
    }
    columns = (Column("who", ColumnType.NESTED, nested=nested),)
    who = form(body_schema(card(columns=columns)), "dataframe_records")["items"]["properties"]
    assert who["who"]["required"] == ["tags"]
    assert who["who"]["properties"]["counts"]["additionalProperties"]["type"] == "integer"
    for unknown in (None, card()):
        assert form(body_schema(unknown), "inputs") == {"type": ["object", "array"]}


def test_an_update_to_what_serves_already_may_be_left_out(api):
    config = {"served_entities": [{**TWO, "environment_vars": {"A": "1"}}]}
    api.create("fraud", **config)
    again = "fraud/config?unless_same=true"
    assert good(api("PUT", again, config))["pending_config"]["config_version"] == 1
    api.activate()
    assert good(api("PUT", again, config))["config"]["config_version"] == 1
    refused(api("PUT", again, {"served_entities": []}), 400, "served_entities")
    other = {"served_entities": [{**TWO, "environment_vars": {"A": "2"}}]}
    assert good(api("PUT", again, other))["pending_config"]["config_version"] == 2
    # What failed is tried again.
    api.store.fail(api.store.endpoint("fraud").id, 2, "no", AT)
    assert good(api("PUT", again, other))["pending_config"]["config_version"] == 3
