"""`/metrics` and traces of a running server: what went in comes out, counted and correlated."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.running import Running, eventually, running
from tests.models import MARKER, saved
from tests.unit.gateway.test_spans import Collector
from tests.unit.gateway.test_tracing import PARENT, TRACE

GOOD = {"inputs": {"x": [1.0], "y": [0.0]}}
BAD = {"inputs": {"x": [MARKER], "y": [0.0]}}


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()


def samples(server: Running) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = server.http.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name.removeprefix("serinus_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_a_server_counts_what_it_does_and_keeps_requests_in_their_trace(
    tmp_path: Path, collector: Collector
) -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "SERINUS_LIVE_EVERY": "500ms",
        "SERINUS_LOG_FORMAT": "json",
    }
    with running(tmp_path, "--gateways", "2", environ=environ) as server:
        server.create("e", {"m-1": (saved("raises"), 100)})
        for _ in range(30):
            assert server.ask("e", GOOD).status_code == 200
        traced = {"traceparent": PARENT.decode()}
        failed = server.ask("e", BAD, headers=traced)
        assert failed.status_code == 400
        assert server.http.post("/serving-endpoints/e/invocations").status_code == 400
        with socket.create_connection(("127.0.0.1", server.port)) as nobody:
            nobody.sendall(b"GET /health HTTP/1.1\r\n\r\n")  # of no host
            assert nobody.recv(100).startswith(b"HTTP/1.1 400")
        mine: dict[str, str] = {"endpoint": "e", "served": "m-1"}

        def value(name: str, **labels: str) -> float:
            return samples(server).get((name, frozenset(labels.items())), 0.0)

        def counted() -> bool:
            found = samples(server)

            def of(name: str, **labels: str) -> float:
                return found.get((name, frozenset(labels.items())), 0.0)

            return (
                of("requests_total", **mine, status="2xx") == 30
                and of("requests_total", **mine, status="4xx") == 1
                and of("requests_total", endpoint="e", served="", status="4xx") == 1
                and of("edge_refusals_total", status="400") == 1
                and of("request_duration_seconds_count", **mine) == 31
                and of("batch_requests_sum", **mine) >= 31
                and of("replicas_ready", **mine) == of("replicas_wanted", **mine) == 1
                and of("served_weight_ratio", **mine) == 1
                and of("gateways_connected") == 2
                and of("controller_turn_duration_seconds_count") > 0
            )

        eventually(counted, what="all that was asked on the page")

        def acknowledged() -> bool:
            found = samples(server)
            newest = found["routes_newest_generation", frozenset()]
            by_gateway = [each for (name, _), each in found.items() if name.startswith("gateway_")]
            return by_gateway == [newest, newest]

        eventually(acknowledged, what="the newest routes at both gateways")
        _is_correlated(server, failed.headers["x-request-id"])
        eventually(lambda: _spans(collector), what="the spans of that trace")
        [replica] = server.children("replica.main")
        os.kill(replica.pid, signal.SIGKILL)
        eventually(lambda: value("replica_restarts_total", **mine) == 1, what="the restart")
        eventually(lambda: value("replicas_ready", **mine) == 1, what="the new replica")


def _is_correlated(server: Running, request_id: str) -> None:
    """The replica's log says which request of which trace it was that failed."""
    path = "/api/2.0/serving-endpoints/e/served-models/m-1/logs"

    def failures() -> list[str]:
        lines = server.http.get(path).json()["logs"].splitlines()
        return [line for line in lines if "action=predict_failed" in line]

    [told] = map(json.loads, eventually(failures, what="the failure in the log"))
    assert (told["request_id"], told["trace_id"]) == (request_id, TRACE)
    assert "thirteen" in told["exception"]


def _spans(collector: Collector) -> bool:
    spans: dict[str, Any] = {
        span.name: span for span in list(collector.spans) if span.trace_id.hex() == TRACE
    }
    return (
        spans.keys() == {"POST prediction", "model"}
        and spans["model"].parent_span_id == spans["POST prediction"].span_id
        and spans["POST prediction"].parent_span_id.hex() == PARENT[36:52].decode()
    )
