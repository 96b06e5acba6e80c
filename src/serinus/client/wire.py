"""How the client speaks HTTP: one call, its answer, its errors. It knows no call by name."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from serinus import errors
from serinus.gateway.hosts import is_loopback

__all__ = ["DEFAULT_URL", "Json", "ServerUnreachable", "Wire", "decoded", "far"]

DEFAULT_URL = "http://127.0.0.1:8080"

#: What the API sends for an endpoint: fields as in the Databricks reference.
Json = dict[str, Any]

_CLASSES: tuple[type[errors.SerinusError], ...] = (
    errors.BadRequest,
    errors.InvalidParameterValue,
    errors.InvalidState,
    errors.PayloadTooLarge,
    errors.TargetTooLong,
    errors.HeadersTooLarge,
    errors.RequestTooSlow,
    errors.UnsupportedMediaType,
    errors.MethodNotAllowed,
    errors.Unauthenticated,
    errors.PermissionDenied,
    errors.ResourceDoesNotExist,
    errors.ResourceAlreadyExists,
    errors.ResourceConflict,
    errors.ResourceExhausted,
    errors.RequestLimitExceeded,
    errors.InternalError,
    errors.NotImplementedHere,
    errors.TemporarilyUnavailable,
    errors.DeadlineExceeded,
)
_BY_BOTH = {(each.code, each.status): each for each in _CLASSES}
# Reversed, so that the first class listed wins where several share a code or a status.
_BY_CODE = {each.code: each for each in reversed(_CLASSES)}
_BY_STATUS = {each.status: each for each in reversed(_CLASSES)}


def far(url: str) -> bool:
    """Whether the server is on another machine: no proxy leads to one on this."""
    try:
        host = httpx.URL(url).host
    except httpx.InvalidURL:
        return True
    return not is_loopback(host)


class ServerUnreachable(Exception):
    """Nothing that speaks HTTP answers at the server's URL."""


class Wire:
    """One connection to one Serinus server. What it refuses is raised as `serinus.errors`."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        token: str | None = None,
        timeout: float = 65.0,
        transport: httpx.BaseTransport | None = None,
        patience_s: float = 15.0,
        actor: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """``timeout`` is in seconds per call, a little over the server's default deadline.

        ``actor`` is the name under which the journal keeps what this client asks for, where the
        server does not know it by its token. ``headers`` go with every call.

        A control call that meets a controller which is just starting again is repeated for
        ``patience_s`` seconds; a query never is, nor is what must not be done twice.
        """
        self._patience_s = patience_s
        self.url = url.rstrip("/")
        sent = dict(headers or {})
        if token:
            sent["authorization"] = f"Bearer {token}"
        if actor.isascii() and actor.isprintable() and actor:
            sent["x-serinus-actor"] = actor
        try:
            self._http = httpx.Client(
                base_url=self.url,
                headers=sent,
                timeout=timeout,
                transport=transport,
                trust_env=far(self.url),
            )
        except httpx.InvalidURL as error:
            raise ServerUnreachable(f"{url!r} is not the URL of a server: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _json(
        self, method: str, path: str, body: Json | None = None, *, once: bool = False
    ) -> Json:
        send = self._send if once else self._patiently
        answer = decoded(send(method, path, body))
        if not isinstance(answer, dict):
            raise errors.InternalError(f"{method} {path} was not answered with a JSON object")
        return answer

    def _patiently(self, method: str, path: str, body: Json | None) -> httpx.Response:
        end = time.monotonic() + self._patience_s
        while True:
            try:
                return self._send(method, path, body)
            except errors.TemporarilyUnavailable as error:
                pause = min(error.retry_after or 1, 2)
                if time.monotonic() + pause > end:
                    raise
                time.sleep(pause)

    def _send(
        self, method: str, path: str, body: Mapping[str, object] | bytes | None = None
    ) -> httpx.Response:
        content: dict[str, Any] = {}
        if isinstance(body, bytes):
            content = {"content": body, "headers": {"content-type": "application/json"}}
        elif body is not None:
            content = {"json": dict(body)}
        try:
            answer = self._http.request(method, path, **content)
        except httpx.ReadTimeout as error:
            raise errors.DeadlineExceeded(
                f"{self.url} did not answer {method} {path} within "
                f"{self._http.timeout.read:.0f} s; it may still be working on it"
            ) from error
        except (httpx.TransportError, httpx.UnsupportedProtocol) as error:
            raise ServerUnreachable(
                f"no server answers at {self.url} ({_reason(error)}); start one with "
                "`serinus serve`, or name another with --server or SERINUS_SERVER"
            ) from error
        if answer.is_success:
            return answer
        raise _error(answer)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def decoded(answer: httpx.Response) -> Any:
    """The JSON of an answer; raises InternalError for what is none."""
    try:
        return answer.json()
    except ValueError as error:
        raise errors.InternalError(
            f"{answer.request.method} {answer.request.url} was not answered with JSON; is it a "
            "Serinus server?"
        ) from error


def _error(answer: httpx.Response) -> errors.SerinusError:
    """The server's error as the class that stands for its code, else for its status."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    known = body if isinstance(body, dict) else {}
    code = known.get("error_code", "")
    kind = (
        _BY_BOTH.get((code, answer.status_code))
        or _BY_CODE.get(code)
        or _BY_STATUS.get(answer.status_code, errors.SerinusError)
    )
    message = known.get("message") or f"{answer.request.url} answered {answer.status_code}"
    after = answer.headers.get("retry-after", "")
    details = known.get("details")
    return kind(
        str(message),
        retry_after=int(after) if after.isdecimal() else None,
        details=details if isinstance(details, list) else None,
    )
