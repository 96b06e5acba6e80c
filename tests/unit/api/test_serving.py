"""What the serving-endpoints calls store and what they reply."""

from dataclasses import replace

import pytest
from sqlalchemy import event

from serinus.entities import WHOLE, ConfigUpdate, Optimize, Reading

ONE = {"entity_name": "a.fraud", "entity_version": "1"}
TWO = {"entity_name": "a.fraud", "entity_version": "2"}
MILLIS = 1_772_366_400_000


def split(first: object, second: object) -> dict[str, object]:
    return {
        "routes": [
            {"served_entity_name": "fraud-1", "traffic_percentage": first},
            {"served_model_name": "fraud-2", "traffic_percentage": second},
        ]
    }


def test_how_requests_are_read_is_kept_and_shown(api):
    reply = api.create(served_entities=[{**ONE, "intake": "mlflow"}])
    assert reply["pending_config"]["served_entities"][0]["intake"] == "mlflow"
    assert api.store.endpoint("fraud").pending.entities[0].intake is Reading.MLFLOW


def test_what_a_model_is_to_be_converted_into_is_kept_and_shown(api):
    reply = api.create(served_entities=[{**ONE, "optimize": "onnx"}])
    entity = reply["pending_config"]["served_entities"][0]
    assert (entity["optimize"], entity["state"]["form"]) == ("onnx", "")
    assert api.store.endpoint("fraud").pending.entities[0].optimize is Optimize.ONNX


def test_a_new_endpoint_is_pending_in_the_words_of_the_clients(api):
    entity = {
        "name": "fraud-1",
        "replicas": 1,
        "intake": "strict",
        "optimize": "none",
        "workload_size": "Small",
        "state": {
            "deployment": "DEPLOYMENT_CREATING",
            "deployment_state_message": "",
            "form": "",
            "form_reason": "",
        },
        "creator": "anonymous",
        "creation_timestamp": MILLIS,
    }
    reply = api.create(served_entities=[{**ONE, "workload_size": "Small"}])
    assert reply == {
        "name": "fraud",
        "id": f"{1:032x}",
        "creator": "anonymous",
        "creation_timestamp": MILLIS,
        "last_updated_timestamp": MILLIS,
        "state": {"ready": "NOT_READY", "config_update": "IN_PROGRESS"},
        "permission_level": "CAN_MANAGE",
        "route_optimized": False,
        "endpoint_url": "http://me:8080/serving-endpoints/fraud/invocations",
        "description": "",
        "tags": [],
        "pending_config": {
            "start_time": MILLIS,
            "config_version": 1,
            "served_entities": [{**entity, "entity_name": "a.fraud", "entity_version": "1"}],
            "served_models": [{**entity, "model_name": "a.fraud", "model_version": "1"}],
            "traffic_config": {
                "routes": [
                    {
                        "served_model_name": "fraud-1",
                        "served_entity_name": "fraud-1",
                        "traffic_percentage": 100,
                    }
                ]
            },
        },
    }
    assert api("GET", "fraud").json() == reply
    assert api("GET").json() == api("GET", "/api/2.0/serving-endpoints/").json()
    assert api("GET").json() == {"endpoints": [reply]}
    assert len(api.woken) == 1


def test_the_list_of_nothing_has_its_key(api):
    assert api("GET").json() == {"endpoints": []}


def test_a_config_that_was_activated_is_the_config(api):
    pending = api.create()["pending_config"]
    api.activate()
    reply = api("GET", "fraud").json()
    del pending["start_time"]
    assert reply["config"] == pending
    assert "pending_config" not in reply
    assert reply["state"] == {"ready": "READY", "config_update": "NOT_UPDATING"}


@pytest.mark.parametrize("shares", [(90, 10), ("90", " 10 "), (90.0, "10")])
def test_percentages_become_basis_points(api, shares):
    api.create(served_entities=[ONE, TWO], traffic_config=split(*shares))
    assert api.store.endpoint("fraud").pending.weights == {"fraud-1": 9_000, "fraud-2": 1_000}


def test_an_entity_without_a_route_gets_no_traffic(api):
    routes = [{"served_entity_name": "fraud-2", "traffic_percentage": 100}]
    api.create(served_entities=[ONE, TWO], traffic_config={"routes": routes})
    assert api.store.endpoint("fraud").pending.weights == {"fraud-1": 0, "fraud-2": WHOLE}
    shown = api("GET", "fraud").json()["pending_config"]["traffic_config"]["routes"]
    assert [each["traffic_percentage"] for each in shown] == [0, 100]


@pytest.mark.parametrize("empty", [None, {}, {"routes": []}])
def test_one_entity_needs_no_split(api, empty):
    api.create(served_entities=[ONE], traffic_config=empty)
    assert api.store.endpoint("fraud").pending.weights == {"fraud-1": WHOLE}


