"""What `serinus serve --model URI` asks for: one endpoint, one model, all of the traffic."""

import re
from collections.abc import Callable
from datetime import datetime

from serinus.entities import WHOLE, ConfigUpdate, Endpoint, EndpointConfig, ServedEntity
from serinus.errors import ResourceConflict, ResourceDoesNotExist
from serinus.store.repository import Store

__all__ = ["endpoint_name", "want_model"]


def endpoint_name(uri: str) -> str:
    """The endpoint name that a model URI suggests: ``models:/m/2`` → ``m``, a path → its end."""
    bare = re.sub(r"^[a-z]+:/*", "", uri.strip()).rstrip("/")
    parts = [part for part in bare.split("/") if part]
    chosen = parts[0] if uri.startswith("models:") and parts else parts[-1] if parts else "model"
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", chosen.split("@")[0]).strip("-")
    return name[:63] or "model"


def want_model(
    store: Store, uri: str, name: str, *, at: datetime, new_id: Callable[[], str]
) -> None:
    """Wish for ``name`` to serve the model at ``uri`` alone, as the default endpoint.

    An endpoint that already serves it is left as it is, so that a restart deploys nothing anew.
    """

    def config(version: int) -> EndpointConfig:
        entity = ServedEntity(f"{name[:50]}-{version}", uri, "", creator="serve", created_at=at)
        return EndpointConfig(version, (entity,), {entity.name: WHOLE}, at)

    try:
        known = store.endpoint(name)
    except ResourceDoesNotExist:
        store.create_endpoint(
            Endpoint(
                id=new_id(),
                name=name,
                creator="serve",
                created_at=at,
                updated_at=at,
                pending=config(1),
                update=ConfigUpdate.IN_PROGRESS,
                default=True,
            )
        )
        return
    if not known.default:
        store.set_fields(name, default=True, at=at)
    wanted = known.pending if known.update is ConfigUpdate.IN_PROGRESS else known.active
    if wanted is not None and [entity.model_uri for entity in wanted.entities] == [uri]:
        return
    try:
        store.put_config(name, config, at)
    except ResourceConflict as busy:
        raise ResourceConflict(
            f"The endpoint '{name}' is being updated to something else; "
            "wait for that, or give this model another --name."
        ) from busy
