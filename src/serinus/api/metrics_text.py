"""An endpoint's last minute in the text form of Prometheus, under the names that clients scrape.

The values are gauges of the last minute, also where a name ends in ``_total``: so it is there.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from fastapi import APIRouter, Response

from serinus.entities import Endpoint
from serinus.errors import TemporarilyUnavailable
from serinus.evidence.meter import EDGES_S, Durations, Vitals
from serinus.store.instants import to_millis
from serinus.store.repository import Store

__all__ = ["MetricCalls", "VitalsOf", "exposition"]

#: How one endpoint is doing; None where nobody counts.
VitalsOf = Callable[[Endpoint], Vitals | None]

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
#: Of the edges that are counted by, those from which this histogram begins.
_LEAST_MS = 5.0


class MetricCalls:
    """Handlers over one store."""

    def __init__(self, store: Store, *, vitals: VitalsOf, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._vitals = vitals
        self._clock = clock

    def router(self) -> APIRouter:
        """The route."""
        router = APIRouter(tags=["serving endpoints"])
        router.add_api_route(
            "/api/2.0/serving-endpoints/{name}/metrics",
            self.get,
            methods=["GET"],
            response_class=Response,
            responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        )
        return router

    def get(self, name: str) -> Response:
        """Requests, durations and use of the last minute, as text for Prometheus."""
        endpoint = self._store.endpoint(name)
        vitals = self._vitals(endpoint)
        if vitals is None:
            raise TemporarilyUnavailable("Nothing is counted here at the moment.", retry_after=5)
        at = to_millis(self._clock())
        return Response(exposition(name, vitals, at), media_type=_TEXT)


def exposition(endpoint: str, vitals: Vitals, at_ms: int) -> str:
    """The text; every sample carries the moment."""
    minute = vitals.minute
    clients = sum(count for status, count in minute.statuses.items() if 400 <= status < 500)
    servers = sum(count for status, count in minute.statuses.items() if status >= 500)
    gauges: list[tuple[str, str, float | None]] = [
        ("cpu_usage_percentage", "Of all cores, by the endpoint's replicas.", vitals.cpu_percent),
        ("mem_usage_percentage", "Of the memory, by them.", vitals.memory_percent),
        ("provisioned_concurrent_requests_total", "Replicas that can answer.", vitals.replicas),
        ("request_count_total", "Requests of the last minute.", minute.requests),
        ("request_4xx_count_total", "Those answered with a 4xx.", clients),
        ("request_5xx_count_total", "Those answered with a 5xx.", servers),
    ]
    lines: list[str] = []
    for name, told, value in gauges:
        if value is not None:
            lines += [f"# HELP {name} {told}", f"# TYPE {name} gauge"]
            lines.append(f'{name}{{endpoint_name="{endpoint}"}} {value:g} {at_ms}')
    for name, told, durations in (
        ("request_latency_ms", "From the choice of a version to its answer.", minute.latency),
        ("model_queue_time_ms", "Of that, outside of the model.", minute.queue),
        ("model_prediction_latency_ms", "Of that, inside the model.", minute.model),
    ):
        lines += [f"# HELP {name} {told}", f"# TYPE {name} histogram"]
        lines += _histogram(name, endpoint, durations, at_ms)
    return "\n".join(lines) + "\n"


def _histogram(name: str, endpoint: str, durations: Durations, at_ms: int) -> Iterator[str]:
    for edge, count in _cumulative(durations.buckets):
        yield f'{name}_bucket{{endpoint_name="{endpoint}",le="{edge}"}} {count} {at_ms}'
    labels = f'{{endpoint_name="{endpoint}"}}'
    yield f"{name}_sum{labels} {durations.seconds * 1000:.3f} {at_ms}"
    yield f"{name}_count{labels} {sum(durations.buckets)} {at_ms}"


def _cumulative(buckets: Iterable[int]) -> Iterator[tuple[str, int]]:
    below = 0
    for edge, count in zip((*EDGES_S, float("inf")), buckets, strict=True):
        below += count
        if edge * 1000 >= _LEAST_MS:
            yield ("+Inf" if edge == float("inf") else f"{edge * 1000:.0f}"), below
