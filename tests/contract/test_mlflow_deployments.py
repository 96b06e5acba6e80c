"""The unmodified `mlflow.deployments` client against the control API."""

import time

import pytest
from mlflow.deployments import get_deploy_client
from requests.exceptions import HTTPError

ONE = {"name": "one", "entity_name": "fraud", "entity_version": "1"}
TWO = {"name": "two", "entity_name": "fraud", "entity_version": "2"}


@pytest.fixture
def client(served, monkeypatch):
    monkeypatch.setenv("DATABRICKS_HOST", served.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", "x")
    return get_deploy_client("databricks")


def settled(client, name: str):
    """The endpoint, once its update has ended."""
    deadline = time.monotonic() + 20
    while True:
        endpoint = client.get_endpoint(name)
        if endpoint.state["config_update"] != "IN_PROGRESS":
            return endpoint
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_create_get_list_update_delete(client):
    assert client.list_endpoints() == []
    made = client.create_endpoint(config={"name": "fraud", "config": {"served_entities": [ONE]}})
    assert made.name == "fraud"
    ready = settled(client, "fraud")
    assert ready.state == {"ready": "READY", "config_update": "NOT_UPDATING"}
    assert ready.config["served_entities"][0]["name"] == "one"
    assert [each["name"] for each in client.list_endpoints()] == ["fraud"]

    routes = [
        {"served_model_name": "one", "traffic_percentage": "90"},
        {"served_model_name": "two", "traffic_percentage": "10"},
    ]
    updated = client.update_endpoint_config(
        "fraud", {"served_entities": [ONE, TWO], "traffic_config": {"routes": routes}}
    )
    assert updated.name == "fraud"
    assert updated.state["config_update"] == "IN_PROGRESS"
    after = settled(client, "fraud")
    assert after.config["config_version"] == 2
    shown = after.config["traffic_config"]["routes"]
    assert [each["traffic_percentage"] for each in shown] == [90, 10]

    assert client.delete_endpoint("fraud") == {}
    assert client.list_endpoints() == []


@pytest.mark.filterwarnings("ignore:Passing 'name', 'config', and 'route_optimized':UserWarning")
def test_the_older_form_of_create(client):
    config = {"served_entities": [ONE]}
    made = client.create_endpoint(name="fraud", config=config)
    assert made.name == "fraud"
    assert settled(client, "fraud").state["ready"] == "READY"


@pytest.mark.parametrize(
    ("status", "words", "call"),
    [
        (
            404,
            "Endpoint with name 'nope' does not exist.",
            lambda client: client.get_endpoint("nope"),
        ),
        (404, "does not exist", lambda client: client.delete_endpoint("nope")),
        (
            # The status that this client makes of the code; the server's own is 409.
            400,
            "fraud already exists",
            lambda client: client.create_endpoint(
                config={"name": "fraud", "config": {"served_entities": [TWO]}}
            ),
        ),
        (
            400,
            "did you mean 'served_entities'?",
            lambda client: client.update_endpoint_config("fraud", {"served_entites": [ONE]}),
        ),
        (
            501,
            "guardrails are for language models",
            lambda client: client.update_endpoint_ai_gateway(
                "fraud", {"guardrails": {"input": {}}}
            ),
        ),
    ],
)
def test_errors_keep_their_status_and_their_words(client, status, words, call):
    client.create_endpoint(config={"name": "fraud", "config": {"served_entities": [ONE]}})
    settled(client, "fraud")
    begun = time.monotonic()
    with pytest.raises(HTTPError, match=words) as caught:
        call(client)
    assert caught.value.response is not None
    assert caught.value.response.status_code == status
    # This client tries again for minutes when it takes an error for a passing one.
    assert time.monotonic() - begun < 5
