"""Stopping and starting an endpoint: two wishes. Replicas end when no gateway routes to them."""

from collections.abc import Callable
from datetime import datetime

from fastapi import APIRouter, Request, Response

from serinus.api.actor import actor_of
from serinus.api.settling import Settling
from serinus.api.shapes import EndpointReply
from serinus.api.starting import live_rollout
from serinus.entities import Endpoint
from serinus.errors import ResourceConflict
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store

__all__ = ["StopCalls"]

_PATH = "/api/2.0/serving-endpoints/{name}"


class StopCalls:
    """Handlers over one store; ``reply`` shows an endpoint."""

    def __init__(
        self,
        store: Store,
        settling: Settling,
        *,
        reply: Callable[[Endpoint, Request], Response],
        wake: Callable[[], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._settling = settling
        self._reply = reply
        self._wake = wake
        self._clock = clock

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["serving endpoints"])
        for path, call in (("config:stop", self.stop), ("config:start", self.start)):
            router.add_api_route(
                f"{_PATH}/{path}", call, methods=["POST"], response_model=EndpointReply
            )
        return router

    def stop(self, name: str, request: Request) -> Response:
        """Answer nobody and run nothing, until it is started again. Twice is as good as once."""
        endpoint, at = self._store.endpoint(name), self._clock()
        live = live_rollout(self._store, endpoint.id)
        if live is not None:
            raise ResourceConflict(
                f"Endpoint {name} can't be stopped while rollout {live.state.id} is under way "
                f"({live.state.phase.value}). Wait until it has ended, or abort it."
            )
        stopped = self._store.stop_endpoint(
            name, at, journal=[_entry("endpoint_stopped", endpoint, request, at)]
        )
        self._settling.wait(name)
        return self._reply(stopped, request)

    def start(self, name: str, request: Request) -> Response:
        """Deploy what it served, as a new config version. Twice is as good as once."""
        endpoint, at = self._store.endpoint(name), self._clock()
        started = self._store.start_endpoint(
            name, at, journal=[_entry("endpoint_started", endpoint, request, at)]
        )
        self._wake()
        return self._reply(started, request)


def _entry(kind: str, endpoint: Endpoint, request: Request, at: datetime) -> JournalEntry:
    return JournalEntry(actor_of(request), kind, at, endpoint.id, {"name": endpoint.name})
