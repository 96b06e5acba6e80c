"""What served entities printed: while they were prepared, and since they run. It only reads."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from serinus.api.answers import json_answer
from serinus.api.shapes import LogsReply
from serinus.entities import Endpoint, EndpointConfig, ServedEntity
from serinus.errors import ResourceDoesNotExist
from serinus.store.repository import Store

__all__ = ["LogCalls"]

_PATH = "/api/2.0/serving-endpoints/{name}/served-models/{served}"
_MOST = 1 << 20

Version = Annotated[
    int | None, Query(ge=1, lt=2**31, description="the config that is meant; without: the newest")
]
Limit = Annotated[
    int | None, Query(ge=1, le=_MOST, description="characters of a page, from the end backwards")
]
Before = Annotated[int | None, Query(ge=0, lt=2**53, description="`next` of the page before")]


class LogCalls:
    """Handlers over one store. ``replica_logs(endpoint_id, served_name)``: of those that run."""

    def __init__(self, store: Store, replica_logs: Callable[[str, str], str]) -> None:
        self._store = store
        self._replica_logs = replica_logs

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["serving endpoints"])
        for path, call in (("logs", self.logs), ("build-logs", self.build_logs)):
            router.add_api_route(f"{_PATH}/{path}", call, methods=["GET"], response_model=LogsReply)
        return router

    def logs(
        self,
        name: str,
        served: str,
        config_version: Version = None,
        limit: Limit = None,
        before: Before = None,
    ) -> Response:
        """What the replicas of a served entity printed lately.

        Those of an earlier config are gone unless a later one shares them.
        """
        endpoint = self._store.endpoint(name)
        entity, asked = self._entity(endpoint, served, config_version)
        current = [
            each
            for config in (endpoint.pending, endpoint.active)
            if config is not None and (each := config.entity(served)) is not None
        ]
        shared = not asked or any(_runs_as(each, entity) for each in current)
        return _page(self._replica_logs(endpoint.id, served) if shared else "", limit, before)

    def build_logs(
        self,
        name: str,
        served: str,
        config_version: Version = None,
        limit: Limit = None,
        before: Before = None,
    ) -> Response:
        """How a served entity's model was fetched and its environment built."""
        entity, _ = self._entity(self._store.endpoint(name), served, config_version)
        return _page(entity.build_log, limit, before)

    def _entity(
        self, endpoint: Endpoint, served: str, version: int | None
    ) -> tuple[ServedEntity, bool]:
        """The newest served entity of that name, and whether a config was asked for."""
        configs: tuple[EndpointConfig | None, ...] = (endpoint.pending, endpoint.active)
        if version is not None:
            configs = (self._store.config(endpoint.id, version),)
        if configs == (None,):
            raise ResourceDoesNotExist(
                f"Endpoint '{endpoint.name}' has no such config version: {version}. "
                f"GET /api/serinus/v1/endpoints/{endpoint.name}/configs lists those there are."
            )
        for config in configs:
            if config is not None and (entity := config.entity(served)) is not None:
                return entity, version is not None
        names = sorted({entity.name for config in configs if config for entity in config.entities})
        raise ResourceDoesNotExist(
            f"Served model '{served[:80]}' does not exist in endpoint '{endpoint.name}'. "
            f"It has: {', '.join(names) or 'none'}."
        )


def _runs_as(one: ServedEntity, other: ServedEntity) -> bool:
    """True when both are served by the same replicas."""
    return (one.model, one.environment_vars, one.intake, one.optimize) == (
        other.model,
        other.environment_vars,
        other.intake,
        other.optimize,
    )


def _page(text: str, limit: int | None, before: int | None) -> Response:
    """The text, or its end; ``next`` is where the page before this one ends, null at the top."""
    body: dict[str, Any] = {"logs": text}
    if limit is not None or before is not None:
        end = len(text) if before is None else min(before, len(text))
        begin = max(0, end - (limit or _MOST))
        body = {"logs": text[begin:end], "next": begin or None}
    return json_answer(body)
