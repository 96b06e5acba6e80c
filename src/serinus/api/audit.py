"""The record of who changed what, for administrators. It only reads."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from serinus.api.access_shapes import AuditChecked, AuditPage
from serinus.api.answers import json_answer
from serinus.api.audited import audit_resource, check_resource
from serinus.store.repository import Store

__all__ = ["AuditCalls"]

_PATH = "/api/serinus/v1/audit"


class AuditCalls:
    """Handlers over one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["audit"])
        router.add_api_route(_PATH, self.list, methods=["GET"], response_model=AuditPage)
        router.add_api_route(
            f"{_PATH}/check", self.check, methods=["GET"], response_model=AuditChecked
        )
        return router

    def list(
        self,
        endpoint: str | None = None,
        before: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        """Changes, the newest first; ``before`` is the id of the last one of the page before."""
        found = self._store.audit.entries(endpoint=endpoint, before=before, limit=limit)
        return json_answer({"entries": [audit_resource(entry) for entry in found]})

    def check(self) -> Response:
        """Follow the chain of hashes over the whole record."""
        return json_answer(check_resource(self._store.audit.verify()))
