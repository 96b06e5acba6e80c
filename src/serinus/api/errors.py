"""Every failure of the control API as one JSON shape. A framework's own answer never gets out."""

from typing import Any

import msgspec
import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Match

from serinus.errors import (
    InternalError,
    InvalidParameterValue,
    MethodNotAllowed,
    ResourceDoesNotExist,
    SerinusError,
)

__all__ = [
    "error_response",
    "on_http_error",
    "on_serinus_error",
    "on_validation_error",
    "unforeseen",
]

_log = structlog.get_logger(__name__)


def error_response(error: SerinusError) -> Response:
    """The error as ``{"error_code", "message", "details"}``."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    body = {"error_code": error.code, "message": error.message, "details": error.details}
    return Response(msgspec.json.encode(body), error.status, headers, "application/json")


def unforeseen(error: Exception, incident: str, *, method: str, path: str) -> Response:
    """The answer to a fault of ours, which can be found in the log by its incident id."""
    _log.error("api_request_failed", incident=incident, method=method, path=path, exc_info=error)
    return error_response(
        InternalError(
            f"The server failed on this request. Its log has the reason under incident {incident}."
        )
    )


def on_serinus_error(_request: Request, error: SerinusError) -> Response:
    """An error that was raised for the caller to read."""
    return error_response(error)


def on_http_error(request: Request, error: HTTPException) -> Response:
    """What the router and the body parser raise."""
    call = f"{request.method} {request.url.path}"
    if error.status_code == 404:
        return error_response(ResourceDoesNotExist(f"There is no {call[:200]}."))
    if error.status_code == 405:
        allowed = ", ".join(_allowed(request))
        response = error_response(
            MethodNotAllowed(f"{call[:200]} is not offered; this path answers {allowed}.")
        )
        response.headers["Allow"] = allowed
        return response
    return error_response(InvalidParameterValue("The request body can't be read as JSON."))


def on_validation_error(_request: Request, error: RequestValidationError) -> Response:
    """What pydantic refused: every field, in words, and never the value that was sent."""
    problems = [_problem(each) for each in error.errors()]
    violations = [{"field": field, "description": text} for field, text in problems]
    message = "; ".join(f"{field}: {text}" if field else text for field, text in problems[:5])
    if len(problems) > 5:
        message += f"; and {len(problems) - 5} more"
    details: list[dict[str, object]] = [
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "field_violations": violations[:20]}
    ]
    full_stop = "" if message.endswith("?") else "."
    return error_response(InvalidParameterValue(message + full_stop, details=details))


def _allowed(request: Request) -> list[str]:
    """Every method of the path; the router itself names those of one of its routes only."""
    return [
        method
        for method in ("DELETE", "GET", "PATCH", "POST", "PUT")
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL
            for route in request.app.routes
        )
    ]


def _problem(error: dict[str, Any]) -> tuple[str, str]:
    field = ""
    for part in error["loc"][1:]:
        field += f"[{part}]" if isinstance(part, int) else f".{part[:80]}" if field else part[:80]
    match error["type"]:
        case "json_invalid":
            return "", f"The request body is not JSON: {error['ctx']['error']}"
        case "missing":
            return field, "is missing" if field else "The request has no body; send a JSON object"
        case "value_error":
            return field, str(error["ctx"]["error"])
        case "model_attributes_type" | "dict_type" | "model_type":
            return field or "the request body", "must be a JSON object"
        case _:
            return field, error["msg"][:1].lower() + error["msg"][1:]
