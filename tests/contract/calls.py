"""Every call of the clients that people have, to be made one after the other on a fresh server."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
from databricks.sdk import WorkspaceClient
from databricks.sdk.service import serving as s
from mlflow.deployments.databricks import DatabricksDeploymentClient

__all__ = ["CALLS", "SDK", "Call", "Clients"]

SDK, MLFLOW, HTTP = "databricks-sdk", "mlflow.deployments", "HTTP"
SHORT = timedelta(seconds=60)
ROWS = {"dataframe_records": [{"x": 1.0}]}
CONFIG: dict[str, Any] = {
    "served_entities": [{"name": "one", "entity_name": "fraud", "entity_version": "1"}]
}


@dataclass(frozen=True)
class Clients:
    """All of them, for one server."""

    sdk: WorkspaceClient
    mlflow: DatabricksDeploymentClient
    http: httpx.Client

    @property
    def api(self) -> Any:
        return self.sdk.serving_endpoints

    def id(self, name: str = "a") -> str:
        return str(self.api.get(name).id)

    def send(self, method: str, path: str, **body: Any) -> httpx.Response:
        answer = self.http.request(method, path, **body)
        if answer.status_code == 501:
            raise NotImplementedError(answer.json()["message"])
        assert answer.status_code == 200, answer.text
        return answer


@dataclass(frozen=True)
class Call:
    client: str
    #: Methods of a client, or method and path.
    name: str
    make: Callable[[Clients], Any]
    #: What of the answer must hold.
    holds: Callable[[Any], bool] = bool
    #: How it differs from the original service; empty: it does not.
    differs: str = ""
    #: The client itself refuses, with these words: nothing is sent.
    refused: str = ""


def sdk(name: str, make: Callable[[Any], Any], *rest: Any, **options: Any) -> Call:
    return Call(SDK, name, lambda clients: make(clients.api), *rest, **options)


def mlflow(name: str, make: Callable[[Any], Any], *rest: Any, **options: Any) -> Call:
    return Call(MLFLOW, name, lambda clients: make(clients.mlflow), *rest, **options)


def raw(method: str, path: str, *rest: Any, body: Any = None, **options: Any) -> Call:
    target = re.sub(r"\{name\}", "a", path).replace("{served}", "one").replace("{version}", "1")
    sent = {} if body is None else {"json": body}
    return Call(
        HTTP,
        f"{method} {path}",
        lambda clients: clients.send(method, target, **sent),
        *rest,
        **options,
    )


def _config(name: str = "a") -> s.EndpointCoreConfigInput:
    entity = s.ServedEntityInput(name="one", entity_name="fraud", entity_version="1")
    return s.EndpointCoreConfigInput(name, served_entities=[entity])


def _entities(version: str) -> list[s.ServedEntityInput]:
    return [s.ServedEntityInput(name="one", entity_name="fraud", entity_version=version)]


_ACCESS = [
    s.ServingEndpointAccessControlRequest(
        user_name="ann", permission_level=s.ServingEndpointPermissionLevel.CAN_QUERY
    )
]
_LIMIT = s.RateLimit(calls=1000, renewal_period=s.RateLimitRenewalPeriod.MINUTE)
_LANGUAGE = "for language models; Serinus serves custom models"
_PT = s.PtEndpointCoreConfig()

_SDK: tuple[Call, ...] = (
    sdk("create", lambda api: api.create("a", config=_config()).response.name == "a"),
    sdk(
        "wait_get_serving_endpoint_not_updating",
        lambda api: api.wait_get_serving_endpoint_not_updating("a", timeout=SHORT).config,
    ),
    sdk("create_and_wait", lambda api: api.create_and_wait("b", config=_config(), timeout=SHORT)),
    sdk("get", lambda api: api.get("a").state.ready is s.EndpointStateReady.READY),
    sdk("list", lambda api: [each.name for each in api.list()] == ["a", "b"]),
    sdk("update_config", lambda api: api.update_config("b", served_entities=_entities("2"))),
    sdk(
        "update_config_and_wait",
        lambda api: (
            (
                api.update_config_and_wait("a", served_entities=_entities("2"), timeout=SHORT)
            ).config.config_version
            == 2
        ),
    ),
    sdk("patch", lambda api: api.patch("a", add_tags=[s.EndpointTag("k", "v")]).tags),
    sdk("put", lambda api: api.put("a", rate_limits=[_LIMIT]).rate_limits[0].calls == 1000),
    sdk(
        "put_ai_gateway",
        lambda api: (
            api.put_ai_gateway(
                "a", usage_tracking_config=s.AiGatewayUsageTrackingConfig(enabled=True)
            ).usage_tracking_config
        ),
        differs="tables and usage tracking are kept and shown, and nothing is written yet; "
        "`fallback_config` and `guardrails` get 501",
    ),
    sdk(
        "update_notifications",
        lambda api: (
            api.update_notifications(
                "a", email_notifications=s.EmailNotifications(on_update_failure=["a@b.c"])
            ).email_notifications
        ),
        differs="kept and shown; no mail is sent, rollouts post to webhooks",
    ),
    sdk(
        "patch_telemetry_config",
        lambda api: api.patch_telemetry_config("a"),
        differs="writes to tables of the original service; scrape `export_metrics`",
    ),
    sdk(
        "export_metrics",
        lambda api: b"request_count_total" in api.export_metrics("a").contents.read(),
        differs="no figures of GPUs",
    ),
    sdk("get_open_api", lambda api: b"openapi" in api.get_open_api("a").contents.read()),
    sdk("build_logs", lambda api: api.build_logs("a", "one").logs),
    sdk("logs", lambda api: api.logs("a", "one").logs),
    Call(
        SDK,
        "get_permission_levels",
        lambda c: c.api.get_permission_levels(c.id()).permission_levels,
    ),
    Call(
        SDK,
        "set_permissions",
        lambda c: c.api.set_permissions(c.id(), access_control_list=_ACCESS).object_id,
        differs="a user is the name of a token; it needs an administrator's token",
    ),
    Call(
        SDK,
        "update_permissions",
        lambda c: c.api.update_permissions(c.id(), access_control_list=_ACCESS).object_id,
        differs="a user is the name of a token; it needs an administrator's token",
    ),
    Call(SDK, "get_permissions", lambda c: c.api.get_permissions(c.id()).access_control_list),
    sdk(
        "query",
        lambda api: api.query("a", dataframe_records=ROWS["dataframe_records"]).predictions,
    ),
    Call(
        SDK,
        "serving_endpoints_data_plane.query",
        lambda c: c.sdk.serving_endpoints_data_plane.query("a", dataframe_records=[{"x": 1.0}]),
        refused="Resource does not support direct Data Plane access",
        differs="endpoints have no `data_plane_info`, so the client refuses; use `query`",
    ),
    sdk(
        "create_provisioned_throughput_endpoint",
        lambda api: api.create_provisioned_throughput_endpoint("p", _PT),
        differs=_LANGUAGE,
    ),
    sdk(
        "create_provisioned_throughput_endpoint_and_wait",
        lambda api: api.create_provisioned_throughput_endpoint_and_wait("p", _PT),
        differs=_LANGUAGE,
    ),
    sdk(
        "update_provisioned_throughput_endpoint_config",
        lambda api: api.update_provisioned_throughput_endpoint_config("a", _PT),
        differs=_LANGUAGE,
    ),
    sdk(
        "update_provisioned_throughput_endpoint_config_and_wait",
        lambda api: api.update_provisioned_throughput_endpoint_config_and_wait("a", _PT),
        differs=_LANGUAGE,
    ),
    sdk(
        "http_request",
        lambda api: api.http_request("c", s.ExternalFunctionRequestHttpMethod.GET, "/"),
        differs="calls through connections of the original service; call the other side itself",
    ),
    sdk(
        "get_open_ai_client",
        lambda api: api.get_open_ai_client(),
        refused="(?i)openai",
        differs=_LANGUAGE,
    ),
    sdk(
        "get_langchain_chat_open_ai_client",
        lambda api: api.get_langchain_chat_open_ai_client("m"),
        refused="(?i)openai|langchain",
        differs=_LANGUAGE,
    ),
    sdk("delete", lambda api: api.delete("b"), lambda answer: answer is None),
)

_MLFLOW: tuple[Call, ...] = (
    mlflow("create_endpoint", lambda c: c.create_endpoint(config={"name": "m", "config": CONFIG})),
    mlflow("get_endpoint", lambda c: c.get_endpoint("m").name == "m"),
    mlflow("list_endpoints", lambda c: [e["name"] for e in c.list_endpoints()] == ["a", "m"]),
    mlflow("update_endpoint", lambda c: c.update_endpoint("a", CONFIG).name == "a"),
    Call(
        MLFLOW,
        "update_endpoint_config",
        lambda c: (
            c.api.wait_get_serving_endpoint_not_updating("a", timeout=SHORT),
            c.mlflow.update_endpoint_config("a", CONFIG),
        ),
    ),
    mlflow(
        "update_endpoint_tags",
        lambda c: c.update_endpoint_tags("a", {"add_tags": [{"key": "p", "value": "q"}]}).tags,
    ),
    mlflow(
        "update_endpoint_rate_limits",
        lambda c: (
            c.update_endpoint_rate_limits(
                "a", {"rate_limits": [{"calls": 10000, "renewal_period": "minute"}]}
            ).rate_limits
        ),
    ),
    mlflow(
        "update_endpoint_ai_gateway",
        lambda c: c.update_endpoint_ai_gateway("a", {"usage_tracking_config": {"enabled": True}}),
        differs="as `put_ai_gateway` above",
    ),
    mlflow("predict", lambda c: c.predict(endpoint="a", inputs=ROWS)["predictions"]),
    mlflow(
        "predict_stream",
        lambda c: list(c.predict_stream(endpoint="a", inputs=ROWS)),
        refused="Unknown response format",
        differs="answers come whole, which this call can't read; use `predict`",
    ),
    mlflow("delete_endpoint", lambda c: c.delete_endpoint("m"), lambda answer: answer == {}),
)

_ENDPOINT = "/api/2.0/serving-endpoints/{name}"
_SERVED = f"{_ENDPOINT}/served-models/{{served}}"
_SCORE = "/serving-endpoints/{name}"
_HTTP: tuple[Call, ...] = (
    raw("GET", "/.well-known/databricks-config"),
    raw("GET", "/api/2.0/serving-endpoints/"),
    raw("POST", f"{_ENDPOINT}/config:stop", lambda a: a.json()["state"]["suspend"] == "STOPPED"),
    raw(
        "POST",
        f"{_ENDPOINT}/config:start",
        lambda answer: answer.json()["pending_config"]["config_version"],
    ),
    raw("GET", f"{_SERVED}/logs?config_version={{version}}"),
    raw("GET", f"{_SERVED}/build-logs?config_version={{version}}"),
    raw("POST", f"{_SCORE}/invocations", lambda a: a.headers["served-model-name"], body=ROWS),
    raw("POST", f"{_SCORE}/served-models/{{served}}/invocations", body=ROWS),
)

#: In this order: later ones rest on earlier ones.
CALLS = (*_SDK, *_MLFLOW, *_HTTP)
