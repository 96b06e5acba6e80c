"""Every error that Serinus shows to a caller: one class per (error code, HTTP status).

The codes are those that the Databricks SDK and the MLflow client understand; the class
docstring is the message when none is given. This module knows nothing of HTTP libraries.
"""

from typing import ClassVar

__all__ = [
    "BadRequest",
    "DeadlineExceeded",
    "HeadersTooLarge",
    "InternalError",
    "InvalidParameterValue",
    "InvalidState",
    "MethodNotAllowed",
    "NotImplementedHere",
    "PayloadTooLarge",
    "PermissionDenied",
    "RequestLimitExceeded",
    "RequestTooSlow",
    "ResourceAlreadyExists",
    "ResourceConflict",
    "ResourceDoesNotExist",
    "ResourceExhausted",
    "SerinusError",
    "TargetTooLong",
    "TemporarilyUnavailable",
    "Unauthenticated",
    "UnsupportedMediaType",
]


#: The Databricks SDK sends a call again for minutes, whatever its code, when a message holds one of
#: these; models' own words come into messages too.
RETRIED = (
    "Unexpected error",
    "Please try again later or try a faster operation.",
    "ClusterNotReadyException",
    "RPC token bucket limit has been exceeded",
    "UnknownWorkerEnvironmentException",
    "Unknown worker environment",
    "does not have any associated worker environments",
    "There is no worker environment with id",
)


def _calm(message: str) -> str:
    """The message without what clients would take for a passing fault: told apart by case alone."""
    for phrase in RETRIED:
        if phrase in message:
            message = message.replace(phrase, phrase[0].swapcase() + phrase[1:])
    return message


class SerinusError(Exception):
    """The server met a problem that it has no better name for."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    status: ClassVar[int] = 500
    #: `retry_after` where nothing better is known; clients that are told none guess.
    usually_after: ClassVar[int | None] = None

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_after: int | None = None,
        details: list[dict[str, object]] | None = None,
    ) -> None:
        self.message = _calm(message or (self.__doc__ or "").strip().split("\n")[0])
        #: Whole seconds after which the same call may succeed, for the Retry-After header.
        self.retry_after = self.usually_after if retry_after is None else retry_after
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


class TargetTooLong(SerinusError):
    """The request line is longer than the limit."""

    code = "BAD_REQUEST"
    status = 414


class HeadersTooLarge(SerinusError):
    """The headers are larger or more than the limits allow."""

    code = "BAD_REQUEST"
    status = 431


class RequestTooSlow(SerinusError):
    """The request came too slowly."""

    code = "DEADLINE_EXCEEDED"
    status = 408


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
    usually_after = 1


class RequestLimitExceeded(SerinusError):
    """More was asked for than the rate limit allows."""

    code = "REQUEST_LIMIT_EXCEEDED"
    status = 429
    usually_after = 1


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
    usually_after = 1


class DeadlineExceeded(SerinusError):
    """No answer came within the deadline."""

    code = "DEADLINE_EXCEEDED"
    status = 504


def described(error: BaseException) -> str:
    """The class of any error and what it says, for the text of another one."""
    said = str(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
