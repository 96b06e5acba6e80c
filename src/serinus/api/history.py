"""What an endpoint was asked to serve, version by version. It only reads."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from serinus.api.answers import json_answer
from serinus.api.replies import config_reply
from serinus.api.resources import rfc3339
from serinus.api.shapes import ConfigPage, PastConfig
from serinus.entities import ConfigUpdate, Deployment, Endpoint, EndpointConfig
from serinus.errors import ResourceDoesNotExist
from serinus.store.repository import Store

__all__ = ["HistoryCalls"]

_PATH = "/api/serinus/v1/endpoints/{name}/configs"
_FAILED = (Deployment.FAILED, Deployment.ABORTED)
Version = Annotated[int, Path(ge=1, lt=2**31)]


class HistoryCalls:
    """Handlers over one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["config history"])
        router.add_api_route(_PATH, self.list, methods=["GET"], response_model=ConfigPage)
        one = f"{_PATH}/{{version}}"
        router.add_api_route(one, self.get, methods=["GET"], response_model=PastConfig)
        return router

    def list(
        self,
        name: str,
        limit: int = Query(20, ge=1, le=100),
        before: int | None = Query(None, ge=1, lt=2**31),
    ) -> Response:
        """Every config, the newest first; ``next`` is the ``before`` of the page after this."""
        endpoint = self._store.endpoint(name)
        found = self._store.history(endpoint.id, before=before, limit=limit + 1)
        page, more = found[:limit], len(found) > limit
        shown = [_shown(endpoint, each) for each in page]
        return json_answer({"configs": shown, "next": page[-1].version if more else None})

    def get(self, name: str, version: Version) -> Response:
        """One config, however old."""
        endpoint = self._store.endpoint(name)
        config = self._store.config(endpoint.id, version)
        if config is None:
            raise ResourceDoesNotExist(f"Endpoint '{name}' has no config version {version}.")
        return json_answer(_shown(endpoint, config))


def _shown(endpoint: Endpoint, config: EndpointConfig) -> dict[str, Any]:
    return {
        **config_reply(config),
        "status": _status(endpoint, config),
        "creator": next((each.creator for each in config.entities), ""),
        "created_at": rfc3339(config.created_at),
    }


def _status(endpoint: Endpoint, config: EndpointConfig) -> str:
    if endpoint.active is not None and config.version == endpoint.active.version:
        return "stopped" if endpoint.stopped else "active"
    pending = endpoint.pending is not None and config.version == endpoint.pending.version
    if pending and endpoint.update is ConfigUpdate.IN_PROGRESS:
        return "pending"
    return "failed" if any(each.deployment in _FAILED for each in config.entities) else "past"
