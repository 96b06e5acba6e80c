"""The unmodified clients against a running server: create, query in every form, update, delete."""

from collections.abc import Iterator
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config
from databricks.sdk.errors import (
    BadRequest,
    NotFound,
    OperationFailed,
    ResourceAlreadyExists,
    ResourceDoesNotExist,
)
from databricks.sdk.service.serving import (
    DataframeSplitInput,
    EndpointCoreConfigInput,
    EndpointStateConfigUpdate,
    EndpointStateReady,
    Route,
    ServedEntityInput,
    TrafficConfig,
)
from mlflow.deployments import get_deploy_client
from mlflow.tracking import MlflowClient

from tests.e2e.running import Running, eventually, running
from tests.models import flights, saved


def _register(tracking_uri: str) -> None:
    """``main.air.delay`` versions 1 and 2, and the alias ``champion`` on 2."""
    client = MlflowClient(tracking_uri, tracking_uri)
    client.create_registered_model("main.air.delay")
    for version in (1, 2):
        client.create_model_version("main.air.delay", str(saved(f"flights-{version}")))
    client.set_registered_model_alias("main.air.delay", "champion", "2")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("clients")
    _register(f"sqlite:///{directory / 'mlflow.db'}")
    with running(directory) as server:
        yield server


@pytest.fixture(scope="module")
def workspace(server: Running) -> WorkspaceClient:
    return WorkspaceClient(config=Config(host=server.url, token="any", retry_timeout_seconds=20))


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON carries them: ISO dates, null for what is missing."""
    shown = frame.copy()
    for name in shown.select_dtypes("datetime").columns:
        shown[name] = shown[name].dt.strftime("%Y-%m-%dT%H:%M:%S")
    records: list[dict[str, Any]] = (
        shown.astype(object).where(shown.notna(), None).to_dict("records")
    )
    return records


def _entity(version: str, name: str | None = None) -> ServedEntityInput:
    return ServedEntityInput(
        name=name, entity_name="main.air.delay", entity_version=version, workload_size="Small"
    )


def _traffic(**percent: int) -> TrafficConfig:
    return TrafficConfig(
        routes=[
            Route(served_model_name=name.replace("_", "-"), traffic_percentage=share)
            for name, share in percent.items()
        ]
    )


def test_the_sdk_lives_a_whole_life(workspace: WorkspaceClient, server: Running) -> None:
    api = workspace.serving_endpoints
    made = api.create_and_wait(
        "flight-delay",
        config=EndpointCoreConfigInput(
            name="flight-delay",
            served_entities=[_entity("1"), _entity("2")],
            traffic_config=_traffic(delay_1=50, delay_2=50),
        ),
    )
    assert made.state is not None
    assert made.state.config_update is EndpointStateConfigUpdate.NOT_UPDATING
    assert made.state.ready is EndpointStateReady.READY
    with pytest.raises(ResourceAlreadyExists):
        api.create(
            "flight-delay", config=EndpointCoreConfigInput(name="x", served_entities=[_entity("1")])
        )

    frame = flights(6)
    expected = {
        version: mlflow.pyfunc.load_model(str(saved(f"flights-{version}"))).predict(frame)
        for version in (1, 2)
    }
    records = _records(frame)
    split = DataframeSplitInput(
        columns=list(frame.columns), data=[list(record.values()) for record in records]
    )
    columns = {name: [record[name] for record in records] for name in frame.columns}
    forms: list[dict[str, Any]] = [
        {"dataframe_records": records},
        {"dataframe_split": split},
        {"inputs": columns},
    ]
    seen = set()
    for form in forms:
        for _ in range(12):
            answer = api.query("flight-delay", **form)
            assert answer.served_model_name is not None
            version = int(answer.served_model_name[-1])
            seen.add(version)
            np.testing.assert_array_max_ulp(
                np.asarray(answer.predictions), np.asarray(expected[version]), maxulp=4
            )
    assert seen == {1, 2}

    updated = api.update_config_and_wait(
        "flight-delay", served_entities=[_entity("2")], traffic_config=_traffic(delay_2=100)
    )
    assert updated.config is not None
    assert updated.config.config_version == 2
    assert api.query("flight-delay", dataframe_records=records).served_model_name == "delay-2"
    assert "flight-delay" in [each.name for each in api.list()]
    assert api.build_logs("flight-delay", "delay-2").logs
    api.delete("flight-delay")
    with pytest.raises(ResourceDoesNotExist):
        api.get("flight-delay")

    def refused() -> bool:
        try:
            api.query("flight-delay", dataframe_records=records)
        except NotFound:
            return True
        return False

    # The gateways are told right after; until they have heard, they answer as before.
    eventually(refused, what="the end of its answers")


def test_the_mlflow_client_lives_a_whole_life(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", server.url)
    monkeypatch.setenv("DATABRICKS_TOKEN", "any")
    client = get_deploy_client("databricks")
    client.create_endpoint(
        config={
            "name": "mlf",
            "config": {
                "served_entities": [
                    {"name": "now", "entity_name": "models:/main.air.delay@champion"}
                ]
            },
        }
    )
    server.wait("mlf")
    records = _records(flights(3))
    expected = mlflow.pyfunc.load_model(str(saved("flights-2"))).predict(flights(3))
    answer = client.predict(endpoint="mlf", inputs={"dataframe_records": records})
    np.testing.assert_array_max_ulp(
        np.asarray(answer["predictions"]), np.asarray(expected), maxulp=4
    )
    client.update_endpoint_config(
        "mlf",
        config={
            "served_entities": [
                {"name": "now", "entity_name": "main.air.delay", "entity_version": "1"}
            ]
        },
    )
    server.wait("mlf")
    assert client.get_endpoint("mlf")["config"]["config_version"] == 2
    assert "mlf" in [each["name"] for each in client.list_endpoints()]
    client.delete_endpoint("mlf")
    assert "mlf" not in [each["name"] for each in client.list_endpoints()]


def test_what_a_client_gets_wrong_it_learns_at_once(workspace: WorkspaceClient) -> None:
    api = workspace.serving_endpoints
    with pytest.raises(ResourceDoesNotExist, match="'nobody' does not exist"):
        api.query("nobody", dataframe_records=[{"x": 1}])
    api.create("unknown", config=EndpointCoreConfigInput(name="x", served_entities=[_entity("99")]))
    with pytest.raises(OperationFailed):
        api.wait_get_serving_endpoint_not_updating("unknown")
    shown = api.get("unknown")
    assert shown.pending_config is not None
    assert shown.pending_config.served_entities is not None
    state = shown.pending_config.served_entities[0].state
    assert state is not None
    assert "main.air.delay" in (state.deployment_state_message or "")
    api.delete("unknown")


BAD_BODIES: list[tuple[Any, str]] = [
    ("not json", "JSON"),
    ("[1, 2]", "object"),
    ("{}", "dataframe_split"),
    ('{"instances": [[1]], "inputs": [[1]]}', "exactly one"),
    ('{"dataframe_records": []}', "row"),
    ('{"dataframe_split": {"columns": ["distance"], "data": [[1, 2]]}}', "cell"),
    ('{"dataframe_records": [{"distance": 1}]}', "lacks"),
    ("[" * 100_000, "deeper than 64"),
]


@pytest.fixture(scope="module")
def delays(workspace: WorkspaceClient) -> str:
    """An endpoint that serves version 1."""
    config = EndpointCoreConfigInput(name="delays", served_entities=[_entity("1")])
    return str(workspace.serving_endpoints.create_and_wait("delays", config=config).name)


@pytest.mark.parametrize(("body", "word"), BAD_BODIES)
def test_bad_input_gets_a_sentence_and_costs_nobody_else(
    server: Running, workspace: WorkspaceClient, delays: str, body: str, word: str
) -> None:
    answer = server.http.post(
        f"/serving-endpoints/{delays}/invocations",
        content=body.encode(),
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 400, answer.text
    assert answer.json()["error_code"] == "BAD_REQUEST"
    assert word.lower() in answer.json()["message"].lower()
    good = workspace.serving_endpoints.query(delays, dataframe_records=_records(flights(1)))
    assert good.predictions is not None


def test_a_wrong_type_is_refused_by_row_and_field(workspace: WorkspaceClient, delays: str) -> None:
    records = _records(flights(2))
    number = next(
        name
        for name, value in records[1].items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    )
    records[1][number] = "ten"
    with pytest.raises(BadRequest, match=number):
        workspace.serving_endpoints.query(delays, dataframe_records=records)