def test_the_older_form_is_read_like_the_newer(api):
    model = {"model_name": "a.fraud", "model_version": "1", "scale_to_zero_enabled": True}
    api.create("old", served_models=[{**model, "workload_size": "Small"}])
    entity = api.store.endpoint("old").pending.entities[0]
    assert (entity.entity_name, entity.entity_version) == ("a.fraud", "1")
    assert entity.echo == {"workload_size": "Small", "scale_to_zero_enabled": True}


def test_a_version_may_be_a_number_and_a_uri_needs_none(api):
    api.create(
        served_entities=[
            {"entity_name": "m", "entity_version": 7, "replicas": 3},
            {"entity_name": "models:/m@champion", "name": "mine"},
        ],
        traffic_config={"routes": [{"served_entity_name": "mine", "traffic_percentage": 100}]},
    )
    first, second = api.store.endpoint("fraud").pending.entities
    assert (first.name, first.model_uri, first.replicas) == ("m-7", "models:/m/7", 3)
    assert (second.name, second.model_uri) == ("mine", "models:/m@champion")


def test_plain_values_of_variables_are_kept_and_never_shown(api):
    reference = "{{secrets/a/b}}"
    variables = {"PASSWORD": "s3cr3t", "MIXED": "s3cr3t{{x}}", "REFERENCE": reference}
    api.create(served_entities=[{**ONE, "environment_vars": variables}])
    assert api.store.endpoint("fraud").pending.entities[0].environment_vars == variables
    reply = api("GET", "fraud")
    assert "s3cr3t" not in reply.text
    shown = reply.json()["pending_config"]["served_entities"][0]["environment_vars"]
    assert shown == {"PASSWORD": "***", "MIXED": "***", "REFERENCE": reference}
    assert "s3cr3t" not in api("GET").text


def test_what_serinus_does_not_know_is_ignored(api):
    body = {
        "name": "fraud",
        "config": {"served_entities": [{**ONE, "colour": "yellow"}], "shape": "round"},
        "tags": [{"key": "team", "value": "risk"}, {"key": "a"}],
        "description": "who",
        "route_optimized": True,
        "budget_policy_id": "x",
        "email_notifications": {"on_update_success": []},
    }
    reply = api("POST", "", body).json()
    assert reply["tags"] == [{"key": "a", "value": ""}, {"key": "team", "value": "risk"}]
    assert (reply["description"], reply["route_optimized"]) == ("who", True)


def test_a_taken_name_is_refused(api):
    api.create()
    api.woken.clear()
    again = api("POST", "", {"name": "fraud", "config": {"served_entities": [TWO]}})
    assert (again.status_code, again.json()["error_code"]) == (409, "RESOURCE_ALREADY_EXISTS")
    assert "fraud already exists" in again.json()["message"]
    assert api.woken == []


def test_an_update_replaces_the_config_when_it_is_ready(api):
    api.create(served_entities=[ONE], auto_capture_config={"catalog_name": "c", "x": 1})
    api.activate()
    reply = api("PUT", "fraud/config", {"served_entities": [TWO]})
    assert reply.status_code == 200
    body = reply.json()
    assert body["state"] == {"ready": "READY", "config_update": "IN_PROGRESS"}
    assert body["config"]["served_entities"][0]["name"] == "fraud-1"
    pending = body["pending_config"]
    assert (pending["config_version"], pending["served_entities"][0]["name"]) == (2, "fraud-2")
    # The one field that an update keeps when it leaves it out.
    assert pending["auto_capture_config"] == {"catalog_name": "c"}
    assert len(api.woken) == 2


def test_an_update_during_an_update_is_refused(api):
    api.create()
    api.woken.clear()
    reply = api("PUT", "fraud/config", {"served_entities": [TWO]})
    assert (reply.status_code, reply.json()["error_code"]) == (409, "RESOURCE_CONFLICT")
    assert "Endpoint fraud is currently updating. Wait" in reply.json()["message"]
    assert api.woken == []


def test_an_update_that_leaves_out_what_it_serves_is_told_why_it_can_not(api):
    api.create()
    api.activate()
    reply = api("PUT", "fraud/config", {"traffic_config": split(50, 50)})
    assert reply.status_code == 400
    assert "also when an update changes only the traffic" in reply.json()["message"]


def test_a_failed_update_is_flipped_away_by_the_next_one_before_it_replies(api):
    api.create()
    api.activate()
    api("PUT", "fraud/config", {"served_entities": [TWO]})
    endpoint = api.store.endpoint("fraud")
    api.store.fail(endpoint.id, 2, "no such model", endpoint.updated_at)
    failed = api("GET", "fraud").json()
    assert failed["state"] == {"ready": "READY", "config_update": "UPDATE_FAILED"}
    assert "no such model" in str(failed["pending_config"]["served_entities"][0]["state"])
    again = api("PUT", "fraud/config", {"served_entities": [TWO]}).json()
    assert again["state"]["config_update"] == "IN_PROGRESS"
    assert again["pending_config"]["config_version"] == 3


