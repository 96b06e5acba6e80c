"""What clients may send, as pydantic models. They are converted by hand; none leaves this floor.

Fields that Databricks knows and Serinus does not use are ignored, as Databricks does with unknown
ones. A name that looks like a slip of an essential one is refused, with the right name.
"""

import json
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from serinus.api.bodies import Text

__all__ = [
    "MAX_TAGS",
    "AccessControl",
    "AccessControlList",
    "AiGateway",
    "AutoCapture",
    "ConfigInput",
    "CreateEndpoint",
    "PatchNotifications",
    "PatchTags",
    "PutConfig",
    "PutRateLimits",
    "RateLimitInput",
    "RouteInput",
    "ServedInput",
    "Tag",
    "TrafficInput",
]

MAX_SERVED = 64
MAX_REPLICAS = 64
MAX_TAGS = 256


def _percentage(value: object) -> int:
    """An int; the documentation of the original service itself sends "50"."""
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and text.isascii() and text.removeprefix("-").isdigit():
        number = int(text) if len(text) < 6 else -1
    elif isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1:
        number = int(value)
    else:
        number = -1
    if not 0 <= number <= 100:
        shown = json.dumps(value, default=repr)[:40]
        raise ValueError(
            f"must be a whole number from 0 to 100, and the sum over all routes 100; it is {shown}"
        )
    return number


# Versions are numbers to most who send them, and strings on the wire.
Version = Annotated[Text, BeforeValidator(lambda v: str(v) if type(v) is int else v)]
Percentage = Annotated[int, BeforeValidator(_percentage)]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=256)]


