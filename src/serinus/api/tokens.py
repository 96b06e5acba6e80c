"""Tokens: made, listed, revoked. A new one is shown once, in the answer to its making."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from serinus.api.access_shapes import MadeToken, RevokedToken, TokenPage
from serinus.api.actor import actor_of
from serinus.api.answers import json_answer
from serinus.api.minting import CreateToken, made_token, token_resource
from serinus.api.settling import Settling
from serinus.store.repository import Store

__all__ = ["TokenCalls"]

_PATH = "/api/serinus/v1/tokens"


class TokenCalls:
    """Handlers over one store. ``random(n)`` gives n bytes that nobody can guess."""

    def __init__(
        self,
        store: Store,
        settling: Settling,
        *,
        clock: Callable[[], datetime],
        random: Callable[[int], bytes],
    ) -> None:
        self._store = store
        self._settling = settling
        self._clock = clock
        self._random = random

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["tokens"])
        router.add_api_route(_PATH, self.create, methods=["POST"], response_model=MadeToken)
        router.add_api_route(_PATH, self.list, methods=["GET"], response_model=TokenPage)
        router.add_api_route(
            f"{_PATH}/{{token}}", self.revoke, methods=["DELETE"], response_model=RevokedToken
        )
        return router

    def create(self, wanted: CreateToken, request: Request) -> Response:
        """Make a token. The answer is the only time that it is shown."""
        token, text = made_token(
            wanted, by=actor_of(request), at=self._clock(), random=self._random
        )
        self._store.tokens.create(token)
        in_force = self._settling.wait()
        return _json({**token_resource(token), "token": text, "in_force": in_force})

    def list(self) -> Response:
        """Every token that is not revoked, by name; never the tokens themselves."""
        return _json({"tokens": [token_resource(each) for each in self._store.tokens.all()]})

    def revoke(self, token: str) -> Response:
        """End the token of that name, at every gateway; its rights end too."""
        self._store.tokens.revoke(token, self._clock())
        return _json({"name": token, "in_force": self._settling.wait()})


def _json(body: dict[str, Any]) -> Response:
    # Nobody on the way may keep it.
    return json_answer(body, cache_control="no-store")
