"""`/metrics`: read back by the parser that others wrote, and held against its reference page."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serinus.api.app import create_app
from serinus.api.prometheus import METRICS, exposition
from serinus.evidence.condition import Batched, Condition, RolloutCondition, ServedCondition
from serinus.evidence.meter import Durations, Meter
from tests.unit.api.conftest import AT

PAGE = Path(__file__).parents[3] / "docs/reference/metrics.md"
ODD = 'a"\\\nb'


def meter(endpoint: str, served: str) -> Meter:
    found = Meter(endpoint, served, in_flight=3)
    found.count(200, 0.004, 3_000)
    found.count(201, 0.3, 290_000)
    found.count(500, 700.0)
    found.cached = {"hit": 5, "miss": 2, "evicted": 1}
    found.cached_bytes = 2048
    return found


@pytest.fixture
def condition() -> Condition:
    refused = Meter("fraud", "")
    refused.refuse(429)
    batched = Batched((4, 2, 0, 1), 14, 2, 5, 11, 12, 13)
    turns = Durations()
    turns.buckets[3] += 2
    turns.seconds = 0.008
    edge = Meter("", "")
    edge.refuse(408)
    return Condition(
        meters=[edge, refused, meter("fraud", "m-1"), meter(ODD, "m-1")],
        served=[ServedCondition("fraud", "m-1", 2500, 2, 1, 7, batched)],
        rollouts=[RolloutCondition("fraud", "PAUSED", 1000, {"latency": "REGRESSED"})],
        newest=12,
        gateways={"gateway-0": 12, "gateway-1": 11},
        turns=turns,
    )


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def test_what_is_counted_is_what_prometheus_reads(condition):
    found = samples(exposition(condition))

    def value(name: str, **labels: str) -> float:
        return found[f"serinus_{name}", frozenset(labels.items())]

    mine = {"endpoint": "fraud", "served": "m-1"}
    assert value("requests_total", **mine, status="2xx") == 2
    assert value("requests_total", **mine, status="5xx") == 1
    assert value("requests_total", endpoint="fraud", served="", status="4xx") == 1
    assert value("edge_refusals_total", status="408") == 1
    assert value("request_duration_seconds_bucket", **mine, le="0.005") == 1
    assert value("request_duration_seconds_bucket", **mine, le="600") == 2
    assert value("request_duration_seconds_bucket", **mine, le="+Inf") == 3
    assert value("request_duration_seconds_count", **mine) == 3
    assert value("request_duration_seconds_sum", **mine) == pytest.approx(700.304)
    assert value("request_model_seconds_sum", **mine) == pytest.approx(0.293)
    assert value("request_queue_seconds_sum", **mine) == pytest.approx(0.011)
    assert value("requests_in_flight", **mine) == 3
    assert value("cache_requests_total", **mine, outcome="hit") == 5
    assert value("cache_requests_total", **mine, outcome="miss") == 2
    assert value("cache_evictions_total", **mine) == 1
    assert value("cache_bytes", **mine) == 2048
    assert value("batch_requests_bucket", **mine, le="1") == 4
    assert value("batch_requests_bucket", **mine, le="4") == 6
    assert value("batch_requests_bucket", **mine, le="+Inf") == 7
    assert value("batch_requests_sum", **mine) == 14
    assert value("answer_nulls_total", **mine, value="nan") == 2
    assert value("answer_nulls_total", **mine, value="infinity") == 5
    assert value("served_weight_ratio", **mine) == 0.25
    assert (value("replicas_wanted", **mine), value("replicas_ready", **mine)) == (2, 1)
    assert value("replica_restarts_total", **mine) == 7
    assert value("rollout_phase", endpoint="fraud", phase="PAUSED") == 1
    assert value("rollout_phase", endpoint="fraud", phase="BAKING") == 0
    assert value("rollout_candidate_weight_ratio", endpoint="fraud") == 0.1
    said = {"endpoint": "fraud", "guardrail": "latency"}
    assert value("rollout_verdict", **said, verdict="REGRESSED") == 1
    assert value("rollout_verdict", **said, verdict="SAFE") == 0
    assert value("routes_newest_generation") == 12
    assert value("gateway_routes_generation", gateway="gateway-1") == 11
    assert value("gateways_connected") == 2
    assert value("controller_turn_duration_seconds_bucket", le="0.005") == 2
    assert value("controller_turn_duration_seconds_sum") == pytest.approx(0.008)
    # A name with everything in it that must be escaped comes back as it was.
    assert value("requests_total", endpoint=ODD, served="m-1", status="2xx") == 2


def test_every_family_is_there_with_its_type_and_help_and_only_with_its_labels(condition):
    families = list(text_string_to_metric_families(exposition(condition)))
    # The parser calls a counter by its name without the suffix.
    names = {each.name.removesuffix("_total"): each for each in METRICS}
    assert {each.name for each in families} == set(names)
    for family in families:
        metric = names[family.name]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert (metric.kind == "counter") == metric.name.endswith("_total")
        assert family.samples, f"{metric.name} has nothing to show here"
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)


def test_histograms_only_rise_and_end_at_their_count(condition):
    for family in text_string_to_metric_families(exposition(condition)):
        if family.type != "histogram":
            continue
        series: dict[frozenset[tuple[str, str]], list[float]] = {}
        counts: dict[frozenset[tuple[str, str]], float] = {}
        for sample in family.samples:
            key = frozenset((n, v) for n, v in sample.labels.items() if n != "le")
            if sample.name.endswith("_bucket"):
                series.setdefault(key, []).append(sample.value)
            elif sample.name.endswith("_count"):
                counts[key] = sample.value
        assert series
        for key, values in series.items():
            assert values == sorted(values)
            assert values[-1] == counts[key]


def test_live_values_that_are_not_in_the_counts_are_counted(condition):
    found = samples(exposition(condition))
    mine = {"endpoint": "fraud", "served": "m-1"}
    for what, count in (("rows", 11), ("slices", 12), ("requests", 13)):
        key = frozenset({**mine, "what": what}.items())
        assert found["serinus_live_lost_total", key] == count


def test_requests_make_no_more_lines(condition):
    before = len(exposition(condition).splitlines())
    for _ in range(1000):
        condition.meters[2].count(200, 0.01, 100)
    assert len(exposition(condition).splitlines()) == before


def test_a_server_without_anything_has_a_page_too():
    found = samples(exposition(Condition()))
    assert found["serinus_gateways_connected", frozenset()] == 0
    assert not any(name.startswith("serinus_requests") for name, _ in found)


def test_the_page_is_served_and_says_when_nobody_counts(api, condition):
    reply = api("GET", "/metrics")
    assert (reply.status_code, reply.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    api.app = create_app(
        api.store,
        wake=lambda: None,
        replica_logs=lambda endpoint_id, served: "",
        clock=lambda: AT,
        new_id=lambda: "0" * 32,
        workspace_id="1",
        condition=lambda: replace(condition, newest=13),
    )
    reply = api("GET", "/metrics")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert samples(reply.text)["serinus_routes_newest_generation", frozenset()] == 13


def test_the_reference_page_has_every_metric_as_it_is():
    rows = re.findall(r"^\| `(serinus_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", PAGE.read_text(), re.M)
    shown = [
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)), told)
        for name, kind, labels, told in rows
    ]
    assert shown == [(each.name, each.kind, each.labels, each.help) for each in METRICS]
    for expression in re.findall(r"serinus_\w+", PAGE.read_text()):
        assert expression in {each.name for each in METRICS}, expression
