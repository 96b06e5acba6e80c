"""The serving-endpoints calls: each writes one wish into the store and wakes the controller.

Nothing here starts, stops or asks a replica, and no call waits for a wish to come true.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from fastapi import APIRouter, Request, Response

from serinus.api.actor import actor_of
from serinus.api.ai_gateway import kept_of
from serinus.api.answers import json_answer
from serinus.api.direct import candidate_in
from serinus.api.missing import NO_TELEMETRY
from serinus.api.naming import endpoint_name
from serinus.api.permissions import permission_level
from serinus.api.policy import policy_of, spec_of
from serinus.api.rate_limits import limits_from
from serinus.api.repeats import repeats_create, repeats_rollout, repeats_update
from serinus.api.replies import endpoint_reply
from serinus.api.schemas import CreateEndpoint, PutConfig
from serinus.api.settling import Settling
from serinus.api.shapes import EndpointPage, EndpointReply, Nothing
from serinus.api.split import serving_now
from serinus.api.starting import Starter
from serinus.api.supplies import Check
from serinus.api.target import wanted_target
from serinus.api.wishes import config_from, same_as_wanted
from serinus.entities import ConfigUpdate, Endpoint, EndpointConfig, RateLimit
from serinus.errors import NotImplementedHere, ResourceAlreadyExists, ResourceConflict
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
        settling: Settling,
        *,
        wake: Callable[[], None],
        clock: Callable[[], datetime],
        new_id: Callable[[], str],
        check: Check,
    ) -> None:
        """``check`` refuses what this server lacks something for."""
        self._store = store
        self._check = check
        self._starter = starter
        self._settling = settling
        self._wake = wake
        self._clock = clock
        self._new_id = new_id

    def router(self) -> APIRouter:
        """The routes; the collection answers with and without a trailing slash."""
        router = APIRouter(tags=["serving endpoints"])
        for path, listed in ((_PATH, True), (f"{_PATH}/", False)):
            for method, call, shape in (
                ("POST", self.create, EndpointReply),
                ("GET", self.list, EndpointPage),
            ):
                router.add_api_route(
                    path, call, methods=[method], include_in_schema=listed, response_model=shape
                )
        one = f"{_PATH}/{{name}}"
        router.add_api_route(one, self.get, methods=["GET"], response_model=EndpointReply)
        router.add_api_route(one, self.delete, methods=["DELETE"], response_model=Nothing)
        router.add_api_route(
            f"{one}/config", self.put_config, methods=["PUT"], response_model=EndpointReply
        )
        return router

    def create(self, wanted: CreateEndpoint, request: Request) -> Response:
        """Make an endpoint; its config is pending until every served entity is ready."""
        at, actor = self._clock(), actor_of(request)
        config = config_from(wanted.config, version=1, creator=actor, at=at)
        endpoint = Endpoint(
            id=self._new_id(),
            name=endpoint_name(wanted.name),
            creator=actor,
            created_at=at,
            updated_at=at,
            pending=config,
            update=ConfigUpdate.IN_PROGRESS,
            description=wanted.description or "",
            tags={tag.key: tag.value for tag in wanted.tags},
            route_optimized=wanted.route_optimized,
            echo=_echo(wanted),
            rate_limits=_limits(wanted),
        )
        self._check(config.entities)
        try:
            created = self._store.create_endpoint(
                endpoint, journal=[_entry(actor, "endpoint_created", endpoint, at)]
            )
        except ResourceAlreadyExists:
            created = self._store.endpoint(endpoint.name)
            if not repeats_create(created, self._store.config(created.id, 1), endpoint):
                raise
        self._wake()
        return self.reply(created, request)

    def list(self, request: Request) -> Response:
        """All endpoints, by name."""
        base, live = base_url(request), self._live()
        replies = [
            endpoint_reply(
                each, base_url=base, serving=self._serving(each, live), permission_level=level
            )
            for each in self._store.endpoints()
            if (level := permission_level(each.name, request))
        ]
        return json_answer({"endpoints": replies})

    def get(self, name: str, request: Request) -> Response:
        """One endpoint with its active and its pending config."""
        return self.reply(self._store.endpoint(name), request)

    def put_config(
        self, name: str, wanted: PutConfig, request: Request, unless_same: bool = False
    ) -> Response:
        """Replace the config; the old one serves until every entity of the new one is ready.

        With a policy, a new version comes as a rollout. ``unless_same``: nothing happens when the
        endpoint serves, or is about to serve, just that.
        """
        at, actor = self._clock(), actor_of(request)
        before = self._store.endpoint(name)
        asked = config_from(wanted, version=0, creator=actor, at=at)
        live = self._live().get(before.id)
        if (unless_same and same_as_wanted(before, asked)) or self._repeats(before, live, asked):
            return self.reply(before, request)
        self._check(asked.entities)
        if before.active is not None and self._rolled_out(before, asked, actor):
            self._wake()
            return self.reply(self._store.endpoint(name), request)
        if live is not None:
            raise ResourceConflict(
                f"Endpoint {name} is currently updating: rollout {live.state.id} is under way "
                f"({live.state.phase.value}). Wait until it has ended, or abort it."
            )

        def config(version: int) -> EndpointConfig:
            made = replace(asked, version=version)
            kept = before.active or before.pending
            if made.auto_capture is None and kept is not None:
                # The one field that an update keeps when it is left out.
                made = replace(made, auto_capture=kept.auto_capture)
            return made

        updated = self._store.put_config(
            name, config, at, journal=[_entry(actor, "config_requested", before, at)]
        )
        self._wake()
        return self.reply(updated, request)

    def _repeats(self, before: Endpoint, live: StoredRollout | None, asked: EndpointConfig) -> bool:
        """True when the caller has asked for it a moment ago, and it is done or under way."""
        actor = asked.entities[0].creator
        if live is None:
            return repeats_update(before, asked, actor)
        target = self._store.config(before.id, live.target_version)
        return repeats_rollout(target, live.state.created_by, asked, actor)

    def _rolled_out(self, before: Endpoint, asked: EndpointConfig, actor: str) -> bool:
        """True when the policy makes a rollout of this update, and it has been started."""
        policy = policy_of(self._store, before.id)
        if not policy.takes_updates:
            return False
        name = before.name
        serving, _ = self._starter.base(name)
        candidate = candidate_in(policy, serving, asked, name)
        if candidate is None:
            return False
        spec = spec_of(policy, {"candidate": candidate.model_uri}, name)
        self._starter.start(
            name, spec, lambda config: wanted_target(config, name, asked, candidate), actor
        )
        return True

    def delete(self, name: str, request: Request) -> Response:
        """Take the endpoint out of service; its name is free at once."""
        at = self._clock()
        endpoint = self._store.endpoint(name)
        self._store.delete_endpoint(
            name, at, journal=[_entry(actor_of(request), "endpoint_deleted", endpoint, at)]
        )
        self._settling.wait(name)
        return json_answer({})

    def reply(self, endpoint: Endpoint, request: Request) -> Response:
        """One endpoint as every call shows it."""
        serving = self._serving(endpoint, self._live())
        level = permission_level(endpoint.name, request)
        return json_answer(
            endpoint_reply(
                endpoint, base_url=base_url(request), serving=serving, permission_level=level
            )
        )

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


def _echo(wanted: CreateEndpoint) -> dict[str, object]:
    """What of a create is only kept and shown; raises NotImplementedHere."""
    if wanted.telemetry_config:
        raise NotImplementedHere(NO_TELEMETRY)
    mail = wanted.email_notifications
    echo: dict[str, object] = {
        "ai_gateway": kept_of(wanted.ai_gateway) if wanted.ai_gateway is not None else {},
        "email_notifications": mail.model_dump(exclude_none=True) if mail is not None else {},
        "budget_policy_id": wanted.budget_policy_id,
    }
    return {key: value for key, value in echo.items() if value}


def _limits(wanted: CreateEndpoint) -> tuple[RateLimit, ...]:
    """Where both places have limits, the newer one's count."""
    newer = wanted.ai_gateway.rate_limits if wanted.ai_gateway is not None else None
    return limits_from(newer or wanted.rate_limits or [])


def _entry(actor: str, kind: str, endpoint: Endpoint, at: datetime) -> JournalEntry:
    return JournalEntry(actor, kind, at, endpoint_id=endpoint.id, data={"name": endpoint.name})
