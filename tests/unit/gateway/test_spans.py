"""Spans as a collector gets them: an OTLP receiver on loopback, and nobody waits for it."""

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from serinus.gateway.spans import Export
from tests.e2e.running import free_port
from tests.unit.gateway.test_tracing import PARENT, TRACE


class Collector:
    """Takes spans."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.resources: list[dict[str, str]] = []
        self.spans: list[Any] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.take(self.path, ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path: str, told: Any) -> None:
        self.paths.append(path)
        for resource in told.resource_spans:
            self.resources.append(attributes(resource.resource))
            for scope in resource.scope_spans:
                self.spans += scope.spans


def attributes(of: Any) -> dict[str, str]:
    return {
        each.key: each.value.string_value or str(each.value.int_value) for each in of.attributes
    }


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()


class App:
    """Answers as the gateway does; remembers the headers that it saw."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.seen: list[dict[bytes, bytes]] = []

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        self.seen.append(dict(scope["headers"]))
        scope["serinus.model_us"] = 250_000
        headers = [(b"served-model-name", b"m-1"), (b"x-request-id", b"gw-1")]
        start = {"type": "http.response.start", "status": self.status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": b"{}"})


def ask(
    url: str, *parents: bytes | None, status: int = 200, path: str = "/serving-endpoints/e/x"
) -> list[dict[bytes, bytes]]:
    """One request for each parent, and the end of the export; what the application saw."""

    async def main() -> list[dict[bytes, bytes]]:
        export = Export(url, service="serinus", version="1.2", gateway="gateway-0")
        app = App(status)
        traced = export.around(app)
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError("nobody reads")

        for parent in parents:
            headers = [(b"x-a", b"1")]
            if parent is not None:
                headers += [(b"traceparent", parent), (b"tracestate", b"a=1")]
            scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
            await traced(scope, receive, send)
        assert len(sent) == 2 * len(parents)
        await export.close()
        return app.seen

    return asyncio.run(main())


def test_a_request_is_a_span_of_its_callers_trace_with_the_model_in_it(
    collector: Collector,
) -> None:
    [seen] = ask(collector.url, PARENT)
    assert collector.paths == ["/v1/traces"]
    assert collector.resources[0]["service.name"] == "serinus"
    assert collector.resources[0]["service.instance.id"] == "gateway-0"
    spans = {span.name: span for span in collector.spans}
    outer, model = spans["POST prediction"], spans["model"]
    assert outer.trace_id.hex() == model.trace_id.hex() == TRACE
    assert outer.parent_span_id.hex() == PARENT[36:52].decode()
    assert model.parent_span_id == outer.span_id
    assert model.end_time_unix_nano - model.start_time_unix_nano == 250_000_000
    told = attributes(outer)
    assert told["http.response.status_code"] == "200"
    assert (told["serinus.served"], told["serinus.request_id"]) == ("m-1", "gw-1")
    # What goes on to the replica is in the span, not beside it.
    assert seen[b"traceparent"] == f"00-{TRACE}-{outer.span_id.hex()}-01".encode()
    assert seen[b"tracestate"] == b"a=1"
    assert seen[b"x-a"] == b"1"


def test_a_request_without_a_trace_begins_one_and_a_failure_is_marked(
    collector: Collector,
) -> None:
    [seen] = ask(collector.url, None, status=503)
    [outer] = [span for span in collector.spans if span.name == "POST prediction"]
    assert outer.parent_span_id == b""
    assert outer.status.code == outer.status.STATUS_CODE_ERROR
    assert seen[b"traceparent"].split(b"-")[1].decode() == outer.trace_id.hex()


def test_what_the_caller_does_not_sample_is_passed_on_and_not_sent(collector: Collector) -> None:
    [seen] = ask(collector.url, PARENT[:-1] + b"0")
    assert collector.spans == []
    assert seen[b"traceparent"][3:35].decode() == TRACE
    assert seen[b"traceparent"].endswith(b"-00")


def test_other_paths_have_no_spans(collector: Collector) -> None:
    [seen] = ask(collector.url, PARENT, path="/api/2.0/serving-endpoints")
    assert collector.spans == []
    assert seen[b"traceparent"] == PARENT


def test_a_collector_that_is_away_costs_no_request_its_answer_and_no_end_its_time() -> None:
    began = time.monotonic()
    seen = ask(f"http://127.0.0.1:{free_port()}", *[PARENT] * 3000)
    assert len(seen) == 3000
    assert time.monotonic() - began < 30
    assert "last-spans" not in {each.name for each in threading.enumerate()}
