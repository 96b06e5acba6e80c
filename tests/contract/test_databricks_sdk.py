"""The unmodified databricks-sdk against the control API: what it reads, waits for and raises."""

import ast
import inspect
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from databricks.sdk import WorkspaceClient, _base_client
from databricks.sdk.errors import (
    BadRequest,
    InvalidParameterValue,
    InvalidState,
    NotImplemented,  # noqa: A004 - the name that the client gives it
    OperationFailed,
    ResourceAlreadyExists,
    ResourceConflict,
    ResourceDoesNotExist,
)
from databricks.sdk.service.serving import (
    AiGatewayInferenceTableConfig,
    AiGatewayUsageTrackingConfig,
    EmailNotifications,
    EndpointCoreConfigInput,
    EndpointStateConfigUpdate,
    EndpointStateReady,
    EndpointTag,
    FallbackConfig,
    Route,
    ServedEntityInput,
    ServedModelInput,
    ServedModelStateDeployment,
    ServingEndpointDetailed,
    ServingEndpointDetailedPermissionLevel,
    TrafficConfig,
)

from serinus.errors import RETRIED

SHORT = timedelta(seconds=30)


@pytest.fixture
def client(served):
    return WorkspaceClient(host=served.url, token="x")


def model(version: str, name: str = "main.ml.fraud") -> ServedEntityInput:
    return ServedEntityInput(
        entity_name=name,
        entity_version=version,
        workload_size="Small",
        scale_to_zero_enabled=False,
        environment_vars={"KEY": "{{secrets/a/b}}", "PLAIN": "x"},
    )


def split(**shares: int) -> TrafficConfig:
    return TrafficConfig(
        routes=[
            Route(served_entity_name=name.replace("_", "-"), traffic_percentage=share)
            for name, share in shares.items()
        ]
    )


def test_discovery_satisfies_the_client_without_a_warning(served, caplog):
    with caplog.at_level(logging.WARNING):
        client = WorkspaceClient(host=served.url, token="x")
        assert list(client.serving_endpoints.list()) == []
    assert client.config.workspace_id == "4711"
    assert [each.getMessage() for each in caplog.records] == []


def test_create_and_wait_then_every_field_is_read(client, served):
    made = client.serving_endpoints.create_and_wait(
        name="fraud",
        config=EndpointCoreConfigInput(
            "fraud",
            served_entities=[model("1"), model("2")],
            traffic_config=split(fraud_1=90, fraud_2=10),
        ),
        description="who is it",
        tags=[EndpointTag(key="team", value="risk")],
        timeout=SHORT,
    )
    assert made.state.ready is EndpointStateReady.READY
    assert made.state.config_update is EndpointStateConfigUpdate.NOT_UPDATING
    assert made.pending_config is None
    assert made == client.serving_endpoints.get("fraud")

    assert (made.name, made.description) == ("fraud", "who is it")
    assert len(made.id) == 32
    assert int(made.id, 16) >= 0
    assert made.creation_timestamp > 1_700_000_000_000
    assert made.last_updated_timestamp >= made.creation_timestamp
    assert made.permission_level is ServingEndpointDetailedPermissionLevel.CAN_MANAGE
    assert made.endpoint_url == f"{served.url}/serving-endpoints/fraud/invocations"
    assert [(tag.key, tag.value) for tag in made.tags] == [("team", "risk")]

    config = made.config
    assert config.config_version == 1
    assert [
        (route.served_entity_name, route.served_model_name, route.traffic_percentage)
        for route in config.traffic_config.routes
    ] == [("fraud-1", "fraud-1", 90), ("fraud-2", "fraud-2", 10)]
    first, second = config.served_entities
    assert (first.name, first.entity_name, first.entity_version) == (
        "fraud-1",
        "main.ml.fraud",
        "1",
    )
    assert second.name == "fraud-2"
    assert first.state.deployment is ServedModelStateDeployment.DEPLOYMENT_READY
    assert (first.workload_size, first.scale_to_zero_enabled) == ("Small", False)
    assert first.environment_vars == {"KEY": "{{secrets/a/b}}", "PLAIN": "***"}
    assert first.creation_timestamp >= made.creation_timestamp
    older = config.served_models[0]
    assert (older.name, older.model_name, older.model_version) == ("fraud-1", "main.ml.fraud", "1")


