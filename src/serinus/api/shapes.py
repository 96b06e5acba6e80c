"""What replies look like, for the OpenAPI document alone: replies themselves are made by hand.

Tests hold both against each other.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "AiGatewayReply",
    "ConfigPage",
    "EndpointPage",
    "EndpointReply",
    "LogsReply",
    "Nothing",
    "NotificationsReply",
    "PastConfig",
    "Problem",
    "TagsReply",
]

Millis = Annotated[int, Field(description="milliseconds since the epoch")]
Percent = Annotated[int, Field(ge=0, le=100)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Problem(_Shape):
    """Every error."""

    error_code: str
    message: Annotated[str, Field(min_length=1)]
    details: list[dict[str, Any]]


class Nothing(_Shape):
    """Done, and nothing to say."""


class TagShape(_Shape):
    """A label."""

    key: str
    value: str


class TagsReply(_Shape):
    """All labels of an endpoint, by key."""

    tags: list[TagShape]


class _Mail(BaseModel):
    on_update_success: list[str] | None = None
    on_update_failure: list[str] | None = None


class NotificationsReply(_Shape):
    """What is kept."""

    name: str
    email_notifications: _Mail


class AiGatewayReply(_Shape):
    """What is kept, and what is in force."""

    inference_table_config: dict[str, Any] | None = None
    usage_tracking_config: dict[str, Any] | None = None
    rate_limits: list[dict[str, Any]] | None = None


class _EntityState(_Shape):
    deployment: Literal[
        "DEPLOYMENT_CREATING",
        "DEPLOYMENT_READY",
        "DEPLOYMENT_FAILED",
        "DEPLOYMENT_RECOVERING",
        "DEPLOYMENT_ABORTED",
    ]
    deployment_state_message: str
    #: How the model is asked, once a replica has said so, and why.
    form: Literal["", "pyfunc", "direct", "onnx"]
    form_reason: str


class _Entity(BaseModel):
    name: str
    replicas: int
    intake: Literal["strict", "mlflow"]
    optimize: Literal["none", "onnx"]
    state: _EntityState
    creator: str
    creation_timestamp: Millis | None = None
    environment_vars: dict[str, str] | None = None


class ServedEntityShape(_Entity):
    """A served entity; fields that are only echoed come too."""

    entity_name: str
    entity_version: str


class ServedModelShape(_Entity):
    """The same in its older form."""

    # Not pydantic's own names, but those of the wire.
    model_config = ConfigDict(protected_namespaces=())

    model_name: str
    model_version: str


class _Route(_Shape):
    served_model_name: str
    served_entity_name: str
    traffic_percentage: Percent


class _Traffic(_Shape):
    routes: list[_Route]


class ConfigShape(_Shape):
    """A config."""

    config_version: Annotated[int, Field(ge=1)]
    served_entities: list[ServedEntityShape]
    served_models: list[ServedModelShape]
    traffic_config: _Traffic
    auto_capture_config: dict[str, Any] | None = None


class PendingConfig(ConfigShape):
    """A config that is being deployed, or that failed last."""

    start_time: Millis


class PastConfig(ConfigShape):
    """A config of the history."""

    status: Literal["pending", "active", "stopped", "past", "failed"]
    creator: str
    created_at: str


class ConfigPage(_Shape):
    """Configs, the newest first."""

    configs: list[PastConfig]
    next: int | None


class _State(_Shape):
    ready: Literal["READY", "NOT_READY"]
    config_update: Literal["IN_PROGRESS", "NOT_UPDATING", "UPDATE_FAILED", "UPDATE_CANCELED"]
    suspend: Literal["STOPPED"] | None = None


class EndpointReply(_Shape):
    """An endpoint."""

    name: str
    id: str
    creator: str
    creation_timestamp: Millis
    last_updated_timestamp: Millis
    state: _State
    permission_level: Literal["CAN_MANAGE", "CAN_QUERY", "CAN_VIEW"]
    route_optimized: bool
    endpoint_url: str
    description: str
    tags: list[TagShape]
    config: ConfigShape | None = None
    pending_config: PendingConfig | None = None
    ai_gateway: AiGatewayReply | None = None
    email_notifications: _Mail | None = None
    budget_policy_id: str | None = None


class EndpointPage(_Shape):
    """All endpoints."""

    endpoints: list[EndpointReply]


class LogsReply(_Shape):
    """Lines that were printed; with ``limit`` or ``before``, a part of them."""

    logs: str
    next: int | None = None
