"""Calls that clients of the original service know and Serinus does not offer: a plain 501 each.

Without them a client would see 404 and look for a fault in its own paths.
"""

from collections.abc import Callable

from fastapi import APIRouter

from serinus.errors import NotImplementedHere

__all__ = ["NO_TELEMETRY", "missing_router"]

NO_TELEMETRY = (
    "telemetry_config sends logs and metrics to tables of the original service, and Serinus writes "
    "none. Leave it out, and scrape GET /api/2.0/serving-endpoints/NAME/metrics instead."
)
_ENDPOINT = "/api/2.0/serving-endpoints"
_PROVISIONED = (
    "Provisioned throughput is for language models, and Serinus serves custom models. Create the "
    f"endpoint with POST {_ENDPOINT}, and give its served entities replicas."
)
_EXTERNAL = (
    "External functions are connections of the original service, and Serinus has none. Call the "
    "other service itself."
)
#: Method, path, why not and what instead.
_MISSING: tuple[tuple[str, str, str], ...] = (
    ("POST", f"{_ENDPOINT}/pt", _PROVISIONED),
    ("PUT", f"{_ENDPOINT}/pt/{{name}}/config", _PROVISIONED),
    ("PATCH", f"{_ENDPOINT}/{{name}}/telemetry-config", NO_TELEMETRY),
    ("POST", "/api/2.0/external-function", _EXTERNAL),
)


def missing_router() -> APIRouter:
    """The routes; none of them is in the OpenAPI document."""
    router = APIRouter(include_in_schema=False)
    for method, path, why in _MISSING:
        router.add_api_route(path, _refusing(why), methods=[method])
    return router


def _refusing(why: str) -> Callable[[], None]:
    def refuse() -> None:
        raise NotImplementedHere(why)

    return refuse
