"""What each call of the control API asks of its caller: one line per call, and none may be missing.

A route that is not declared here keeps the server from starting.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from starlette.routing import BaseRoute, Route

from serinus.access import EVERY, Right

__all__ = ["BY_ID", "Need", "calls", "flat", "need_of", "undeclared"]

#: The path parameter that names an endpoint by its id.
BY_ID = "endpoint_id"


@dataclass(frozen=True, slots=True)
class Need:
    """What a call asks for; NONE without ``admin`` asks for any token."""

    right: Right = Right.NONE
    #: The path parameter that names the endpoint, or `EVERY`.
    on: str = "name"
    admin: bool = False
    #: Answered to anybody.
    open: bool = False
    #: Also where nobody else is asked who they are: what it gives outlasts that.
    strict: bool = False
    #: Whether a change that it makes is recorded.
    recorded: bool = True


OPEN = Need(open=True)
KNOWN = Need()
VIEW, QUERY, MANAGE = Need(Right.VIEW), Need(Right.QUERY), Need(Right.MANAGE)
CREATE = Need(Right.MANAGE, EVERY)
ADMIN = Need(admin=True)
#: What comes in with the traffic is no change of anything.
_REPORT = Need(Right.QUERY, recorded=False)
_LOOK = Need(Right.MANAGE, recorded=False)

_ALL = "/api/2.0/serving-endpoints"
_ONE = f"{_ALL}/{{name}}"
_SERVED = f"{_ONE}/served-models/{{served}}"
_OWN = "/api/serinus/v1/endpoints/{name}"
_ROLLOUT = f"{_OWN}/rollouts/{{rollout_id}}"
_PERMISSIONS = f"/api/2.0/permissions/serving-endpoints/{{{BY_ID}}}"

_NEEDS: dict[str, Need] = {
    "GET /.well-known/databricks-config": OPEN,
    "GET /api/serinus/v1/openapi.json": KNOWN,
    "GET /metrics": Need(Right.VIEW, EVERY),
    "GET /api/2.0/preview/scim/v2/Me": KNOWN,
    "POST /api/2.0/external-function": KNOWN,
    # Shows those that the caller may see.
    f"GET {_ALL}": KNOWN,
    f"GET {_ALL}/": KNOWN,
    f"POST {_ALL}": CREATE,
    f"POST {_ALL}/": CREATE,
    f"POST {_ALL}/pt": CREATE,
    f"PUT {_ALL}/pt/{{name}}/config": CREATE,
    f"GET {_ONE}": VIEW,
    f"DELETE {_ONE}": MANAGE,
    f"PUT {_ONE}/config": MANAGE,
    f"POST {_ONE}/config:stop": MANAGE,
    f"POST {_ONE}/config:start": MANAGE,
    f"GET {_ONE}/metrics": VIEW,
    f"GET {_ONE}/openapi": VIEW,
    f"PATCH {_ONE}/tags": MANAGE,
    f"PUT {_ONE}/rate-limits": MANAGE,
    f"PUT {_ONE}/ai-gateway": MANAGE,
    f"PATCH {_ONE}/notifications": MANAGE,
    f"PATCH {_ONE}/telemetry-config": MANAGE,
    # What a model prints may show what it was asked.
    f"GET {_SERVED}/logs": MANAGE,
    f"GET {_SERVED}/build-logs": MANAGE,
    f"GET {_PERMISSIONS}": Need(Right.MANAGE, BY_ID),
    f"PUT {_PERMISSIONS}": Need(Right.MANAGE, BY_ID, strict=True),
    f"PATCH {_PERMISSIONS}": Need(Right.MANAGE, BY_ID, strict=True),
    f"GET {_PERMISSIONS}/permissionLevels": Need(Right.VIEW, BY_ID),
    f"POST {_OWN}/rollouts": MANAGE,
    f"GET {_OWN}/rollouts": VIEW,
    f"GET {_ROLLOUT}": VIEW,
    f"GET {_ROLLOUT}/journal": VIEW,
    f"GET {_ROLLOUT}/evidence": VIEW,
    f"GET {_ROLLOUT}/replay": VIEW,
    **{
        f"POST {_ROLLOUT}/{verb}": MANAGE
        for verb in ("promote", "pause", "resume", "approve", "abort", "retry")
    },
    f"POST {_OWN}/undo": MANAGE,
    f"GET {_OWN}/configs": VIEW,
    f"GET {_OWN}/configs/{{version}}": VIEW,
    f"GET {_OWN}/policy": VIEW,
    f"PUT {_OWN}/policy": MANAGE,
    f"GET {_OWN}/verification": VIEW,
    f"POST {_OWN}/verification": MANAGE,
    f"GET {_OWN}/contract": VIEW,
    f"GET {_OWN}/skew": VIEW,
    f"GET {_OWN}/events": VIEW,
    f"GET {_OWN}/diagnosis": VIEW,
    f"POST {_OWN}/diagnosis": _LOOK,
    f"GET {_OWN}/diagnosis/may-retrain": VIEW,
    # Values of live rows.
    f"GET {_OWN}/diagnosis/keys": MANAGE,
    f"POST {_OWN}/outcomes": _REPORT,
    "GET /api/serinus/v1/tokens": ADMIN,
    "POST /api/serinus/v1/tokens": Need(admin=True, strict=True),
    "DELETE /api/serinus/v1/tokens/{token}": Need(admin=True, strict=True),
    "GET /api/serinus/v1/audit": ADMIN,
    "GET /api/serinus/v1/audit/check": ADMIN,
}


def need_of(method: str, path: str) -> Need | None:
    """What ``GET /path/{name}`` asks for; None when nobody has declared it."""
    return _NEEDS.get(f"{'GET' if method == 'HEAD' else method} {path}")


def undeclared(routes: Iterable[BaseRoute]) -> list[str]:
    """Calls that are routed and ask for nothing, as ``GET /path``."""
    return [call for call in calls(routes) if need_of(*call.split(" ", 1)) is None]


def calls(routes: Iterable[BaseRoute]) -> Iterator[str]:
    """Every method of every route, as ``GET /path/{name}``."""
    for route in flat(routes):
        yield from (f"{method} {route.path}" for method in sorted(route.methods or {"ANY"}))


def flat(routes: Iterable[BaseRoute]) -> Iterator[Route]:
    """The routes of all routers that were included; raises TypeError for what is none."""
    for route in routes:
        # FastAPI keeps an included router whole.
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from flat(included.routes)
        elif isinstance(route, Route):
            yield route
        else:
            raise TypeError(f"{route!r} can't be told from a way round the rights of callers")
