"""Each call that the clients have, made; and the page that says what came of it.

The table in docs/reference/compatibility.md is made here: ``SERINUS_WRITE_DOCS=1`` writes it anew.
The control API is the real one; scoring is the gateway's HTTP side before a stand-in of a model.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotImplemented as Unoffered
from databricks.sdk.mixins.open_ai_client import ServingEndpointsExt
from mlflow.deployments import get_deploy_client
from mlflow.deployments.databricks import DatabricksDeploymentClient
from requests.exceptions import HTTPError

from serinus.api.app import create_app
from serinus.evidence.meter import Meter, Vitals
from serinus.gateway.app import App, AppConfig
from serinus.replica.protocol import Frame, Kind
from serinus.store.repository import Store
from tests.contract.calls import CALLS, MLFLOW, SDK, Call, Clients
from tests.contract.conftest import PretendController, listening, now

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "compatibility.md"
BEGIN, END = "<!-- begin: made by tests/contract/test_compatibility.py -->", "<!-- end -->"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


class _Pool:
    header = b"one"


class _State:
    meter = Meter("", "")


class Plane:
    """A data plane on which every endpoint answers."""

    default = None

    def endpoint(self, name: str) -> _State:
        return _State()

    async def invoke(self, *_: Any) -> tuple[_Pool, Frame]:
        return _Pool(), Frame(Kind.RESPONSE, 1, b'{"predictions":[0.5]}', status=200)


def whole(store: Store, controller: PretendController) -> Callable[..., Any]:
    """Both sides of a server as one app, as its port has them."""
    control = create_app(
        store,
        wake=controller.wake,
        replica_logs=controller.logs,
        clock=now,
        new_id=lambda: uuid4().hex,
        workspace_id="4711",
        vitals=lambda endpoint: Vitals(Meter(endpoint.name, ""), 1, 1.0, 1.0),
    )
    plane: Any = Plane()
    data = App(plane, plane, AppConfig(1 << 20, "i", "3", "4711"))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scoring = scope.get("path", "").startswith("/serving-endpoints/")
        # Whoever asks from the server's own machine is its owner.
        owner = (b"x-serinus-caller", b"owner")
        inner = {**scope, "headers": [*scope.get("headers", []), owner]}
        await (data(scope, receive, send) if scoring else control(inner, receive, send))

    return app


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Call, str]]:
    """What came of each call."""
    path = tmp_path_factory.mktemp("compatibility") / "serinus.db"
    with closing(Store.open(f"sqlite:///{path}")) as store, pytest.MonkeyPatch.context() as patch:
        controller = PretendController(store)
        controller.start()
        try:
            with listening(whole(store, controller)) as url, httpx.Client(base_url=url) as http:
                patch.setenv("DATABRICKS_HOST", url)
                patch.setenv("DATABRICKS_TOKEN", "x")
                patch.setenv("DATABRICKS_CONFIG_FILE", str(path.with_name("none")))
                sdk = WorkspaceClient(host=url, token="x")
                clients = Clients(sdk, get_deploy_client("databricks"), http)
                clients.send(
                    "POST", "/api/serinus/v1/tokens", json={"name": "ann", "can": ["view:a"]}
                )
                yield {call: state_of(call, clients) for call in CALLS}
        finally:
            controller.stop()


def state_of(call: Call, clients: Clients) -> str:
    """``works``, ``501``, or ``differs``; fails for anything that nobody expects."""
    answer, error = None, None
    try:
        answer = call.make(clients)
    except (Unoffered, NotImplementedError):
        return "501"
    except HTTPError as answered:
        if answered.response is not None and answered.response.status_code == 501:
            return "501"
        error = repr(answered)
    except Exception as raised:  # noqa: BLE001 - each client has its own
        error = repr(raised)
    if call.refused:
        assert error is not None, f"{call.name} was not refused"
        assert re.search(call.refused, error), f"{call.name}: {error}"
        return "differs"
    assert error is None, f"{call.name}: {error}"
    assert call.holds(answer), f"{call.name}: {answer!r}"
    return "differs" if call.differs else "works"


def test_no_call_of_a_client_is_left_out() -> None:
    made = {(call.client, call.name) for call in CALLS}
    endpoints = {name for name in dir(ServingEndpointsExt) if not name.startswith("_")}
    assert {name for client, name in made if client == SDK and "." not in name} == endpoints
    deployments = {
        name
        for name in vars(DatabricksDeploymentClient)
        if not name.startswith("_") and not name.endswith(("_deployment", "_deployments"))
    }
    assert {name for client, name in made if client == MLFLOW} == deployments
    assert len(made) == len(CALLS)


def test_what_is_out_of_scope_is_only_what_is_meant_to_be(states: dict[Call, str]) -> None:
    missing = {call.name for call, state in states.items() if state == "501"}
    assert missing == {
        "patch_telemetry_config",
        "create_provisioned_throughput_endpoint",
        "create_provisioned_throughput_endpoint_and_wait",
        "update_provisioned_throughput_endpoint_config",
        "update_provisioned_throughput_endpoint_config_and_wait",
        "http_request",
    }


def test_the_page_shows_what_came_of_each_call(states: dict[Call, str]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    made = f"{before}{BEGIN}\n\n{_table(states)}\n{END}{after}"
    if os.environ.get("SERINUS_WRITE_DOCS"):
        PAGE.write_text(made, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == made, (
        "docs/reference/compatibility.md is not what is true now; SERINUS_WRITE_DOCS=1 writes it"
    )


def _table(states: dict[Call, str]) -> str:
    lines: list[str] = []
    for client in dict.fromkeys(call.client for call in states):
        lines += [f"### {client}", "", "| call | state | how it differs |", "|---|---|---|"]
        for call, state in states.items():
            if call.client == client:
                lines.append(f"| `{call.name}` | {state} | {call.differs} |")
        lines.append("")
    return "\n".join(lines)
