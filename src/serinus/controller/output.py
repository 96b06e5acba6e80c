"""What the replicas of a served entity printed, for the control API."""

from serinus.controller.groups import group_of
from serinus.engine.engine import Engine
from serinus.entities import Endpoint, ServedEntity

__all__ = ["replica_logs"]


def replica_logs(engine: Engine, endpoint: Endpoint, served_name: str) -> str:
    """The output of each replica under a heading of its own; empty when none has printed."""
    groups = {
        group_of(endpoint.id, entity)
        for entity in _entities(endpoint, served_name)
        if entity.model is not None and entity.environment is not None
    }
    outputs = [
        (status.spec.replica_id, engine.logs(status.spec.replica_id))
        for status in engine.list()
        if status.spec.group in groups
    ]
    return "\n".join(f"--- {replica_id}\n{text}" for replica_id, text in outputs)


def _entities(endpoint: Endpoint, served_name: str) -> list[ServedEntity]:
    configs = (endpoint.active, endpoint.pending)
    found = (config.entity(served_name) for config in configs if config is not None)
    return [entity for entity in found if entity is not None]
