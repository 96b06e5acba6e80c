"""Rate limits of an endpoint, as clients set them. Gateways enforce them; nothing here counts."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from serinus.api.access_shapes import RateLimitsReply
from serinus.api.actor import actor_of
from serinus.api.answers import json_answer
from serinus.api.schemas import PutRateLimits, RateLimitInput
from serinus.api.settling import Settling
from serinus.entities import RateLimit
from serinus.errors import InvalidParameterValue, NotImplementedHere
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store

__all__ = ["RateLimitCalls", "limits_from", "limits_reply"]


def limits_from(wanted: Iterable[RateLimitInput]) -> tuple[RateLimit, ...]:
    """The limits that a client asks for; raises InvalidParameterValue or NotImplementedHere."""
    return tuple(_limit(each) for each in wanted)


def limits_reply(limits: Iterable[RateLimit]) -> list[dict[str, Any]]:
    """The limits as clients read them."""
    return [
        {
            "calls": limit.calls,
            "key": limit.key,
            "renewal_period": "minute",
            **({"principal": limit.principal} if limit.principal else {}),
        }
        for limit in limits
    ]


def _limit(wanted: RateLimitInput) -> RateLimit:
    if wanted.tokens is not None:
        raise NotImplementedHere(
            "rate_limits: tokens are counted of language models. Limit calls instead."
        )
    if wanted.key in ("user_group", "service_principal"):
        raise NotImplementedHere(
            f"rate_limits: Serinus has no {wanted.key}. Use the key user, with the name of a token "
            "as principal."
        )
    if wanted.calls is None:
        raise InvalidParameterValue("rate_limits: calls is missing.")
    if wanted.principal and wanted.key != "user":
        raise InvalidParameterValue("rate_limits: a principal goes with the key user.")
    # The original service counts by endpoint when nothing else is said.
    return RateLimit(wanted.calls, wanted.key or "endpoint", wanted.principal or "")


class RateLimitCalls:
    """Handlers over one store."""

    def __init__(self, store: Store, settling: Settling, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._settling = settling
        self._clock = clock

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter(tags=["serving endpoints"])
        path = "/api/2.0/serving-endpoints/{name}/rate-limits"
        router.add_api_route(path, self.put, methods=["PUT"], response_model=RateLimitsReply)
        return router

    def put(self, name: str, wanted: PutRateLimits, request: Request) -> Response:
        """Replace the limits; an empty list takes them away."""
        limits, at = limits_from(wanted.rate_limits), self._clock()
        shown = limits_reply(limits)
        endpoint = self._store.endpoint(name)
        entry = JournalEntry(
            actor_of(request), "rate_limits_set", at, endpoint.id, {"rate_limits": shown}
        )
        self._store.set_fields(name, at=at, rate_limits=limits, journal=[entry])
        self._settling.wait(name)
        return json_answer({"rate_limits": shown})
