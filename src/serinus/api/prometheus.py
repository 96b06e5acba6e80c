"""Serinus itself in the text form of Prometheus: one page for all endpoints, at ``/metrics``.

Every name, label and unit is in `METRICS`; labels take values that are bounded by what is served,
never by what callers send.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from fastapi import APIRouter, Response

from serinus import __version__
from serinus.entities import WHOLE
from serinus.errors import TemporarilyUnavailable
from serinus.evidence.condition import Condition, RolloutCondition, ServedCondition
from serinus.evidence.meter import EDGES_S, Durations, Meter
from serinus.evidence.verdict import Verdict
from serinus.rollout.state import Phase

__all__ = ["METRICS", "ConditionOf", "Metric", "PrometheusCalls", "exposition"]

#: How everything is; None where nobody looks.
ConditionOf = Callable[[], Condition | None]

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Metric:
    """One family."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


_SERVED = ("endpoint", "served")
METRICS: tuple[Metric, ...] = (
    Metric("serinus_build_info", "gauge", ("version",), "Always 1."),
    Metric(
        "serinus_requests_total",
        "counter",
        (*_SERVED, "status"),
        "Predictions that were answered, by class of HTTP status; served is empty where nobody "
        "was asked.",
    ),
    Metric(
        "serinus_edge_refusals_total",
        "counter",
        ("status",),
        "Requests and connections that were refused before it was known what they are for.",
    ),
    Metric(
        "serinus_request_duration_seconds",
        "histogram",
        _SERVED,
        "From the choice of a served entity to its answer.",
    ),
    Metric(
        "serinus_request_queue_seconds",
        "histogram",
        _SERVED,
        "Of that, outside of the model: waiting for it, and the way there and back.",
    ),
    Metric(
        "serinus_request_model_seconds",
        "histogram",
        _SERVED,
        "Of that, inside the model, for the batch that the request was in.",
    ),
    Metric(
        "serinus_requests_in_flight", "gauge", _SERVED, "Sent to a replica and not answered yet."
    ),
    Metric(
        "serinus_cache_requests_total",
        "counter",
        (*_SERVED, "outcome"),
        "Requests where answers are given again: hit, joined (one under way), miss, passed (too "
        "long).",
    ),
    Metric(
        "serinus_cache_evictions_total",
        "counter",
        _SERVED,
        "Kept answers that had to go for others before their time.",
    ),
    Metric("serinus_cache_bytes", "gauge", _SERVED, "Bytes of kept answers and their requests."),
    Metric(
        "serinus_batch_requests",
        "histogram",
        _SERVED,
        "Requests that the model was asked for at once.",
    ),
    Metric(
        "serinus_answer_nulls_total",
        "counter",
        (*_SERVED, "value"),
        "NaN and infinities in answers, each of which was written as null.",
    ),
    Metric(
        "serinus_live_lost_total",
        "counter",
        (*_SERVED, "what"),
        "Live values that are not in the counts: rows without room, slices given up for memory, "
        "requests that could not be counted.",
    ),
    Metric("serinus_served_weight_ratio", "gauge", _SERVED, "Share of the requests, from 0 to 1."),
    Metric("serinus_replicas_wanted", "gauge", _SERVED, "Replicas that should be there."),
    Metric("serinus_replicas_ready", "gauge", _SERVED, "Replicas that can answer."),
    Metric(
        "serinus_replica_restarts_total",
        "counter",
        _SERVED,
        "Replicas that ended by themselves and were replaced.",
    ),
    Metric(
        "serinus_rollout_phase",
        "gauge",
        ("endpoint", "phase"),
        "1 for the phase that the endpoint's newest rollout is in, 0 for the others.",
    ),
    Metric(
        "serinus_rollout_candidate_weight_ratio",
        "gauge",
        ("endpoint",),
        "Share of the requests that the candidate has, from 0 to 1.",
    ),
    Metric(
        "serinus_rollout_verdict",
        "gauge",
        ("endpoint", "guardrail", "verdict"),
        "1 for what the guardrail says now, 0 for the others; only while a rollout is under way.",
    ),
    Metric(
        "serinus_routes_newest_generation", "gauge", (), "Of the routes that were published last."
    ),
    Metric(
        "serinus_gateway_routes_generation",
        "gauge",
        ("gateway",),
        "Of the routes that a gateway serves by.",
    ),
    Metric("serinus_gateways_connected", "gauge", (), "Gateways that the controller hears."),
    Metric(
        "serinus_controller_turn_duration_seconds",
        "histogram",
        (),
        "One pass of the control loop.",
    ),
)


