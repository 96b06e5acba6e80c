"""The journal of an endpoint as server-sent events, for as long as somebody listens.

It polls the store at a steady pace, off the event loop; it never reads faster than that.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from serinus.api.resources import entry_resource
from serinus.errors import InvalidParameterValue
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store

__all__ = ["Events"]

_PAGE = 1000
_LARGEST = 2**63


class Events:
    """The handler over one store. All times are in seconds."""

    def __init__(
        self,
        store: Store,
        *,
        poll_s: float = 0.5,
        keep_alive_s: float = 15.0,
        longest_s: float = 300.0,
    ) -> None:
        """``longest_s``: a stream ends by itself then; its client comes back where it was.

        So a listener that left without a word, behind a proxy, is forgotten in the end.
        """
        self._store = store
        self._poll_s = poll_s
        self._keep_alive_s = keep_alive_s
        self._longest_s = longest_s

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter(tags=["events"])
        path = "/api/serinus/v1/endpoints/{name}/events"
        router.add_api_route(path, self.listen, methods=["GET"], response_class=StreamingResponse)
        return router

    async def listen(self, name: str, request: Request) -> StreamingResponse:
        """Journal entries as they come; after ``Last-Event-ID`` also those that were missed."""
        after = _last_seen(request.headers.get("last-event-id", ""))
        endpoint = await run_in_threadpool(self._store.endpoint, name)
        if after is None:
            after = await run_in_threadpool(self._newest, endpoint.id)
        return StreamingResponse(
            self._stream(endpoint.id, after, request),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    async def _stream(self, endpoint_id: str, after: int, request: Request) -> AsyncIterator[bytes]:
        # The id is where to come back to, also for a client that has not heard anything yet.
        yield b"retry: 2000\nid: %d\n\n" % after
        told = time.monotonic()
        end = told + self._longest_s
        while time.monotonic() < end and not await request.is_disconnected():
            page = await run_in_threadpool(
                self._store.journal, endpoint_id, after=after, limit=_PAGE
            )
            for entry in page:
                yield _event(entry)
                after = entry.id
                if entry.kind == "endpoint_deleted":
                    return
            if page:
                told = time.monotonic()
            elif time.monotonic() - told >= self._keep_alive_s:
                yield b": still here\n\n"
                told = time.monotonic()
            if len(page) < _PAGE:
                await asyncio.sleep(self._poll_s)

    def _newest(self, endpoint_id: str) -> int:
        after = 0
        while page := self._store.journal(endpoint_id, after=after, limit=_PAGE):
            after = page[-1].id
            if len(page) < _PAGE:
                break
        return after


def _last_seen(header: str) -> int | None:
    """The id of the last event that the client has seen; None when it does not say."""
    if not header:
        return None
    if header.isascii() and header.isdigit() and int(header[:20]) < _LARGEST:
        return int(header)
    raise InvalidParameterValue(
        f"Last-Event-ID is {header[:40]!r}; it is the id of an event of this stream, a number."
    )


def _event(entry: JournalEntry) -> bytes:
    data = msgspec.json.encode(entry_resource(entry))
    return b"event: %s\nid: %d\ndata: %s\n\n" % (entry.kind.encode(), entry.id, data)
