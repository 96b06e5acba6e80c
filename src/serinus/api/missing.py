"""Calls that clients of the original service know and Serinus does not offer: a plain 501 each.

Without them a client would see 404 and look for a fault in its own paths.
"""

from fastapi import APIRouter, Request

from serinus.errors import NotImplementedHere

__all__ = ["missing_router"]

_ENDPOINT = "/api/2.0/serving-endpoints"
_PERMISSIONS = "/api/2.0/permissions/serving-endpoints/{endpoint_id}"

_MISSING: tuple[tuple[str, str], ...] = (
    ("POST", f"{_ENDPOINT}/pt"),
    ("PUT", f"{_ENDPOINT}/pt/{{name}}/config"),
    ("PATCH", f"{_ENDPOINT}/{{name}}/tags"),
    ("PUT", f"{_ENDPOINT}/{{name}}/rate-limits"),
    ("PUT", f"{_ENDPOINT}/{{name}}/ai-gateway"),
    ("PATCH", f"{_ENDPOINT}/{{name}}/notifications"),
    ("PATCH", f"{_ENDPOINT}/{{name}}/telemetry-config"),
    ("GET", f"{_ENDPOINT}/{{name}}/metrics"),
    ("GET", f"{_ENDPOINT}/{{name}}/openapi"),
    ("POST", f"{_ENDPOINT}/{{name}}/config:stop"),
    ("POST", f"{_ENDPOINT}/{{name}}/config:start"),
    ("GET", _PERMISSIONS),
    ("PUT", _PERMISSIONS),
    ("PATCH", _PERMISSIONS),
    ("GET", f"{_PERMISSIONS}/permissionLevels"),
    ("POST", "/api/2.0/external-function"),
)


def missing_router() -> APIRouter:
    """The routes; none of them is in the OpenAPI document."""
    router = APIRouter(include_in_schema=False)
    for method, path in _MISSING:
        router.add_api_route(path, _not_offered, methods=[method])
    return router


def _not_offered(request: Request) -> None:
    call = f"{request.method} {request.url.path}"
    raise NotImplementedHere(f"Serinus does not offer {call[:200]} yet.")
