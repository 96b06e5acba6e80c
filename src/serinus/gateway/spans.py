"""Spans of OpenTelemetry around predictions, sent to a collector; needs the extra ``otel``.

It must never make a request wait: spans queue in memory, a thread sends them, and those that find
no room are lost.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serinus.gateway.exchange import Application
from serinus.gateway.heads import NOTES
from serinus.gateway.tracing import carried
from serinus.replica.protocol import SEPARATOR

__all__ = ["Export", "Traced"]

_PATHS = ("/serving-endpoints/", "/invocations", "/v2/models/")
_CONTEXT = frozenset({b"traceparent", b"tracestate"})
#: How long the end of a gateway waits for the last spans to be sent.
_FLUSH_S = 2.0
_GIVE_UP_S = 2.0
_propagator = TraceContextTextMapPropagator()


class Export:
    """The way to one collector. ``url`` is its base, as in ``http://127.0.0.1:4318``.

    Sampling is the parent's; without one, what ``OTEL_TRACES_SAMPLER`` says, or all.
    """

    def __init__(self, url: str, *, service: str, version: str, gateway: str) -> None:
        named = {
            "service.name": service,
            "service.version": version,
            "service.instance.id": gateway,
        }
        # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say is stronger.
        resource = Resource.create(named).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter(endpoint=f"{url.rstrip('/')}/v1/traces", timeout=5.0)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self.tracer: Tracer = self._provider.get_tracer("serinus", version)

    def around(self, application: Application) -> "Traced":
        """The application, with spans."""
        return Traced(application, self.tracer)

    async def close(self) -> None:
        """Send what is left, for as long as the collector takes it in time."""
        ending = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, _FLUSH_S)
        if ending.is_alive():  # nobody takes them: no batch is tried again
            self._exporter.shutdown()  # type: ignore[no-untyped-call]  # theirs
            await asyncio.to_thread(ending.join, _GIVE_UP_S)


class Traced:
    """The application, with a span around each prediction and one for its time in the model."""

    def __init__(
        self,
        application: Application,
        tracer: Tracer,
        # Spans are of the calendar; a collector puts them beside those of others.
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._application = application
        self._tracer = tracer
        self._wall_ns = wall_ns

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI entry point."""
        if scope["type"] != "http" or not scope["path"].startswith(_PATHS):
            await self._application(scope, receive, send)
            return
        span = self._begin(scope)
        inner = {**scope, "headers": _within(scope["headers"], span), "extensions": {}}
        inner.pop(NOTES, None)  # its head is another one now

        async def note(message: Any) -> None:
            if message["type"] == "http.response.start":
                _note_answer(span, message["status"], message["headers"])
            await send(message)

        try:
            await self._application(inner, receive, note)
        finally:
            self._end(span, inner)

    def _begin(self, scope: Any) -> Span:
        parent, _, state = carried(scope["headers"]).decode().partition(SEPARATOR.decode())
        context = _propagator.extract({"traceparent": parent, "tracestate": state})
        method = scope["method"]
        asked = {"http.request.method": method, "url.path": scope["path"]}
        return self._tracer.start_span(
            f"{method} prediction",
            context=context,
            kind=SpanKind.SERVER,
            attributes=asked,
            start_time=self._wall_ns(),
        )

    def _end(self, span: Span, scope: Any) -> None:
        now = self._wall_ns()
        micros = scope.get("serinus.model_us", 0)
        if micros and span.is_recording():
            # When it began is known by its length alone: it ended just before the answer came.
            model = self._tracer.start_span(
                "model", context=set_span_in_context(span), start_time=now - micros * 1000
            )
            model.end(now)
        span.end(now)


def _within(headers: list[tuple[bytes, bytes]], span: Span) -> list[tuple[bytes, bytes]]:
    """The headers as they go on: in this span."""
    told: dict[str, str] = {}
    _propagator.inject(told, set_span_in_context(span))
    kept = [header for header in headers if header[0] not in _CONTEXT]
    return kept + [(name.encode(), value.encode()) for name, value in told.items()]


def _note_answer(span: Span, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    span.set_attribute("http.response.status_code", status)
    for name, value in headers:
        if name == b"served-model-name":
            span.set_attribute("serinus.served", value.decode("latin-1"))
        elif name == b"x-request-id":
            span.set_attribute("serinus.request_id", value.decode("latin-1"))
    if status >= 500:
        span.set_status(StatusCode.ERROR)
