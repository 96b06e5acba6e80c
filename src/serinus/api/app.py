"""The control API as one ASGI app over a store. It composes; the calls are in their own modules."""

import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from serinus import __version__
from serinus.api.admission import Admission
from serinus.api.ai_gateway import AiGatewayCalls
from serinus.api.answers import json_answer
from serinus.api.assembly import Again, Apart, Assembly, Identities
from serinus.api.audit import AuditCalls
from serinus.api.bundles import Bundles
from serinus.api.diagnosis import DiagnosisCalls, Notify
from serinus.api.edge import Edge
from serinus.api.errors import on_http_error, on_serinus_error, on_validation_error
from serinus.api.events import Events
from serinus.api.history import HistoryCalls
from serinus.api.metrics_text import MetricCalls, VitalsOf
from serinus.api.missing import missing_router
from serinus.api.notifications import NotificationCalls
from serinus.api.openapi import OpenApiCalls
from serinus.api.outcomes import OutcomeCalls
from serinus.api.permissions import Permissions
from serinus.api.policy import Policies
from serinus.api.prometheus import ConditionOf, PrometheusCalls
from serinus.api.rate_limits import RateLimitCalls
from serinus.api.rights import undeclared
from serinus.api.rollouts import RolloutCalls
from serinus.api.served_logs import LogCalls
from serinus.api.serving import Serving, base_url
from serinus.api.settling import Settling
from serinus.api.shapes import Problem
from serinus.api.skew import Skews
from serinus.api.starting import Starter
from serinus.api.stopping import StopCalls
from serinus.api.supplies import Check, anything
from serinus.api.tags import TagCalls
from serinus.api.tokens import TokenCalls
from serinus.api.unstored import WayBack
from serinus.api.verifying import VerificationCalls
from serinus.errors import SerinusError
from serinus.parity.diagnosis.values import Routing
from serinus.store.repository import Store

__all__ = ["create_app"]


def create_app(
    store: Store,
    *,
    wake: Callable[[], None],
    replica_logs: Callable[[str, str], str],
    clock: Callable[[], datetime],
    new_id: Callable[[], str],
    workspace_id: str,
    patience_s: float = 10.0,
    model_directory: Callable[[str], Path] | None = None,
    refresh_live: Callable[[], None] = lambda: None,
    replicas: Identities = lambda endpoint_id, served: {},
    again: Again = lambda endpoint_id, served, requests: [],
    apart: Apart = lambda endpoint_id, served, requests: [],
    routing: Callable[[str], Routing | None] = lambda endpoint: None,
    notify: Notify | None = None,
    vitals: VitalsOf = lambda endpoint: None,
    condition: ConditionOf = lambda: None,
    required: bool = False,
    acknowledged: Callable[[], int] | None = None,
    check: Check = anything,
    scheme: str = "http",
    way_back: WayBack | None = None,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> FastAPI:
    """The API. ``replica_logs(endpoint_id, served_name)``; ``new_id`` makes 32 hex digits.

    ``model_directory``: where the pinned files of a model digest are, for their contracts.
    ``refresh_live``: has the store hold what replicas have seen of live values until now.
    ``replicas(endpoint_id, served_name)``: what they say of themselves; ``again``: what they answer
    to recorded requests now; ``apart``: what they make of each alone, by stages;
    ``routing(endpoint)``: how gateways divide its requests.
    ``notify(url, body)`` posts.
    ``vitals``: how an endpoint is doing; ``condition``: how all of it is.
    ``required``: whether each caller must have a token. ``acknowledged``: the generation of routes
    that every gateway has. ``check``: refuses a config that this server lacks something for.
    ``scheme``: what callers' URLs begin with. ``random(n)``: n bytes that nobody can guess.
    ``way_back``: has an abort carried out that can't be stored.
    ``patience_s``: how long the start of a rollout waits for the one before to be rolled back.
    """
    app = FastAPI(
        title="Serinus",
        version=__version__,
        openapi_url="/api/serinus/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={"default": {"model": Problem}},
    )
    # The one that is added last is the outermost.
    app.add_middleware(Admission, store=store, required=required, clock=clock)
    app.add_middleware(Edge, new_id=new_id, scheme=scheme)
    app.exception_handler(SerinusError)(on_serinus_error)
    app.exception_handler(HTTPException)(on_http_error)
    app.exception_handler(RequestValidationError)(on_validation_error)
    starter = Starter(store, wake=wake, clock=clock, new_id=new_id, patience_s=patience_s)
    settling = Settling(store, wake=wake, acknowledged=acknowledged)
    serving = Serving(store, starter, settling, wake=wake, clock=clock, new_id=new_id, check=check)
    bundles = Bundles(model_directory)
    assembly = Assembly(
        store,
        refresh=refresh_live,
        bundle_of=bundles.of,
        replicas=replicas,
        again=again,
        apart=apart,
        routing=routing,
    )
    for calls in (
        serving,
        LogCalls(store, replica_logs),
        StopCalls(store, settling, reply=serving.reply, wake=wake, clock=clock),
        TagCalls(store, clock=clock),
        AiGatewayCalls(store, settling, clock=clock),
        NotificationCalls(store, clock=clock),
        MetricCalls(store, vitals=vitals, clock=clock),
        PrometheusCalls(condition),
        OpenApiCalls(store, model_directory),
        HistoryCalls(store),
        RolloutCalls(store, starter, wake=wake, clock=clock, check=check, way_back=way_back),
        Policies(store, clock=clock, wake=wake),
        VerificationCalls(store, wake=wake, clock=clock, bundles=bundles),
        Skews(
            store,
            refresh=refresh_live,
            bundle_of=bundles.of,
            clock=clock,
            condition=condition,
        ),
        DiagnosisCalls(store, assembly, clock=clock, notify=notify, wake=wake),
        OutcomeCalls(store, clock=clock, refresh=refresh_live),
        Events(store),
        TokenCalls(store, settling, clock=clock, random=random),
        Permissions(store, settling),
        RateLimitCalls(store, settling, clock=clock),
        AuditCalls(store),
    ):
        app.include_router(calls.router())
    app.include_router(missing_router())
    _add_well_known(app, workspace_id)
    if missing := undeclared(app.routes):
        raise RuntimeError(f"{missing[0]} declares no right; add it to serinus/api/rights.py")
    return app


def _add_well_known(app: FastAPI, workspace_id: str) -> None:
    """What clients ask before every call; gateways answer it too, when this process is away."""

    def well_known(request: Request) -> Response:
        base = base_url(request)
        body = {
            "oidc_endpoint": f"{base}/oidc",
            "workspace_id": workspace_id,
            "account_id": "00000000-0000-0000-0000-000000000001",
            "cloud": "AWS",
        }
        return json_answer(body)

    app.add_api_route(
        "/.well-known/databricks-config", well_known, methods=["GET"], include_in_schema=False
    )
