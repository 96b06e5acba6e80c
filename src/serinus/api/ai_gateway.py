"""The gateway settings of the original service, as far as they are for custom models."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from serinus.api.actor import actor_of
from serinus.api.answers import json_answer
from serinus.api.rate_limits import limits_from, limits_reply
from serinus.api.schemas import AiGateway
from serinus.api.settling import Settling
from serinus.api.shapes import AiGatewayReply
from serinus.errors import NotImplementedHere
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store

__all__ = ["AiGatewayCalls", "kept_of"]


def kept_of(wanted: AiGateway) -> dict[str, Any]:
    """What is kept and shown of the settings, rate limits apart; raises NotImplementedHere."""
    if wanted.fallback_config is not None and wanted.fallback_config.enabled:
        raise NotImplementedHere(
            "fallback_config is not for custom models: a failed request is never answered by "
            "another version. Leave it out, or roll versions out with guardrails."
        )
    if wanted.guardrails:
        raise NotImplementedHere(
            "guardrails are for language models, and Serinus serves custom models. Leave them out."
        )
    return wanted.model_dump(
        include={"inference_table_config", "usage_tracking_config"}, exclude_none=True
    )


class AiGatewayCalls:
    """Handlers over one store."""

    def __init__(self, store: Store, settling: Settling, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._settling = settling
        self._clock = clock

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter(tags=["serving endpoints"])
        path = "/api/2.0/serving-endpoints/{name}/ai-gateway"
        router.add_api_route(path, self.put, methods=["PUT"], response_model=AiGatewayReply)
        return router

    def put(self, name: str, wanted: AiGateway, request: Request) -> Response:
        """Replace the settings: what is left out is set no more."""
        kept = kept_of(wanted)
        endpoint, at = self._store.endpoint(name), self._clock()
        entry = JournalEntry(actor_of(request), "ai_gateway_set", at, endpoint.id, kept)
        limits = limits_from(wanted.rate_limits or [])
        self._store.set_echo(name, "ai_gateway", kept, at, journal=[entry])
        if limits != endpoint.rate_limits:
            self._store.set_fields(name, at=at, rate_limits=limits)
            self._settling.wait(name)
        shown = {**kept, "rate_limits": limits_reply(limits)} if limits else kept
        return json_answer(shown)