def test_deleting_replies_an_object_and_frees_the_name(api):
    api.create()
    reply = api("DELETE", "fraud")
    assert (reply.status_code, reply.json()) == (200, {})
    assert api("GET", "fraud").status_code == 404
    assert api("DELETE", "fraud").status_code == 404
    api.create()
    assert api.store.endpoint("fraud").update is ConfigUpdate.IN_PROGRESS
    assert len(api.woken) == 3


def test_wishes_are_in_the_journal(api):
    id_ = api.create()["id"]
    api.activate()
    api("PUT", "fraud/config", {"served_entities": [TWO]})
    api("PUT", "fraud/config", {"served_entities": [TWO]})
    api("DELETE", "fraud")
    entries = api.store.journal(id_)
    assert [each.kind for each in entries] == [
        "endpoint_created",
        "config_requested",
        "endpoint_deleted",
    ]
    assert {each.actor for each in entries} == {"anonymous"}


def test_logs_are_asked_of_the_replicas_and_build_logs_of_the_store(api):
    id_ = api.create()["id"]
    entity = api.store.endpoint("fraud").pending.entities[0]
    api.store.save_entity(id_, 1, replace(entity, build_log="resolved\n"))
    logs = "fraud/served-models/fraud-1"
    assert api("GET", f"{logs}/logs").json() == {"logs": f"{id_} fraud-1"}
    assert api("GET", f"{logs}/build-logs").json() == {"logs": "resolved\n"}
    api.activate()
    api("PUT", "fraud/config", {"served_entities": [{**ONE, "replicas": 2}]})
    assert api("GET", f"{logs}/build-logs").json() == {"logs": ""}
    earlier = api("GET", f"{logs}/build-logs", params={"config_version": "1"})
    assert earlier.json() == {"logs": "resolved\n"}
    for version, status in (("9", 404), ("0", 400), ("x", 400), ("9" * 30, 400)):
        reply = api("GET", f"{logs}/build-logs", params={"config_version": version})
        assert reply.status_code == status, version


def test_discovery_names_the_host_that_was_asked_and_no_other(api):
    reply = api("GET", "/.well-known/databricks-config")
    assert reply.json() == {
        "oidc_endpoint": "http://me:8080/oidc",
        "workspace_id": "4711",
        "account_id": "00000000-0000-0000-0000-000000000001",
        "cloud": "AWS",
    }
    for host, base in (("[::1]:80", "http://[::1]:80"), ("a/b@c", "http://localhost"), ("", "")):
        reply = api("GET", "/.well-known/databricks-config", headers={"host": host})
        assert reply.json()["oidc_endpoint"] == f"{base or 'http://localhost'}/oidc"


def test_the_openapi_document_promises_our_errors_and_not_the_frameworks(api):
    document = api("GET", "/api/serinus/v1/openapi.json").json()
    theirs = {path for path in document["paths"] if path.startswith("/api/2.0/serving")}
    endpoint = "/api/2.0/serving-endpoints/{name}"
    assert theirs >= {
        "/api/2.0/serving-endpoints",
        endpoint,
        *(f"{endpoint}/{each}" for each in ("config", "tags", "ai-gateway", "notifications")),
        *(f"{endpoint}/{each}" for each in ("metrics", "openapi", "config:stop", "config:start")),
        *(f"{endpoint}/served-models/{{served}}/{each}" for each in ("logs", "build-logs")),
    }
    assert "HTTPValidationError" not in str(document)
    for path in document["paths"].values():
        for call in path.values():
            assert set(call["responses"]) == {"200", "default"}


def test_a_store_that_is_locked_is_a_503_to_be_tried_again(api):
    api.create()
    api.activate()
    api.store._database._busy_timeout_s = 0.05
    with api.store._database.write():
        reply = api("PUT", "fraud/config", {"served_entities": [TWO]})
    assert (reply.status_code, reply.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert reply.headers["retry-after"] == "1"
    assert api("PUT", "fraud/config", {"served_entities": [TWO]}).status_code == 200


def test_listing_many_endpoints_asks_the_store_no_more_often_than_listing_one(api):
    statements: list[str] = []

    @event.listens_for(api.store._database._engine, "before_cursor_execute")
    def note(_connection, _cursor, statement, *_rest):
        statements.append(statement)

    asked = []
    for number in range(30):
        api.create(f"e{number}", served_entities=[ONE, TWO], traffic_config=split(90, 10))
        statements.clear()
        assert len(api("GET").json()["endpoints"]) == number + 1
        asked.append(len(statements))
    assert asked[0] == asked[-1] > 0


def test_a_name_that_postgresql_can_not_keep_is_no_fault_of_ours(api):
    for reply in (api("GET", "e%00"), api("GET", "e", params={"name": "a\0"})):
        assert reply.status_code in (400, 404), reply.text
