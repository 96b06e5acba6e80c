"""HTTP in front of the data plane, as a plain ASGI callable: parse the path, call, answer.

Nothing here decides who answers (`dataplane` does) and nothing here touches a database.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

import httpx
import msgspec

from serinus.errors import (
    BadRequest,
    InternalError,
    MethodNotAllowed,
    PayloadTooLarge,
    ResourceDoesNotExist,
    SerinusError,
    UnsupportedMediaType,
)
from serinus.gateway import oip
from serinus.gateway.access import Guard
from serinus.gateway.cache import how_it_came
from serinus.gateway.dataplane import DataPlane, EndpointState
from serinus.gateway.encoding import Inflation, check_coding
from serinus.gateway.forward import Forwarder, disconnected, pump
from serinus.gateway.heads import NOTES
from serinus.gateway.paths import prediction_at
from serinus.gateway.pool import Pool
from serinus.gateway.replies import JSON, TEXT, send_answer, send_error, send_page
from serinus.gateway.room import COUNTED, Room
from serinus.gateway.tracing import carried, trace_id_of
from serinus.replica.protocol import Format, Frame

__all__ = ["App", "AppConfig"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

_FORMATS = {
    b"": Format.JSON,
    b"application/json": Format.JSON,
    b"text/csv": Format.CSV,
    b"application/vnd.apache.parquet": Format.PARQUET,
    b"application/x-parquet": Format.PARQUET,
}
_log = logging.getLogger("serinus.gateway")


@dataclass(frozen=True, slots=True)
class AppConfig:
    """What the gateway's HTTP side needs to know."""

    #: Bytes.
    max_body: int
    #: Begins every request id; differs between gateways and their incarnations.
    incarnation: str
    #: MLflow's version, as ``/version`` answers it.
    mlflow_version: str
    workspace_id: str
    #: What a compressed body may grow to.
    inflation: Inflation = field(default_factory=Inflation)
    #: Serinus's own, as ``/v2`` answers it.
    version: str = ""
    #: Bytes that all request bodies together may have.
    max_bodies: int = 512 * 1024 * 1024
    #: What callers' URLs begin with.
    scheme: str = "http"
    #: Predictions that are worked on at a time, of all endpoints together.
    max_in_flight: int = 4096


class _Hangup(Exception):
    """The caller went away before its request was complete; there is nobody to answer."""


