"""A small synchronous client of the REST API: what the command line and scripts talk with.

It only speaks HTTP; it never reads the server's files, settings or database.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import httpx

from serinus import errors

__all__ = ["DEFAULT_URL", "Client", "ServerUnreachable", "UpdateFailed", "UpdateUnfinished"]

DEFAULT_URL = "http://127.0.0.1:8080"

_ENDPOINTS = "/api/2.0/serving-endpoints"
_OURS = "/api/serinus/v1/endpoints"

#: What the API sends for an endpoint: fields as in the Databricks reference.
Json = dict[str, Any]

_CLASSES: tuple[type[errors.SerinusError], ...] = (
    errors.BadRequest,
    errors.InvalidParameterValue,
    errors.InvalidState,
    errors.PayloadTooLarge,
    errors.UnsupportedMediaType,
    errors.MethodNotAllowed,
    errors.Unauthenticated,
    errors.PermissionDenied,
    errors.ResourceDoesNotExist,
    errors.ResourceAlreadyExists,
    errors.ResourceConflict,
    errors.ResourceExhausted,
    errors.InternalError,
    errors.NotImplementedHere,
    errors.TemporarilyUnavailable,
    errors.DeadlineExceeded,
)
_BY_BOTH = {(each.code, each.status): each for each in _CLASSES}
# Reversed, so that the first class listed wins where several share a code or a status.
_BY_CODE = {each.code: each for each in reversed(_CLASSES)}
_BY_STATUS = {each.status: each for each in reversed(_CLASSES)}


class ServerUnreachable(Exception):
    """Nothing that speaks HTTP answers at the server's URL."""


class UpdateFailed(Exception):
    """The server gave up on an endpoint's new config; what served before still serves."""


class UpdateUnfinished(Exception):
    """The waiting ended before the server did; the update goes on."""


