"""From entities to the JSON that clients of the original service read. It decides nothing."""

from typing import Any

from serinus.api.rate_limits import limits_reply
from serinus.api.tags import tag_list
from serinus.api.wishes import MASK
from serinus.engine.vault import SECRET
from serinus.entities import (
    WHOLE,
    ConfigUpdate,
    Deployment,
    Endpoint,
    EndpointConfig,
    ServedEntity,
)
from serinus.store.instants import to_millis

__all__ = ["config_reply", "endpoint_reply", "percentages"]


def endpoint_reply(
    endpoint: Endpoint,
    *,
    base_url: str,
    serving: EndpointConfig | None,
    permission_level: str = "CAN_MANAGE",
) -> dict[str, Any]:
    """``ServingEndpointDetailed``. There is no ``config`` until the first one was ready.

    ``serving`` is the active config, with the split of the rollout under way if there is one.
    """
    reply: dict[str, Any] = {
        "name": endpoint.name,
        "id": endpoint.id,
        "creator": endpoint.creator,
        "creation_timestamp": to_millis(endpoint.created_at),
        "last_updated_timestamp": to_millis(endpoint.updated_at),
        "state": {
            "ready": "READY" if _answers(endpoint) else "NOT_READY",
            "config_update": endpoint.update.value,
            **({"suspend": "STOPPED"} if endpoint.stopped else {}),
        },
        "permission_level": permission_level,
        "route_optimized": endpoint.route_optimized,
        "endpoint_url": f"{base_url}/serving-endpoints/{endpoint.name}/invocations",
        "description": endpoint.description,
        "tags": tag_list(endpoint.tags),
        **{key: value for key, value in endpoint.echo.items() if value},
    }
    if endpoint.rate_limits:
        settings = reply.get("ai_gateway", {})
        reply["ai_gateway"] = {**settings, "rate_limits": limits_reply(endpoint.rate_limits)}
    if serving is not None:
        reply["config"] = config_reply(serving)
    if endpoint.pending is not None:
        started = to_millis(endpoint.pending.created_at)
        reply["pending_config"] = {"start_time": started, **config_reply(endpoint.pending)}
    return reply


def _answers(endpoint: Endpoint) -> bool:
    """Whether it serves, or would if a replica had not just ended; not while it starts again."""
    if endpoint.active is None or endpoint.stopped:
        return False
    return endpoint.update is not ConfigUpdate.IN_PROGRESS or any(
        each.deployment is not Deployment.RECOVERING for each in endpoint.active.entities
    )


def percentages(weights: dict[str, int]) -> dict[str, int]:
    """Basis points as whole percent that sum to 100: the largest remainders are rounded up."""
    per_percent = WHOLE // 100
    shown = {name: weight // per_percent for name, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda name: weights[name] % per_percent, reverse=True)
    for name in by_remainder[: 100 - sum(shown.values())]:
        shown[name] += 1
    return shown


def config_reply(config: EndpointConfig) -> dict[str, Any]:
    """One config, whether it serves or not."""
    reply: dict[str, Any] = {
        "config_version": config.version,
        "served_entities": [_entity(each) for each in config.entities],
        "served_models": [_entity(each, legacy=True) for each in config.entities],
        "traffic_config": {
            "routes": [
                {
                    "served_model_name": name,
                    "served_entity_name": name,
                    "traffic_percentage": percentage,
                }
                for name, percentage in percentages(config.weights).items()
            ]
        },
    }
    if config.auto_capture is not None:
        reply["auto_capture_config"] = config.auto_capture
    return reply


def _entity(entity: ServedEntity, *, legacy: bool = False) -> dict[str, Any]:
    kind = "model" if legacy else "entity"
    reply: dict[str, Any] = {
        **entity.echo,
        "name": entity.name,
        f"{kind}_name": entity.entity_name,
        f"{kind}_version": entity.entity_version,
        "replicas": entity.replicas,
        "intake": entity.intake.value,
        "optimize": entity.optimize.value,
        "state": {
            "deployment": entity.deployment.value,
            "deployment_state_message": entity.deployment_message,
            "form": entity.form,
            "form_reason": entity.form_reason,
        },
        "creator": entity.creator,
    }
    if entity.environment_vars:
        reply["environment_vars"] = {
            name: _shown(value) for name, value in entity.environment_vars.items()
        }
    if entity.created_at is not None:
        reply["creation_timestamp"] = to_millis(entity.created_at)
    return reply


def _shown(value: str) -> str:
    # Nobody can tell a password from a setting by its looks, so every plain value is hidden and
    # only what is a reference to a secret, and nothing else, is shown.
    return value if SECRET.fullmatch(value) else MASK