class App:
    """The gateway's ASGI application."""

    def __init__(
        self,
        dataplane: DataPlane,
        forwarder: Forwarder,
        config: AppConfig,
        guard: Guard | None = None,
    ) -> None:
        """Without a ``guard`` everybody may do everything: for tests alone."""
        self._guard = guard
        self._dataplane = dataplane
        self._forwarder = forwarder
        self._config = config
        self.room = Room(config.max_bodies, config.max_in_flight)
        self._draining = asyncio.Event()
        self._ids = map(f"{config.incarnation}-%x".__mod__, count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] != "http":
            return
        request_id = (b"x-request-id", next(self._ids).encode())
        try:
            if self._guard is not None:
                try:
                    self._guard.admit(scope)
                except SerinusError as error:
                    self._dataplane.turned_away(scope["path"], error.status)
                    raise
            await self._route(scope, receive, send, request_id)
        except _Hangup:
            return
        except SerinusError as error:
            await send_error(send, error, request_id, scope["path"])
        except Exception:  # noqa: BLE001 - the last line of defence: the caller gets an answer
            trace = trace_id_of(scope["headers"])
            told = {"trace_id": trace} if trace else None
            _log.exception("request %s failed", request_id[1].decode(), extra=told)
            fault = InternalError(f"The gateway failed on request {request_id[1].decode()}.")
            await send_error(send, fault, request_id, scope["path"])
        finally:
            self.room.leave(scope)

    async def _route(
        self, scope: Scope, receive: Receive, send: Send, request_id: tuple[bytes, bytes]
    ) -> None:
        asked = prediction_at(scope["path"])
        if asked is None:
            open_inference = scope["path"].startswith("/v2/") or scope["path"] == "/v2"
            other = self._open_inference if open_inference else self._other
            await other(scope, receive, send, request_id)
            return
        name, served = asked
        find = self._default if name is None else partial(self._dataplane.endpoint, name)
        if scope["method"] != "POST":
            raise MethodNotAllowed("Send a POST to get predictions.")
        pool, frame = await self._predict(scope, receive, find, served, request_id)
        await send_answer(scope, send, frame, pool.header, request_id)

    async def _predict(
        self,
        scope: Scope,
        receive: Receive,
        find: Callable[[], EndpointState],
        served: str | None,
        request_id: tuple[bytes, bytes],
        *,
        tensors: bool = False,
    ) -> tuple[Pool, Frame]:
        """Read the body and have it scored; ``tensors``: it is one of Open Inference."""
        meter = find().meter  # an unknown name is refused before its body is read
        try:
            notes = scope.get(NOTES, {})
            said = notes.get("body") or self._check_headers(scope["headers"])
            notes["body"] = format_, coding, trace, size = said
            if size > COUNTED:
                self.room.hold(scope, size)
            body = await self._read(scope, receive)
            if coding:
                body = await self._config.inflation.undo(body, coding)
                if len(body) > COUNTED:
                    self.room.hold(scope, len(body))
            if tensors:
                format_ = oip.as_tensors(format_, scope["headers"])
        except SerinusError as error:
            meter.refuse(error.status)
            raise
        self.room.enter(meter)
        try:
            # Found again: reading may take long, and the routes of before may be gone by now.
            answer = await self._dataplane.invoke(
                find(), served, body, format_, scope["headers"], request_id[1], trace
            )
        finally:
            self.room.inside -= 1
        if trace:
            scope["serinus.model_us"] = answer[1].aux  # for `spans`, where there is one
        return answer

    async def _open_inference(
        self, scope: Scope, receive: Receive, send: Send, request_id: tuple[bytes, bytes]
    ) -> None:
        plane = self._dataplane
        ask = oip.parse(scope["path"], scope["method"])
        body = oip.static(ask, plane, self._config.version)
        if body is None and ask.verb is oip.Verb.MODEL:
            body = await oip.described(ask, plane)
        if body is not None:
            await send_page(send, 200, body, JSON, request_id)
            return
        find = partial(plane.endpoint, ask.model)
        pool, frame = await self._predict(
            scope, receive, find, ask.version, request_id, tensors=True
        )
        body = oip.answer(frame, ask.model, pool.header)
        served = (b"served-model-name", pool.header)
        await send_page(send, frame.status, body, JSON, served, request_id, *how_it_came(frame))

    def _default(self) -> EndpointState:
        state = self._dataplane.default
        if state is None:
            raise ResourceDoesNotExist(
                "No endpoint answers /invocations; start with `serinus serve --model URI`, or "
                "call /serving-endpoints/NAME/invocations."
            )
        return state

    def _check_headers(self, headers: Headers) -> tuple[Format, str, bytes, int]:
        """What the body is, its coding, the trace that it is part of, and its size if told."""
        last = dict(headers)
        size = int(last.get(b"content-length", 0))
        if size > self._config.max_body:
            raise self._too_large()
        coding = ""
        if b"content-encoding" in last:
            for each in (value for name, value in headers if name == b"content-encoding"):
                # Two headers are two codings, one around the other.
                coding = check_coding(each if not coding else coding.encode() + b", " + each)
        trace = carried(headers) if b"traceparent" in last else b""
        content_type = last.get(b"content-type", b"")
        format_ = _FORMATS.get(content_type) or self._format(content_type)
        return format_, coding, trace, size

    def _format(self, content_type: bytes) -> Format:
        """What a content type is that is not just the name of a format."""
        media, _, parameters = content_type.partition(b";")
        if (format_ := _FORMATS.get(media.strip().lower())) is None:
            raise UnsupportedMediaType(
                f"content-type {media.decode('latin-1')!r} is not read here; send "
                "application/json, text/csv or application/vnd.apache.parquet."
            )
        charset = parameters.strip().lower()
        if charset and charset.replace(b'"', b"") not in (b"charset=utf-8", b"charset=utf8"):
            raise UnsupportedMediaType("The body must be UTF-8.")
        return format_

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        message = await receive()
        if message["type"] != "http.request":
            raise _Hangup
        body: bytes = message["body"]
        if message["more_body"]:
            chunks, size = [body], len(body)
            while message["more_body"]:
                message = await receive()
                if message["type"] != "http.request":
                    raise _Hangup
                chunks.append(message["body"])
                size += len(chunks[-1])
                if size > self._config.max_body:
                    raise self._too_large()
                self.room.hold(scope, size)  # no more than was told, unless nothing was
            body = b"".join(chunks)
        if len(body) > self._config.max_body:
            raise self._too_large()
        if not body:
            raise BadRequest("The request has no body; send a JSON object with the rows to score.")
        return body

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(
            f"The body is over the limit of {self._config.max_body} bytes; send fewer rows."
        )

    async def _other(
        self, scope: Scope, receive: Receive, send: Send, _: tuple[bytes, bytes]
    ) -> None:
        path: str = scope["path"]
        match path:
            case "/health":
                await send_page(send, 200, b"\n", TEXT)
            case "/ping":
                state = self._dataplane.default
                status = 404 if state is None else 200 if state.ready else 503
                await send_page(send, status, b"\n", TEXT)
            case "/version":
                await send_page(send, 200, self._config.mlflow_version.encode(), TEXT)
            case "/.well-known/databricks-config":
                # Answered here because clients ask it before every call and wait minutes for it.
                await send_page(send, 200, self._well_known(scope), JSON)
            case _ if path.startswith("/serving-endpoints/") or path == "/serving-endpoints":
                raise ResourceDoesNotExist(
                    f"There is no {path}; predictions are at /serving-endpoints/NAME/invocations, "
                    "the control API is under /api/2.0/serving-endpoints."
                )
            case _:
                await self._forward(scope, receive, send)

    def _well_known(self, scope: Scope) -> bytes:
        hosts = (value for name, value in scope["headers"] if name == b"host")
        host = f"{self._config.scheme}://{next(hosts, b'localhost').decode('latin-1')}"
        answer = {
            "oidc_endpoint": f"{host}/oidc",
            "workspace_id": self._config.workspace_id,
            "account_id": "00000000-0000-0000-0000-000000000001",
            "cloud": "AWS",
        }
        return msgspec.json.encode(answer)

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = scope["raw_path"]
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        has_body = any(
            name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"]
        )
        response = await self._forwarder.open(
            scope["method"],
            target,
            scope["headers"] if self._guard is None else self._guard.passport(scope),
            self._stream(receive) if has_body else b"",
        )
        try:
            headers = self._forwarder.headers(response)
            start = {"status": response.status_code, "headers": headers}
            await send({"type": "http.response.start", **start})
            endless = (b"content-type", b"text/event-stream") in (
                (name, value.partition(b";")[0]) for name, value in headers
            )
            await self._pass_on(response, receive, send, endless=endless)
        except httpx.TransportError as error:
            raise _Hangup from error  # the head is out; all that is left is to end the connection
        finally:
            await response.aclose()

    async def _pass_on(
        self, response: httpx.Response, receive: Receive, send: Send, *, endless: bool
    ) -> None:
        """Send the body on until it ends, the caller leaves, or (a stream) this gateway drains."""
        passing = asyncio.create_task(pump(response, send))
        ends: list[asyncio.Task[Any]] = [passing, asyncio.create_task(disconnected(receive))]
        if endless:
            ends.append(asyncio.create_task(self._draining.wait()))
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not passing.done():
                raise _Hangup
            passing.result()
        finally:
            for task in ends:
                task.cancel()

    def drain(self) -> None:
        """End streams that would never end by themselves; requests go on to their answers."""
        self._draining.set()

    async def _stream(self, receive: Receive) -> AsyncIterator[bytes]:
        more, size = True, 0
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise _Hangup
            size += len(message["body"])
            if size > self._config.max_body:
                raise self._too_large()
            yield message["body"]
            more = message["more_body"]