class Client:
    """Calls one Serinus server. Errors of the server are raised as `serinus.errors` classes."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        token: str | None = None,
        timeout: float = 65.0,
        transport: httpx.BaseTransport | None = None,
        patience_s: float = 15.0,
        actor: str = "",
    ) -> None:
        """``timeout`` is in seconds per call, a little over the server's default deadline.

        ``actor`` is the name under which the journal keeps what this client asks for.

        A control call that meets a controller which is just starting again is repeated for
        ``patience_s`` seconds; a query never is, nor is what must not be done twice.
        """
        self._patience_s = patience_s
        self.url = url.rstrip("/")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        if actor.isascii() and actor.isprintable() and actor:
            headers["x-serinus-actor"] = actor
        try:
            self._http = httpx.Client(
                base_url=self.url, headers=headers, timeout=timeout, transport=transport
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

    def health(self) -> str:
        """The server's own word on its health; raises when it has none."""
        return self._send("GET", "/health").text.strip()

    def endpoints(self) -> list[Json]:
        """Every endpoint."""
        return list(self._json("GET", _ENDPOINTS).get("endpoints") or [])

    def endpoint(self, name: str) -> Json:
        """One endpoint in full."""
        return self._json("GET", _path(name))

    def create(
        self,
        name: str,
        config: Mapping[str, object],
        *,
        tags: Mapping[str, str] | None = None,
        description: str = "",
    ) -> Json:
        """Ask for an endpoint; ``config`` has ``served_entities`` and ``traffic_config``."""
        body: Json = {"name": name, "config": dict(config)}
        if tags:
            body["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
        if description:
            body["description"] = description
        return self._json("POST", _ENDPOINTS, body)

    def update_config(self, name: str, config: Mapping[str, object]) -> Json:
        """Replace the endpoint's whole config; the old one serves until the new one is ready."""
        return self._json("PUT", _path(name, "config"), dict(config))

    def delete(self, name: str) -> None:
        """Take the endpoint away."""
        self._json("DELETE", _path(name))

    def logs(self, name: str, served: str) -> str:
        """What the replicas of a served entity wrote."""
        return str(self._json("GET", _path(name, "served-models", served, "logs")).get("logs", ""))

    def build_logs(self, name: str, served: str) -> str:
        """How the model was fetched and its environment built."""
        path = _path(name, "served-models", served, "build-logs")
        return str(self._json("GET", path).get("logs", ""))

    def wait_until_updated(
        self,
        name: str,
        *,
        timeout_s: float = 1200.0,
        poll_s: float = 0.25,
        on_progress: Callable[[Json], None] | None = None,
    ) -> Json:
        """The endpoint once its config no longer changes; ``on_progress`` sees each answer.

        Raises UpdateFailed, or UpdateUnfinished after ``timeout_s`` seconds.
        """
        end = time.monotonic() + timeout_s
        while True:
            endpoint = self.endpoint(name)
            if on_progress is not None:
                on_progress(endpoint)
            state = (endpoint.get("state") or {}).get("config_update", "NOT_UPDATING")
            if state == "NOT_UPDATING":
                return endpoint
            if state in ("UPDATE_FAILED", "UPDATE_CANCELED"):
                raise UpdateFailed(_failure(name, endpoint, state))
            if time.monotonic() >= end:
                raise UpdateUnfinished(
                    f"endpoint {name!r} is still updating after {timeout_s:.0f} s; the server goes "
                    f"on with it; see: serinus endpoints get {name}"
                )
            time.sleep(poll_s)

    def start_rollout(self, endpoint: str, spec: Mapping[str, object]) -> Json:
        """Start a rollout; ``spec`` goes over the default of the endpoint's policy."""
        return self._json("POST", _own(endpoint, "rollouts"), dict(spec))

    def rollouts(self, endpoint: str, *, limit: int = 20) -> list[Json]:
        """The endpoint's rollouts, the newest first."""
        path = f"{_own(endpoint, 'rollouts')}?limit={limit}"
        return list(self._json("GET", path).get("rollouts") or [])

    def rollout(self, endpoint: str, rollout_id: str = "current") -> Json:
        """One rollout; ``current`` is the one under way, else the newest."""
        return self._json("GET", _own(endpoint, "rollouts", rollout_id))

    def ask(
        self, endpoint: str, verb: str, rollout_id: str = "current", **particulars: object
    ) -> Json:
        """Ask a rollout to promote, pause, resume, approve, abort or retry.

        The answer is the rollout as it is before the controller has heard it. What would mean
        more when said twice (promote) is never repeated by itself.
        """
        path = _own(endpoint, "rollouts", rollout_id, verb)
        return self._json("POST", path, particulars, once=verb == "promote")

    def undo(self, endpoint: str, to: int | None = None) -> Json:
        """Back to what served before the last rollout, or to config version ``to``.

        Never repeated by itself: a second undo would take back the first.
        """
        return self._json("POST", _own(endpoint, "undo"), {"to": to}, once=True)

    def journal(
        self, endpoint: str, rollout_id: str = "current", *, after: int = 0, limit: int = 1000
    ) -> list[Json]:
        """What happened to a rollout, oldest first, from behind the entry ``after``."""
        path = _own(endpoint, "rollouts", rollout_id, "journal")
        return list(self._json("GET", f"{path}?after={after}&limit={limit}").get("entries") or [])

    def evidence(self, endpoint: str, rollout_id: str = "current") -> Json:
        """What the guardrails said last, and at the end of each stage."""
        return self._json("GET", _own(endpoint, "rollouts", rollout_id, "evidence"))

    def replay(self, endpoint: str, rollout_id: str = "current") -> Json:
        """Every decision of a rollout made again from its journal, and whether it stands."""
        return self._json("GET", _own(endpoint, "rollouts", rollout_id, "replay"))

    def verification(self, endpoint: str) -> Json:
        """What the gates before traffic found of each version that is served or prepared."""
        return self._json("GET", _own(endpoint, "verification"))

    def verify(self, endpoint: str) -> Json:
        """Have what is served verified again; the answer is what is known before that."""
        return self._json("POST", _own(endpoint, "verification"), {})

    def contracts(self, endpoint: str) -> list[Json]:
        """The contract of each version that is served or prepared."""
        return list(self._json("GET", _own(endpoint, "contract")).get("contracts") or [])

    def skew(
        self,
        endpoint: str,
        *,
        window: str = "24h",
        version: str | None = None,
        caller: str | None = None,
    ) -> Json:
        """How far live values lie from training's, and two versions' from each other."""
        asked = {"window": window, "version": version, "caller": caller}
        wanted = urlencode({key: value for key, value in asked.items() if value is not None})
        return self._json("GET", f"{_own(endpoint, 'skew')}?{wanted}")

    def diagnose(
        self,
        endpoint: str,
        *,
        window: str = "24h",
        version: str | None = None,
        caller: str | None = None,
        offline: Mapping[str, object] | None = None,
    ) -> Json:
        """Classify what is wrong with live predictions; ``offline`` is a table of true values."""
        asked = {"window": window, "version": version, "caller": caller, "offline": offline}
        wanted = {key: value for key, value in asked.items() if value is not None}
        return self._json("POST", _own(endpoint, "diagnosis"), wanted)

    def diagnosis(self, endpoint: str) -> Json:
        """The last diagnosis of the endpoint."""
        return self._json("GET", _own(endpoint, "diagnosis"))

    def may_retrain(self, endpoint: str) -> Json:
        """Whether to retrain or promote by the last diagnosis: ``allowed`` and ``reason``."""
        return self._json("GET", _own(endpoint, "diagnosis/may-retrain"))

    def sampled_keys(
        self, endpoint: str, fields: Iterable[str], version: str | None = None
    ) -> list[Json]:
        """The values of sampled rows in some fields."""
        asked = {"fields": ",".join(fields), "version": version}
        wanted = urlencode({key: value for key, value in asked.items() if value is not None})
        return list(self._json("GET", f"{_own(endpoint, 'diagnosis/keys')}?{wanted}")["keys"])

    def tell_outcomes(self, endpoint: str, outcomes: Iterable[Mapping[str, object]]) -> Json:
        """Say how requests turned out: ``{"request_id": …, "value": 1}`` of each.

        The answer counts ``accepted``, ``duplicate``, ``too_late`` and ``unknown``. Said twice it
        counts once.
        """
        told = {"outcomes": [dict(each) for each in outcomes]}
        return self._json("POST", _own(endpoint, "outcomes"), told)

    def policy(self, endpoint: str) -> Json:
        """How new versions of the endpoint are rolled out."""
        return self._json("GET", _own(endpoint, "policy"))

    def set_policy(self, endpoint: str, policy: Mapping[str, object]) -> Json:
        """Replace the endpoint's policy."""
        return self._json("PUT", _own(endpoint, "policy"), dict(policy))

    def query(
        self, endpoint: str, body: Mapping[str, object] | bytes, served: str | None = None
    ) -> tuple[Any, Mapping[str, str]]:
        """Predictions and response headers; ``served`` pins one served entity.

        Bytes are sent as they are (JSON), so that no number changes on the way.
        """
        pinned = f"/served-models/{quote(served, safe='')}" if served else ""
        path = f"/serving-endpoints/{quote(endpoint, safe='')}{pinned}/invocations"
        answer = self._send("POST", path, body)
        return _decoded(answer), answer.headers

    def _json(
        self, method: str, path: str, body: Json | None = None, *, once: bool = False
    ) -> Json:
        send = self._send if once else self._patiently
        answer = _decoded(send(method, path, body))
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


def _path(name: str, *rest: str) -> str:
    return "/".join((_ENDPOINTS, *(quote(part, safe="") for part in (name, *rest))))


def _own(endpoint: str, *rest: str) -> str:
    return "/".join((_OURS, *(quote(part, safe="") for part in (endpoint, *rest))))


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _decoded(answer: httpx.Response) -> Any:
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


def _failure(name: str, endpoint: Json, state: str) -> str:
    """One sentence per served entity that did not become ready."""
    if state == "UPDATE_CANCELED":
        return f"the update of endpoint {name!r} was cancelled"
    entities = (endpoint.get("pending_config") or {}).get("served_entities") or []
    reasons = [
        f"{each.get('name')}: {each['state'].get('deployment_state_message') or 'failed'}"
        for each in entities
        if (each.get("state") or {}).get("deployment")
        in ("DEPLOYMENT_FAILED", "DEPLOYMENT_ABORTED")
    ]
    return f"endpoint {name!r} was not updated: " + ("; ".join(reasons) or "no reason was given")
