"""Labels of an endpoint. They mean nothing to Serinus; clients and people find things by them."""

from collections.abc import Callable
from datetime import datetime

import msgspec
from fastapi import APIRouter, Request, Response

from serinus.api.actor import actor_of
from serinus.api.schemas import MAX_TAGS, PatchTags
from serinus.api.shapes import TagsReply
from serinus.errors import InvalidParameterValue
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store

__all__ = ["TagCalls", "tag_list"]


def tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags as replies show them, by key."""
    return [{"key": key, "value": tags[key]} for key in sorted(tags)]


class TagCalls:
    """Handlers over one store."""

    def __init__(self, store: Store, *, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter(tags=["serving endpoints"])
        path = "/api/2.0/serving-endpoints/{name}/tags"
        router.add_api_route(path, self.patch, methods=["PATCH"], response_model=TagsReply)
        return router

    def patch(self, name: str, wanted: PatchTags, request: Request) -> Response:
        """Set some tags and take others away; a key that is in both stays, as it is set."""
        endpoint, at = self._store.endpoint(name), self._clock()
        added = {tag.key: tag.value for tag in wanted.add_tags}

        def change(tags: dict[str, str]) -> dict[str, str]:
            kept = {key: value for key, value in tags.items() if key not in wanted.delete_tags}
            after = kept | added
            if len(after) > MAX_TAGS:
                raise InvalidParameterValue(
                    f"Endpoint '{name}' would have {len(after)} tags; {MAX_TAGS} is the most. "
                    f"Delete some of them."
                )
            return after

        data = {"set": sorted(added), "deleted": sorted(set(wanted.delete_tags) - added.keys())}
        entry = JournalEntry(actor_of(request), "tags_changed", at, endpoint.id, data)
        tagged = self._store.change_tags(name, change, at, journal=[entry])
        body = msgspec.json.encode({"tags": tag_list(tagged.tags)})
        return Response(body, media_type="application/json")