def test_nothing_is_active_before_the_first_config_is_ready(client, served):
    with served.controller.held():
        waiter = client.serving_endpoints.create(
            name="fraud", config=EndpointCoreConfigInput("fraud", served_entities=[model("1")])
        )
        new = client.serving_endpoints.get("fraud")
        assert waiter.response == new
        assert new.config is None
        assert new.state.ready is EndpointStateReady.NOT_READY
        assert new.state.config_update is EndpointStateConfigUpdate.IN_PROGRESS
        assert new.pending_config.config_version == 1
        assert new.pending_config.start_time == new.creation_timestamp
        state = new.pending_config.served_entities[0].state
        assert state.deployment is ServedModelStateDeployment.DEPLOYMENT_CREATING
    ready = waiter.result(timeout=SHORT)
    assert ready.state.ready is EndpointStateReady.READY
    assert ready.config.config_version == 1


def test_the_older_form_of_a_config(client):
    made = client.serving_endpoints.create_and_wait(
        name="fraud",
        config=EndpointCoreConfigInput(
            "fraud",
            served_models=[
                ServedModelInput(
                    model_name="fraud", model_version="3", scale_to_zero_enabled=False, name="old"
                )
            ],
            traffic_config=TrafficConfig(
                routes=[Route(served_model_name="old", traffic_percentage=100)]
            ),
        ),
        timeout=SHORT,
    )
    assert made.config.served_entities[0].entity_name == "fraud"
    assert made.config.served_models[0].model_version == "3"


def test_an_update_is_pending_while_the_old_config_serves(client, served):
    create(client)
    with served.controller.held():
        waiter = client.serving_endpoints.update_config(
            "fraud",
            served_entities=[model("1"), model("2")],
            traffic_config=split(fraud_1=0, fraud_2=100),
        )
        during = client.serving_endpoints.get("fraud")
        assert during.state.ready is EndpointStateReady.READY
        assert during.state.config_update is EndpointStateConfigUpdate.IN_PROGRESS
        assert during.config.config_version == 1
        assert during.pending_config.config_version == 2
        with pytest.raises(ResourceConflict, match="Endpoint fraud is currently updating"):
            client.serving_endpoints.update_config("fraud", served_entities=[model("3")])
    after = waiter.result(timeout=SHORT)
    assert after.config.config_version == 2
    assert [route.traffic_percentage for route in after.config.traffic_config.routes] == [0, 100]


def test_a_failed_update_raises_and_keeps_what_served(client):
    create(client)
    with pytest.raises(OperationFailed, match="UPDATE_FAILED"):
        client.serving_endpoints.update_config_and_wait(
            "fraud",
            served_entities=[model("2"), model("1", name="broken")],
            traffic_config=split(fraud_2=50, broken_1=50),
            timeout=SHORT,
        )
    failed = client.serving_endpoints.get("fraud")
    assert failed.state.ready is EndpointStateReady.READY
    assert failed.state.config_update is EndpointStateConfigUpdate.UPDATE_FAILED
    assert failed.config.config_version == 1
    innocent, broken = failed.pending_config.served_entities
    assert broken.state.deployment is ServedModelStateDeployment.DEPLOYMENT_FAILED
    assert broken.state.deployment_state_message == "models:/broken/1 can't be loaded."
    assert innocent.state.deployment is ServedModelStateDeployment.DEPLOYMENT_ABORTED
    logs = client.serving_endpoints.build_logs("fraud", "broken-1")
    assert logs.logs == "fetched models:/broken/1\n"

    # The next update must not meet the failure of the last one at its first poll.
    after = client.serving_endpoints.update_config_and_wait(
        "fraud", served_entities=[model("2")], timeout=SHORT
    )
    assert after.config.config_version == 3


