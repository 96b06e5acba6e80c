"""Every error that Serinus shows to a caller: one class per (error code, HTTP status).

The codes are those that the Databricks SDK and the MLflow client understand; the class
docstring is the message when none is given. This module knows nothing of HTTP libraries.
"""

from typing import ClassVar

__all__ = [
    "BadRequest",
    "DeadlineExceeded",
    "InternalError",
    "InvalidParameterValue",
    "InvalidState",
    "MethodNotAllowed",
    "NotImplementedHere",
    "PayloadTooLarge",
    "PermissionDenied",
    "ResourceAlreadyExists",
    "ResourceConflict",
    "ResourceDoesNotExist",
    "ResourceExhausted",
    "SerinusError",
    "TemporarilyUnavailable",
    "Unauthenticated",
    "UnsupportedMediaType",
]


class SerinusError(Exception):
    """The server met a problem that it has no better name for."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    status: ClassVar[int] = 500

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after: int | None = None,
        details: list[dict[str, object]] | None = None,
    ) -> None:
        self.message = message or (self.__doc__ or "").strip().split("\n")[0]
        #: Whole seconds after which the same call may succeed, for the Retry-After header.
        self.retry_after = retry_after
        #: Machine-readable particulars, e.g. which row and field were refused.
        self.details = details or []
        super().__init__(self.message)


class BadRequest(SerinusError):
    """The request body is not what this model can score."""

    code = "BAD_REQUEST"
    status = 400


class InvalidParameterValue(SerinusError):
    """A parameter has a value that is not allowed."""

    code = "INVALID_PARAMETER_VALUE"
    status = 400


class InvalidState(SerinusError):
    """The call does not fit the state that the resource is in."""

    code = "INVALID_STATE"
    status = 400


class PayloadTooLarge(SerinusError):
    """The request body is larger than the limit."""

    # Clients turn an unknown code on 413 into a 500 that they retry for minutes; not this one.
    code = "INVALID_PARAMETER_VALUE"
    status = 413


class UnsupportedMediaType(SerinusError):
    """The content type is not one that this endpoint reads."""

    # The same trap as 413: a bare 415 is retried, a BAD_REQUEST is not.
    code = "BAD_REQUEST"
    status = 415


class MethodNotAllowed(SerinusError):
    """This path exists, but not for this HTTP method."""

    code = "BAD_REQUEST"
    status = 405


class Unauthenticated(SerinusError):
    """The request carries no valid credential."""

    code = "UNAUTHENTICATED"
    status = 401


class PermissionDenied(SerinusError):
    """The credential does not allow this call."""

    code = "PERMISSION_DENIED"
    status = 403


class ResourceDoesNotExist(SerinusError):
    """There is nothing of that name."""

    code = "RESOURCE_DOES_NOT_EXIST"
    status = 404


class ResourceAlreadyExists(SerinusError):
    """Something of that name exists already."""

    code = "RESOURCE_ALREADY_EXISTS"
    status = 409


class ResourceConflict(SerinusError):
    """The resource is busy with another change."""

    code = "RESOURCE_CONFLICT"
    status = 409


class ResourceExhausted(SerinusError):
    """Too many requests are waiting already."""

    code = "RESOURCE_EXHAUSTED"
    status = 429


class InternalError(SerinusError):
    """The server failed on a request that may well have been right."""

    code = "INTERNAL_ERROR"
    status = 500


class NotImplementedHere(SerinusError):
    """Serinus does not offer this call."""

    code = "NOT_IMPLEMENTED"
    status = 501


class TemporarilyUnavailable(SerinusError):
    """Nothing can answer this at the moment."""

    code = "TEMPORARILY_UNAVAILABLE"
    status = 503


class DeadlineExceeded(SerinusError):
    """No answer came within the deadline."""

    code = "DEADLINE_EXCEEDED"
    status = 504