class _Input(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    #: Names that a request makes no sense without: a near miss is a slip, not an extension.
    essential: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def known(cls) -> set[str]:
        """Every name that a field may have."""
        names = set(cls.model_fields)
        for each in cls.model_fields.values():
            if isinstance(each.validation_alias, AliasChoices):
                names.update(str(choice) for choice in each.validation_alias.choices)
        return names

    @model_validator(mode="before")
    @classmethod
    def _spelt_right(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        known = cls.known()
        for name in value:
            if name in known or not isinstance(name, str):
                continue
            meant = get_close_matches(name, sorted(cls.essential - value.keys()), 1, 0.8)
            if meant:
                raise ValueError(f"unknown field {name[:80]!r}, did you mean '{meant[0]}'?")
        return value


class ServedInput(_Input):
    """One served entity, or one served model of the older form."""

    essential = frozenset(
        {"entity_name", "entity_version", "model_name", "model_version", "environment_vars"}
        | {"replicas", "intake", "optimize"}
    )

    name: Text | None = None
    entity_name: Text | None = Field(
        None, validation_alias=AliasChoices("entity_name", "model_name")
    )
    entity_version: Version | None = Field(
        None, validation_alias=AliasChoices("entity_version", "model_version")
    )
    environment_vars: dict[Variable, Text] = Field(default_factory=dict)
    #: Of Serinus alone: how many processes serve this entity.
    replicas: int = Field(1, ge=1, le=MAX_REPLICAS, strict=True)
    #: Of Serinus alone: how requests are read.
    intake: Literal["strict", "mlflow"] = "strict"
    #: Of Serinus alone: what the model is to be converted into, if its answers stay the same.
    optimize: Literal["none", "onnx"] = "none"
    external_model: dict[str, Any] | None = None

    # Kept and echoed; they have no meaning on one's own machines.
    workload_size: Text | None = None
    workload_type: Text | None = None
    scale_to_zero_enabled: bool | None = None
    instance_profile_arn: Text | None = None
    burst_scaling_enabled: bool | None = None
    min_provisioned_concurrency: int | None = Field(None, ge=0, lt=2**31)
    max_provisioned_concurrency: int | None = Field(None, ge=0, lt=2**31)
    min_provisioned_throughput: int | None = Field(None, ge=0, lt=2**31)
    max_provisioned_throughput: int | None = Field(None, ge=0, lt=2**31)
    provisioned_model_units: int | None = Field(None, ge=0, lt=2**31)


class RouteInput(_Input):
    """The share of one served entity, which either name may name."""

    essential = frozenset({"traffic_percentage", "served_entity_name", "served_model_name"})

    served_entity_name: Text | None = None
    served_model_name: Text | None = None
    traffic_percentage: Percentage


class TrafficInput(_Input):
    """How requests are split."""

    essential = frozenset({"routes"})

    routes: list[RouteInput] = Field(default_factory=list, max_length=MAX_SERVED)


class AutoCapture(_Input):
    """Where the older kind of inference table is to be; kept and echoed."""

    catalog_name: Text | None = None
    schema_name: Text | None = None
    table_name_prefix: Text | None = None
    enabled: bool | None = None


class ConfigInput(_Input):
    """Served entities and their split: the whole config, never a change to one."""

    essential = frozenset({"served_entities", "served_models", "traffic_config"})

    served_entities: list[ServedInput] | None = Field(None, max_length=MAX_SERVED)
    served_models: list[ServedInput] | None = Field(None, max_length=MAX_SERVED)
    traffic_config: TrafficInput | None = None
    auto_capture_config: AutoCapture | None = None


class PutConfig(ConfigInput):
    """The body of an update."""


class Tag(_Input):
    """A label."""

    key: Annotated[Text, Field(min_length=1, max_length=256)]
    value: Text = ""


class PatchTags(_Input):
    """A change of labels."""

    essential = frozenset({"add_tags", "delete_tags"})

    add_tags: list[Tag] = Field(default_factory=list, max_length=MAX_TAGS)
    delete_tags: list[Text] = Field(default_factory=list, max_length=MAX_TAGS)


class AccessControl(_Input):
    """One name and its level."""

    essential = frozenset({"user_name", "permission_level"})

    user_name: Text | None = None
    group_name: Text | None = None
    service_principal_name: Text | None = None
    permission_level: Literal["CAN_VIEW", "CAN_QUERY", "CAN_MANAGE"]


class AccessControlList(_Input):
    """Who may do what to an endpoint."""

    essential = frozenset({"access_control_list"})

    access_control_list: list[AccessControl] = Field(default_factory=list, max_length=1000)


class RateLimitInput(_Input):
    """So many calls a minute, of the endpoint or of each user."""

    essential = frozenset({"calls", "renewal_period", "key", "principal"})

    calls: int | None = Field(None, ge=0, lt=2**31)
    renewal_period: Literal["minute"]
    key: Literal["endpoint", "user", "user_group", "service_principal"] | None = None
    principal: Text | None = None
    tokens: int | None = None


RateLimits = Annotated[list[RateLimitInput], Field(max_length=100)]


class PutRateLimits(_Input):
    """All limits of an endpoint."""

    essential = frozenset({"rate_limits"})

    rate_limits: RateLimits = Field(default_factory=list)


class InferenceTable(_Input):
    """Where the newer kind of inference table is to be; kept and echoed."""

    catalog_name: Text | None = None
    schema_name: Text | None = None
    table_name_prefix: Text | None = None
    enabled: bool | None = None


class Switch(_Input):
    """On or off."""

    enabled: bool = False


class AiGateway(_Input):
    """The settings of the original service's gateway."""

    inference_table_config: InferenceTable | None = None
    usage_tracking_config: Switch | None = None
    rate_limits: RateLimits | None = None
    fallback_config: Switch | None = None
    guardrails: dict[str, Any] | None = None


class Addresses(_Input):
    """Whom to tell by mail."""

    on_update_success: list[Text] | None = Field(None, max_length=64)
    on_update_failure: list[Text] | None = Field(None, max_length=64)


class PatchNotifications(_Input):
    """A change of those who are told."""

    email_notifications: Addresses | None = None


class CreateEndpoint(_Input):
    """The body of a create."""

    essential = frozenset({"name", "config"})

    name: Text
    config: ConfigInput
    description: Text | None = None
    tags: list[Tag] = Field(default_factory=list, max_length=MAX_TAGS)
    route_optimized: bool = False
    ai_gateway: AiGateway | None = None
    email_notifications: Addresses | None = None
    budget_policy_id: Text | None = None
    telemetry_config: dict[str, Any] | None = None
    rate_limits: RateLimits | None = None