def test_a_failed_creation_never_looks_like_a_success(client):
    with pytest.raises(OperationFailed, match="UPDATE_FAILED"):
        client.serving_endpoints.create_and_wait(
            name="fraud",
            config=EndpointCoreConfigInput("fraud", served_entities=[model("1", name="broken")]),
            timeout=SHORT,
        )
    failed = client.serving_endpoints.get("fraud")
    assert failed.config is None
    assert failed.state.ready is EndpointStateReady.NOT_READY


def test_list_and_delete(client):
    for name in ("b", "a"):
        create(client, name)
    listed = list(client.serving_endpoints.list())
    assert [each.name for each in listed] == ["a", "b"]
    assert listed[0].state.ready is EndpointStateReady.READY
    assert listed[0].config.served_entities[0].name == "fraud-1"
    client.serving_endpoints.delete("a")
    assert [each.name for each in client.serving_endpoints.list()] == ["b"]
    with pytest.raises(ResourceDoesNotExist, match="Endpoint with name 'a' does not exist"):
        client.serving_endpoints.get("a")
    create(client, "a")


def test_logs(client):
    create(client)
    assert client.serving_endpoints.logs("fraud", "fraud-1").logs == "fraud-1 has started\n"
    built = client.serving_endpoints.build_logs("fraud", "fraud-1").logs
    assert built == "fetched models:/main.ml.fraud/1\n"
    with pytest.raises(ResourceDoesNotExist, match="'nope' does not exist in endpoint 'fraud'"):
        client.serving_endpoints.logs("fraud", "nope")


def test_errors_are_the_classes_that_callers_catch(client):
    create(client)
    endpoints = client.serving_endpoints
    with pytest.raises(ResourceAlreadyExists, match="fraud already exists") as taken:
        create(client, version="2")
    assert taken.value.error_code == "RESOURCE_ALREADY_EXISTS"
    with pytest.raises(ResourceDoesNotExist):
        endpoints.delete("nope")
    with pytest.raises(InvalidParameterValue, match="it is 99") as wrong:
        endpoints.update_config(
            "fraud",
            served_entities=[model("1"), model("2")],
            traffic_config=split(fraud_1=49, fraud_2=50),
        )
    assert wrong.value.error_code == "INVALID_PARAMETER_VALUE"
    with pytest.raises(BadRequest) as fields:
        client.api_client.do(
            "PUT",
            "/api/2.0/serving-endpoints/fraud/config",
            body={"served_entities": [{"entity_name": "m", "entity_version": "1", "replicas": 0}]},
        )
    details = fields.value.get_error_details()
    (violation,) = details.bad_request.field_violations
    assert violation.field == "served_entities[0].replicas"


def test_calls_that_are_not_offered_raise_at_once(client):
    create(client)
    endpoints = client.serving_endpoints
    for call in (
        lambda: endpoints.patch_telemetry_config("fraud"),
        lambda: endpoints.put_ai_gateway("fraud", fallback_config=FallbackConfig(enabled=True)),
    ):
        begun = time.monotonic()
        with pytest.raises(NotImplemented):
            call()
        assert time.monotonic() - begun < 5


def test_settings_beside_the_config_are_read_back(client):
    create(client)
    endpoints = client.serving_endpoints
    tags = endpoints.patch(
        "fraud",
        add_tags=[EndpointTag(key="z", value="1"), EndpointTag(key="a", value="2")],
        delete_tags=["none"],
    ).tags
    assert [(tag.key, tag.value) for tag in tags] == [("a", "2"), ("z", "1")]
    assert endpoints.get("fraud").tags == tags
    table = AiGatewayInferenceTableConfig(
        catalog_name="main", schema_name="logs", table_name_prefix="f", enabled=True
    )
    kept = endpoints.put_ai_gateway(
        "fraud",
        inference_table_config=table,
        usage_tracking_config=AiGatewayUsageTrackingConfig(enabled=True),
    )
    assert kept.inference_table_config == table
    shown = endpoints.get("fraud").ai_gateway
    assert (shown.inference_table_config, shown.usage_tracking_config.enabled) == (table, True)
    mail = EmailNotifications(on_update_failure=["a@b.c"])
    told = endpoints.update_notifications("fraud", email_notifications=mail)
    assert (told.name, told.email_notifications) == ("fraud", mail)
    assert endpoints.get("fraud").email_notifications == mail


