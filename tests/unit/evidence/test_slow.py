"""Slow answers of arms that are not alike: batches of another size, and a control pool."""

import math

import numpy as np

from bench.traces import LiveStage, latency_arms, latency_histogram
from serinus.evidence.eprocess import log_regression
from serinus.evidence.histogram import upper_edge
from serinus.evidence.slow import SlowEvents
from serinus.evidence.summary import ArmSummary
from serinus.evidence.windows import QUANTILES, Timeline


def batches(rng, requests, rows, scale=1.0):
    """One answer counted per batch, of so many rows; its time does not depend on them."""
    times = 0.02 * scale * rng.lognormal(0.0, 0.6, max(requests // rows, 1))
    return ArmSummary(units=requests, requests=requests, latency=latency_histogram(times))


def evidence_of(rng, share, rows, slower=1.0, ticks=12):
    timeline = Timeline()
    stage = LiveStage(timeline, 0, share)
    for _ in range(ticks):
        mine = int(rng.binomial(5000, share))
        stage.add(batches(rng, 5000 - mine, rows), batches(rng, mine, 1, slower))
    return max(SlowEvents(timeline.windows).log_slower(share, 0.0) for share in QUANTILES)


def test_small_batches_of_the_candidate_do_not_convict_it():
    # 5 % of the requests, one a batch, are half of all batches against ten a batch.
    false = sum(
        evidence_of(np.random.default_rng(run), 0.05, 10) >= math.log(20) for run in range(20)
    )
    assert false <= 2
    found = sum(
        evidence_of(np.random.default_rng(run), 0.05, 10, slower=2.0) >= math.log(100)
        for run in range(5)
    )
    assert found == 5


def test_a_slow_candidate_is_not_safe_for_answering_less_often():
    # Of each replica one answer is timed at a time: of one that is half as slow again, fewer are.
    rng = np.random.default_rng(5)
    timeline = Timeline()
    stage = LiveStage(timeline, 0, 0.5)
    for _ in range(20):
        stage.add(batches(rng, 3000, 1), batches(rng, 2000, 1, 1.5))
    slow = SlowEvents(timeline.windows)
    by_traffic = slow.events(0.5, 0.25, lenient=False)
    assert by_traffic.candidate.sum() < 0.5 * by_traffic.total.sum()
    assert slow.log_not_slower(0.5, 0.25, 1.0) < 0.0
    equal = LiveStage(Timeline(), 0, 0.5)
    for _ in range(20):
        equal.add(batches(rng, 3000, 1), batches(rng, 2000, 1))
    windows = equal.timeline.windows
    assert SlowEvents(windows).log_not_slower(0.5, 0.25, 1.0) > math.log(20)


def test_batches_of_one_row_lose_no_power():
    timeline = Timeline()
    stage = LiveStage(timeline, 0, 0.1)
    rng = np.random.default_rng(3)
    for _ in range(20):
        stage.add(*latency_arms(rng, 400, 0.1, 1.0, 1.5))
    slow = SlowEvents(timeline.windows)
    # A share of answers that chance explains is taken for that of traffic.
    by_traffic = log_regression(slow.events(0.95, 0.0, lenient=True))
    assert slow.log_slower(0.95, 0.0) == by_traffic > math.log(100)


def test_with_a_control_pool_thresholds_are_its_own():
    rng = np.random.default_rng(4)
    timeline = Timeline()
    stage = LiveStage(timeline, 0, 0.05, 0.05)
    for _ in range(10):
        # Stable queues: its answers take ten times as long as those of the two small pools.
        stage.add(batches(rng, 900, 1, 10.0), batches(rng, 50, 1, 1.5), batches(rng, 50, 1))
    edges = [upper_edge(window.latency_edges[0]) for window in timeline.windows[1:]]
    # Until there is enough of its own past, that of both pools of stable.
    assert edges[0] > 0.1
    assert 0.015 < edges[-1] < 0.03
    assert SlowEvents(timeline.windows).log_slower(0.5, 0.0) > math.log(100)
