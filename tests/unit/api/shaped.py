"""Holds every good answer of the app against the shape that its OpenAPI document promises."""

from functools import cache
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

__all__ = ["check_shape"]


def check_shape(app: FastAPI, answer: httpx.Response) -> None:
    """Fail when a 200 with JSON is not what the route's model says."""
    if answer.status_code == 200 and answer.headers["content-type"] == "application/json":
        path = answer.request.url.path
        for route in _routes(list(app.routes)):
            methods = route.methods or ()
            asked = answer.request.method in methods and route.path_regex.fullmatch(path)
            if asked and route.response_model is not None:
                _shape(route.response_model).validate_json(answer.content, strict=True)
                return


@cache
def _shape(model: Any) -> TypeAdapter[Any]:
    return TypeAdapter(model)


def _routes(routes: list[Any]) -> list[APIRoute]:
    found: list[APIRoute] = []
    for route in routes:
        if isinstance(route, APIRoute):
            found.append(route)
        elif inner := getattr(route, "original_router", None) or getattr(route, "routes", None):
            found += _routes(inner if isinstance(inner, list) else inner.routes)
    return found