def test_a_stopped_endpoint_starts_again(client):
    create(client)

    def call(verb: str):
        return client.api_client.do("POST", f"/api/2.0/serving-endpoints/fraud/config:{verb}")

    assert call("stop")["state"]["suspend"] == "STOPPED"
    stopped = client.serving_endpoints.get("fraud")
    assert stopped.state.ready is EndpointStateReady.NOT_READY
    with pytest.raises(InvalidState, match="Start it first"):
        client.serving_endpoints.update_config("fraud", served_entities=[model("2")])
    call("start")
    again = client.serving_endpoints.wait_get_serving_endpoint_not_updating("fraud", timeout=SHORT)
    assert again.state.ready is EndpointStateReady.READY
    assert again.config.config_version == 2


def test_the_phrases_by_which_this_client_retries_are_those_that_errors_avoid():
    source = inspect.getsource(_base_client)
    listed = source[source.index("transient_error_string_matches = [") :]
    [theirs] = [
        node.value
        for node in ast.walk(ast.parse(listed[: listed.index("]") + 1]))
        if isinstance(node, ast.Assign)
    ]
    phrases = ast.literal_eval(theirs)
    assert phrases
    for phrase in phrases:
        assert any(ours in phrase for ours in RETRIED), phrase


@pytest.mark.parametrize("held", [False, True], ids=["ready meanwhile", "under way"])
def test_a_call_whose_answer_was_lost_is_one_call(served, held):
    with cutting(served.url) as (front, lost):
        client = WorkspaceClient(host=front, token="x")
        config = EndpointCoreConfigInput("fraud", served_entities=[model("1")])
        with served.controller.held() if held else nullcontext():
            lost.append("POST")
            made = client.serving_endpoints.create(name="fraud", config=config).response
            assert lost == []
            assert made.id == client.serving_endpoints.get("fraud").id
        wait_for_rest(client)
        with served.controller.held() if held else nullcontext():
            lost.append("PUT")
            client.serving_endpoints.update_config("fraud", served_entities=[model("2")])
            assert lost == []
        updated = wait_for_rest(client)
    assert updated.config.config_version == 2
    kinds = [each.kind for each in served.store.journal(updated.id)]
    assert kinds.count("endpoint_created") == kinds.count("config_requested") == 1


def wait_for_rest(client: WorkspaceClient) -> ServingEndpointDetailed:
    return client.serving_endpoints.wait_get_serving_endpoint_not_updating("fraud", timeout=SHORT)


@contextmanager
def cutting(url: str) -> Iterator[tuple[str, list[str]]]:
    """A way to the server that loses the answer to the next call of each listed method."""
    lost: list[str] = []

    class Between(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name: value for name, value in self.headers.items() if name != "Host"}
            answer = httpx.request(self.command, url + self.path, content=body, headers=headers)
            if self.command in lost:
                lost.remove(self.command)
                self.close_connection = True
                return
            self.send_response(answer.status_code)
            self.send_header("content-type", answer.headers["content-type"])
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_PUT = _pass  # noqa: N815 - as http.server asks

    server = ThreadingHTTPServer(("127.0.0.1", 0), Between)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", lost
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def create(client: WorkspaceClient, name: str = "fraud", version: str = "1") -> None:
    client.serving_endpoints.create_and_wait(
        name=name,
        config=EndpointCoreConfigInput("fraud", served_entities=[model(version)]),
        timeout=SHORT,
    )
