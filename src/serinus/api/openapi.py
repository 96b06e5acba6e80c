"""The OpenAPI document of one endpoint: what may be sent to it, from its models' signatures.

It reads the files of pinned models and never loads one.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from serinus.api.serving import base_url
from serinus.api.signature_schema import body_schema
from serinus.entities import Endpoint, ServedEntity
from serinus.errors import InvalidState
from serinus.replica.card import Card, read_card
from serinus.store.repository import Store

__all__ = ["OpenApiCalls"]


class OpenApiCalls:
    """``model_directory``: where the pinned files of a model digest are; None: nowhere."""

    def __init__(self, store: Store, model_directory: Callable[[str], Path] | None) -> None:
        self._store = store
        self._directory = model_directory
        # A pinned model never changes.
        self._card = lru_cache(maxsize=64)(self._read)

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter(tags=["serving endpoints"])
        router.add_api_route(
            "/api/2.0/serving-endpoints/{name}/openapi",
            self.get,
            methods=["GET"],
            response_class=Response,
            responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        )
        return router

    def get(self, name: str, request: Request) -> Response:
        """An OpenAPI document of the endpoint's own paths; 400 until it serves something."""
        endpoint = self._store.endpoint(name)
        if endpoint.active is None:
            raise InvalidState(
                f"Endpoint '{name}' serves nothing yet, so nobody knows what it takes. Wait until "
                f"its config_update is NOT_UPDATING."
            )
        document = self._document(endpoint, base_url(request))
        # The clients take it as a stream of text.
        return Response(msgspec.json.encode(document), media_type="text/plain; charset=utf-8")

    def _document(self, endpoint: Endpoint, base: str) -> dict[str, Any]:
        config = endpoint.active
        entities = config.entities if config is not None else ()
        schemas = {entity.name: self._schema(entity) for entity in entities}
        carrying = [each.name for each in entities if config and config.weights.get(each.name)]
        different = {msgspec.json.encode(schemas[each]): schemas[each] for each in carrying}
        whole = [*different.values()]
        path = f"/serving-endpoints/{endpoint.name}"
        paths = {f"{path}/invocations": _score(whole[0] if len(whole) == 1 else {"anyOf": whole})}
        for name, schema in schemas.items():
            paths[f"{path}/served-models/{name}/invocations"] = _score(schema)
        return {
            "openapi": "3.1.0",
            "info": {
                "title": endpoint.name,
                "version": str(config.version if config is not None else 0),
                **({"description": endpoint.description} if endpoint.description else {}),
            },
            "servers": [{"url": base}],
            "paths": paths,
        }

    def _schema(self, entity: ServedEntity) -> dict[str, Any]:
        digest = entity.model.digest if entity.model is not None else ""
        return body_schema(self._card(digest) if digest else None)

    def _read(self, digest: str) -> Card | None:
        if self._directory is None:
            return None
        try:
            return read_card(self._directory(digest))
        except (OSError, ValueError, KeyError, TypeError):
            return None  # it was served, so it is a model; what it takes is not known


def _score(schema: dict[str, Any]) -> dict[str, Any]:
    answer = {
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": {}},
    }
    return {
        "post": {
            "summary": "Score rows",
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": schema},
                    "text/csv": {"schema": {"type": "string"}},
                    "application/vnd.apache.parquet": {
                        "schema": {"type": "string", "format": "binary"}
                    },
                },
            },
            "responses": {
                "200": {
                    "description": "predictions, in the order of the rows",
                    "content": {"application/json": {"schema": answer}},
                }
            },
        }
    }
