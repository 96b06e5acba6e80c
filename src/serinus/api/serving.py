"""The serving-endpoints calls: each writes one wish into the store and wakes the controller.

Nothing here starts, stops or asks a replica, and no call waits for a wish to come true.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
from fastapi import APIRouter, Query, Request, Response

from serinus.api.actor import ANONYMOUS, actor_of
from serinus.api.direct import candidate_in
from serinus.api.policy import policy_of, spec_of
from serinus.api.replies import endpoint_reply
from serinus.api.schemas import CreateEndpoint, PutConfig
from serinus.api.split import serving_now
from serinus.api.starting import Starter
from serinus.api.target import wanted_target
from serinus.api.wishes import config_from, endpoint_name
from serinus.entities import ConfigUpdate, Endpoint, EndpointConfig, ServedEntity
from serinus.errors import NotImplementedHere, ResourceConflict, ResourceDoesNotExist
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store
from serinus.store.rollouts import StoredRollout

__all__ = ["Serving", "base_url"]

_PATH = "/api/2.0/serving-endpoints"
_HOST = re.compile(r"[A-Za-z0-9._-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")


class Serving:
    """Handlers over one store. ``wake`` tells the controller that there is something to do."""

    def __init__(
        self,
        store: Store,
        starter: Starter,
        *,
        wake: Callable[[], None],
        replica_logs: Callable[[str, str], str],
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._starter = starter
        self._wake = wake
        self._replica_logs = replica_logs
        self._clock = clock
        self._new_id = new_id

    def router(self) -> APIRouter:
        """The routes; the collection answers with and without a trailing slash."""
        router = APIRouter(tags=["serving endpoints"])
        served = f"{_PATH}/{{name}}/served-models/{{served}}"
        for path, listed in ((_PATH, True), (f"{_PATH}/", False)):
            router.add_api_route(path, self.create, methods=["POST"], include_in_schema=listed)
            router.add_api_route(path, self.list, methods=["GET"], include_in_schema=listed)
        router.add_api_route(f"{_PATH}/{{name}}", self.get, methods=["GET"])
        router.add_api_route(f"{_PATH}/{{name}}", self.delete, methods=["DELETE"])
        router.add_api_route(f"{_PATH}/{{name}}/config", self.put_config, methods=["PUT"])
        router.add_api_route(f"{served}/logs", self.logs, methods=["GET"])
        router.add_api_route(f"{served}/build-logs", self.build_logs, methods=["GET"])
        return router

    def create(self, wanted: CreateEndpoint, request: Request) -> Response:
        """Make an endpoint; its config is pending until every served entity is ready."""
        if wanted.rate_limits:
            raise NotImplementedHere("Serinus does not limit rates yet. Leave out rate_limits.")
        at = self._clock()
        endpoint = Endpoint(
            id=self._new_id(),
            name=endpoint_name(wanted.name),
            creator=ANONYMOUS,
            created_at=at,
            updated_at=at,
            pending=config_from(wanted.config, version=1, creator=ANONYMOUS, at=at),
            update=ConfigUpdate.IN_PROGRESS,
            description=wanted.description or "",
            tags={tag.key: tag.value for tag in wanted.tags},
            route_optimized=wanted.route_optimized,
        )
        created = self._store.create_endpoint(
            endpoint, journal=[_entry("endpoint_created", endpoint, at, name=endpoint.name)]
        )
        self._wake()
        return self._reply(created, request)

    def list(self, request: Request) -> Response:
        """All endpoints, by name."""
        base, live = base_url(request), self._live()
        replies = [
            endpoint_reply(each, base_url=base, serving=self._serving(each, live))
            for each in self._store.endpoints()
        ]
        return _json({"endpoints": replies})

    def get(self, name: str, request: Request) -> Response:
        """One endpoint with its active and its pending config."""
        return self._reply(self._store.endpoint(name), request)

    def put_config(self, name: str, wanted: PutConfig, request: Request) -> Response:
        """Replace the config; the old one serves until every entity of the new one is ready.

        With a policy, a new version comes as a rollout.
        """
        at = self._clock()
        before = self._store.endpoint(name)
        live = self._live().get(before.id)
        if before.active is not None and self._rolled_out(before, wanted, request):
            self._wake()
            return self._reply(self._store.endpoint(name), request)
        if live is not None:
            raise ResourceConflict(
                f"Endpoint {name} is currently updating: rollout {live.state.id} is under way "
                f"({live.state.phase.value}). Wait until it has ended, or abort it."
            )

        def config(version: int) -> EndpointConfig:
            made = config_from(wanted, version=version, creator=ANONYMOUS, at=at)
            kept = before.active or before.pending
            if made.auto_capture is None and kept is not None:
                # The one field that an update keeps when it is left out.
                made = replace(made, auto_capture=kept.auto_capture)
            return made

        updated = self._store.put_config(
            name, config, at, journal=[_entry("config_requested", before, at, name=name)]
        )
        self._wake()
        return self._reply(updated, request)

    def _rolled_out(self, before: Endpoint, wanted: PutConfig, request: Request) -> bool:
        """True when the policy makes a rollout of this update, and it has been started."""
        policy = policy_of(self._store, before.id)
        if not policy.takes_updates:
            return False
        name, actor, at = before.name, actor_of(request), self._clock()
        asked = config_from(wanted, version=0, creator=actor, at=at)
        serving, _ = self._starter.base(name)
        candidate = candidate_in(policy, serving, asked, name)
        if candidate is None:
            return False
        spec = spec_of(policy, {"candidate": candidate.model_uri}, name)
        self._starter.start(
            name, spec, lambda config: wanted_target(config, name, asked, candidate), actor
        )
        return True

    def delete(self, name: str) -> Response:
        """Take the endpoint out of service; its name is free at once."""
        at = self._clock()
        endpoint = self._store.endpoint(name)
        self._store.delete_endpoint(
            name, at, journal=[_entry("endpoint_deleted", endpoint, at, name=name)]
        )
        self._wake()
        return _json({})

    def logs(self, name: str, served: str) -> Response:
        """What the replicas of a served entity printed lately."""
        endpoint = self._store.endpoint(name)
        _served(endpoint, served, endpoint.pending, endpoint.active)
        return _json({"logs": self._replica_logs(endpoint.id, served)})

    def build_logs(
        self,
        name: str,
        served: str,
        config_version: int | None = Query(None, ge=1, lt=2**31),
    ) -> Response:
        """How a served entity's model was fetched and its environment built."""
        endpoint = self._store.endpoint(name)
        configs: tuple[EndpointConfig | None, ...] = (endpoint.pending, endpoint.active)
        if config_version is not None:
            configs = (self._store.config(endpoint.id, config_version),)
        return _json({"logs": _served(endpoint, served, *configs).build_log})

    def _reply(self, endpoint: Endpoint, request: Request) -> Response:
        serving = self._serving(endpoint, self._live())
        return _json(endpoint_reply(endpoint, base_url=base_url(request), serving=serving))

    def _live(self) -> dict[str, StoredRollout]:
        """Rollouts under way, by endpoint id."""
        found = self._store.rollouts.relevant(self._clock())
        return {each.endpoint_id: each for each in found if not each.state.phase.terminal}

    def _serving(self, endpoint: Endpoint, live: dict[str, StoredRollout]) -> EndpointConfig | None:
        """What serves, with the split as it is at this moment."""
        rollout = live.get(endpoint.id)
        if rollout is None or endpoint.active is None:
            return endpoint.active
        versions = (rollout.stable_version, rollout.target_version)
        configs = [self._store.config(endpoint.id, version) for version in versions]
        return serving_now(endpoint.active, rollout.state, *configs)


def base_url(request: Request) -> str:
    """Scheme and host as the client wrote them, for links back to this server."""
    host = request.headers.get("host", "")
    return f"{request.url.scheme}://{host if _HOST.fullmatch(host) else 'localhost'}"


def _served(endpoint: Endpoint, served: str, *configs: EndpointConfig | None) -> ServedEntity:
    """The newest served entity of that name in these configs; raises ResourceDoesNotExist."""
    for config in configs:
        if config is not None and (entity := config.entity(served)) is not None:
            return entity
    names = sorted({entity.name for config in configs if config for entity in config.entities})
    raise ResourceDoesNotExist(
        f"Served model '{served[:80]}' does not exist in endpoint '{endpoint.name}'. "
        f"It has: {', '.join(names) or 'no such config version'}."
    )


def _entry(kind: str, endpoint: Endpoint, at: datetime, **data: Any) -> JournalEntry:
    return JournalEntry(ANONYMOUS, kind, at, endpoint_id=endpoint.id, data=data)


def _json(body: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
