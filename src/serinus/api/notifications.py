"""Whom to tell of updates by mail: kept and shown, because clients set it. No mail is ever sent."""

from collections.abc import Callable
from datetime import datetime

import msgspec
from fastapi import APIRouter, Request, Response

from serinus.api.actor import actor_of
from serinus.api.schemas import PatchNotifications
from serinus.api.shapes import NotificationsReply
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store

__all__ = ["NotificationCalls"]

#: What the reply says in a header, since its body is the one that clients know.
_NOTE = "No mail is sent. Give a rollout or the endpoint's policy a webhook in notify instead."


class NotificationCalls:
    """Handlers over one store."""

    def __init__(self, store: Store, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter(tags=["serving endpoints"])
        path = "/api/2.0/serving-endpoints/{name}/notifications"
        router.add_api_route(path, self.patch, methods=["PATCH"], response_model=NotificationsReply)
        return router

    def patch(self, name: str, wanted: PatchNotifications, request: Request) -> Response:
        """Keep the addresses. Serinus sends no mail; its rollouts post to webhooks."""
        endpoint, at = self._store.endpoint(name), self._clock()
        mail = wanted.email_notifications
        shown = mail.model_dump(exclude_none=True) if mail is not None else {}
        entry = JournalEntry(actor_of(request), "notifications_set", at, endpoint.id)
        self._store.set_echo(name, "email_notifications", shown, at, journal=[entry])
        body = msgspec.json.encode({"name": name, "email_notifications": shown})
        return Response(
            body, media_type="application/json", headers={"x-serinus-note": _NOTE} if shown else {}
        )