class PrometheusCalls:
    """The handler. It asks the store nothing, so that scraping costs the same whatever it holds."""

    def __init__(self, condition: ConditionOf) -> None:
        self._condition = condition

    def router(self) -> APIRouter:
        """The route; it is no part of the control API, so not in its document."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/metrics", self.get, methods=["GET"], response_class=Response)
        return router

    def get(self) -> Response:
        """All of it as text."""
        condition = self._condition()
        if condition is None:
            raise TemporarilyUnavailable("Nothing is counted here at the moment.", retry_after=5)
        return Response(exposition(condition), media_type=_TEXT)


class _Sample(NamedTuple):
    """One line; ``values`` in the order of `Metric.labels`."""

    name: str
    values: tuple[str, ...]
    value: float
    suffix: str = ""
    #: The upper edge of a histogram's bucket.
    le: str = ""


def exposition(condition: Condition) -> str:
    """The text; a family without samples has its HELP and TYPE all the same."""
    samples: dict[str, list[_Sample]] = {metric.name: [] for metric in METRICS}
    for sample in _samples(condition):
        samples[sample.name].append(sample)
    lines: list[str] = []
    for metric in METRICS:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        lines += [_line(metric, sample) for sample in samples[metric.name]]
    return "\n".join(lines) + "\n"


def _line(metric: Metric, sample: _Sample) -> str:
    labels = dict(zip(metric.labels, sample.values, strict=True))
    if sample.le:
        labels["le"] = sample.le
    told = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    value = sample.value
    number = str(int(value)) if value == int(value) else repr(value)
    return f"{metric.name}{sample.suffix}{f'{{{told}}}' if told else ''} {number}"


def _samples(condition: Condition) -> Iterator[_Sample]:
    yield _Sample("serinus_build_info", (__version__,), 1)
    for meter in condition.meters:
        yield from _of_meter(meter)
    for served in condition.served:
        yield from _of_served(served)
    for rollout in condition.rollouts:
        yield from _of_rollout(rollout)
    yield _Sample("serinus_routes_newest_generation", (), condition.newest)
    for gateway, generation in sorted(condition.gateways.items()):
        yield _Sample("serinus_gateway_routes_generation", (gateway,), generation)
    yield _Sample("serinus_gateways_connected", (), len(condition.gateways))
    yield from _durations("serinus_controller_turn_duration_seconds", (), condition.turns)


def _of_meter(meter: Meter) -> Iterator[_Sample]:
    key = (meter.endpoint, meter.served)
    if not meter.endpoint:
        for status, count in sorted(meter.statuses.items()):
            yield _Sample("serinus_edge_refusals_total", (str(status),), count)
        return
    classes: dict[str, int] = {}
    for status, count in meter.statuses.items():
        name = f"{status // 100}xx"
        classes[name] = classes.get(name, 0) + count
    for name, count in sorted(classes.items()):
        yield _Sample("serinus_requests_total", (*key, name), count)
    if not meter.served:
        return  # refused: nobody was waited for
    yield from _durations("serinus_request_duration_seconds", key, meter.latency)
    yield from _durations("serinus_request_queue_seconds", key, meter.queue)
    yield from _durations("serinus_request_model_seconds", key, meter.model)
    yield _Sample("serinus_requests_in_flight", key, meter.in_flight)
    yield from _of_cache(key, meter)


def _of_cache(key: tuple[str, str], meter: Meter) -> Iterator[_Sample]:
    if not meter.cached:
        return  # no answer is given again there
    for what, count in sorted(meter.cached.items()):
        if what != "evicted":
            yield _Sample("serinus_cache_requests_total", (*key, what), count)
    yield _Sample("serinus_cache_evictions_total", key, meter.cached.get("evicted", 0))
    yield _Sample("serinus_cache_bytes", key, meter.cached_bytes)


def _of_served(served: ServedCondition) -> Iterator[_Sample]:
    key, batched = (served.endpoint, served.served), served.batched
    if batched.sizes:
        edges = [str(2**place) for place in range(len(batched.sizes) - 1)]
        yield from _histogram("serinus_batch_requests", key, edges, batched.sizes, batched.requests)
        yield _Sample("serinus_answer_nulls_total", (*key, "nan"), batched.nan)
        yield _Sample("serinus_answer_nulls_total", (*key, "infinity"), batched.infinite)
        yield _Sample("serinus_live_lost_total", (*key, "rows"), batched.dropped)
        yield _Sample("serinus_live_lost_total", (*key, "slices"), batched.evicted)
        yield _Sample("serinus_live_lost_total", (*key, "requests"), batched.failed)
    yield _Sample("serinus_served_weight_ratio", key, served.weight_bp / WHOLE)
    yield _Sample("serinus_replicas_wanted", key, served.wanted)
    yield _Sample("serinus_replicas_ready", key, served.ready)
    yield _Sample("serinus_replica_restarts_total", key, served.restarts)


def _of_rollout(rollout: RolloutCondition) -> Iterator[_Sample]:
    endpoint = rollout.endpoint
    for phase in Phase:
        here = phase.value == rollout.phase
        yield _Sample("serinus_rollout_phase", (endpoint, phase.value), here)
    share = rollout.candidate_bp / WHOLE
    yield _Sample("serinus_rollout_candidate_weight_ratio", (endpoint,), share)
    for guardrail, said in sorted(rollout.verdicts.items()):
        for verdict in Verdict:
            key = (endpoint, guardrail, verdict.value)
            yield _Sample("serinus_rollout_verdict", key, verdict.value == said)


def _durations(name: str, key: tuple[str, ...], durations: Durations) -> Iterator[_Sample]:
    edges = [f"{edge:g}" for edge in EDGES_S]
    return _histogram(name, key, edges, durations.buckets, durations.seconds)


def _histogram(
    name: str, key: tuple[str, ...], edges: Sequence[str], buckets: Sequence[int], total: float
) -> Iterator[_Sample]:
    below = list(accumulate(buckets))
    for edge, count in zip((*edges, "+Inf"), below, strict=True):
        yield _Sample(name, key, count, "_bucket", edge)
    yield _Sample(name, key, total, "_sum")
    yield _Sample(name, key, below[-1], "_count")
