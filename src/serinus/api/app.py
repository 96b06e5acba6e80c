"""The control API as one ASGI app over a store. It composes; the calls are in their own modules."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from serinus import __version__
from serinus.api.assembly import Assembly, Evidence
from serinus.api.bundles import Bundles
from serinus.api.diagnosis import DiagnosisCalls, Notify
from serinus.api.edge import Edge
from serinus.api.errors import on_http_error, on_serinus_error, on_validation_error
from serinus.api.events import Events
from serinus.api.missing import missing_router
from serinus.api.outcomes import OutcomeCalls
from serinus.api.policy import Policies
from serinus.api.rollouts import RolloutCalls
from serinus.api.serving import Serving, base_url
from serinus.api.skew import Skews
from serinus.api.starting import Starter
from serinus.api.verifying import VerificationCalls
from serinus.errors import SerinusError
from serinus.store.repository import Store

__all__ = ["create_app"]


class Problem(BaseModel):
    """What every error looks like; only the OpenAPI document uses this class."""

    error_code: str
    message: str
    details: list[dict[str, object]]


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
    evidence: Evidence = lambda endpoint_id, served: [],
    notify: Notify | None = None,
) -> FastAPI:
    """The API. ``replica_logs(endpoint_id, served_name)``; ``new_id`` makes 32 hex digits.

    ``model_directory``: where the pinned files of a model digest are, for their contracts.
    ``refresh_live``: has the store hold what replicas have seen of live values until now.
    ``evidence(endpoint_id, served_name)``: rows that replicas keep; ``notify(url, body)`` posts.
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
    app.add_middleware(Edge, new_id=new_id)
    app.exception_handler(SerinusError)(on_serinus_error)
    app.exception_handler(HTTPException)(on_http_error)
    app.exception_handler(RequestValidationError)(on_validation_error)
    starter = Starter(store, wake=wake, clock=clock, new_id=new_id, patience_s=patience_s)
    serving = Serving(
        store, starter, wake=wake, replica_logs=replica_logs, clock=clock, new_id=new_id
    )
    app.include_router(serving.router())
    app.include_router(RolloutCalls(store, starter, wake=wake, clock=clock).router())
    app.include_router(Policies(store, clock=clock, wake=wake).router())
    verifying = VerificationCalls(store, wake=wake, clock=clock, model_directory=model_directory)
    app.include_router(verifying.router())
    bundles = Bundles(model_directory)
    skews = Skews(store, refresh=refresh_live, bundle_of=bundles.of, clock=clock)
    app.include_router(skews.router())
    assembly = Assembly(store, refresh=refresh_live, bundle_of=bundles.of, records=evidence)
    app.include_router(DiagnosisCalls(store, assembly, clock=clock, notify=notify).router())
    app.include_router(OutcomeCalls(store, clock=clock).router())
    app.include_router(Events(store).router())
    app.include_router(missing_router())

    def well_known(request: Request) -> Response:
        base = base_url(request)
        body = {
            "oidc_endpoint": f"{base}/oidc",
            "workspace_id": workspace_id,
            "account_id": "00000000-0000-0000-0000-000000000001",
            "cloud": "AWS",
        }
        return Response(msgspec.json.encode(body), media_type="application/json")

    app.add_api_route(
        "/.well-known/databricks-config", well_known, methods=["GET"], include_in_schema=False
    )
    return app
