"""Error probabilities: exact where they can be enumerated, else by seeded simulation."""

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from bench.traces import RAMP, error_trace, first_crossing, growing_looks
from serinus.evidence.eprocess import Events, log_decrease, log_regression, log_safety, pooled
from serinus.evidence.means import Outcomes, confidence_sequence, ever, log_drop, log_no_drop, now
from serinus.evidence.proportion import log_above, log_below
from serinus.evidence.ratio import log_mismatch

PROCESSES = [
    (lambda events: log_regression(events, 1.5), 1.5),
    (lambda events: log_safety(events, 1.5), 1.5),
    (lambda events: log_decrease(events), 1.0),
    (lambda events: log_decrease(events, 4.0), 4.0),
]


@pytest.mark.parametrize(
    ("process", "ratio"), PROCESSES, ids=["regression", "safety", "decrease", "decrease of 4"]
)
def test_its_mean_under_the_null_is_exactly_one(process, ratio):
    shares, totals = (0.05, 0.5), (3, 4)
    mean = 0.0
    for hits in product(*(range(total + 1) for total in totals)):
        chance = 1.0
        for k, n, share in zip(hits, totals, shares, strict=True):
            chance *= stats.binom.pmf(k, n, share * ratio / (1 - share + share * ratio))
        rows = [(k, n, share) for k, n, share in zip(hits, totals, shares, strict=True)]
        mean += chance * math.exp(process(Events.of(rows)))
    assert mean == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("true_ratio", [0.2, 1.0, 1.4])
def test_below_the_boundary_the_mean_is_at_most_one(true_ratio):
    share, total = 0.3, 12
    odds = share * true_ratio / (1 - share + share * true_ratio)
    mean = sum(
        stats.binom.pmf(k, total, odds)
        * math.exp(log_regression(Events.of([(k, total, share)]), 1.5))
        for k in range(total + 1)
    )
    assert mean <= 1.0


def test_any_stopping_rule_keeps_the_mean_at_one():
    # Stop at the first event that makes it look bad, else after eight: enumerate all paths.
    share = 0.25
    mean = 0.0
    for path in product((0, 1), repeat=8):
        stop = next((n for n in range(1, 9) if sum(path[:n]) / n > 0.6), 8)
        chance = share ** sum(path) * (1 - share) ** (8 - sum(path))
        rows = Events.of([(sum(path[:stop]), stop, share)])
        mean += chance * math.exp(log_regression(rows))
    assert mean == pytest.approx(1.0, abs=1e-12)


def test_stages_of_one_share_count_as_one():
    apart = Events.of([(1, 9, 0.1), (4, 20, 0.5), (2, 7, 0.1)])
    together = Events.of([(3, 16, 0.1), (4, 20, 0.5)])
    assert log_regression(apart) == pytest.approx(log_regression(together))
    many = Events(np.tile(apart.candidate, (3, 1)), np.tile(apart.total, (3, 1)), apart.share)
    assert pooled(many).total.shape == (3, 2)
    assert log_safety(many, 2.0) == pytest.approx(np.full(3, log_safety(together, 2.0)))


def test_stages_where_one_arm_has_all_traffic_say_nothing():
    events = Events.of([(0, 1000, 0.0), (1000, 1000, 1.0)])
    assert log_regression(events, 2.0) == pytest.approx(0.0, abs=1e-9)
    assert log_safety(events, 2.0) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("share", [1e-4, 0.05, 0.5, 0.9999])
@pytest.mark.parametrize("total", [0, 1, 1e3, 1e9])
def test_numbers_stay_finite(share, total):
    for part in (0.0, share, 1.0):
        events = Events.of([(round(total * part), total, share)])
        for log in (
            log_regression(events, 2.0),
            log_safety(events, 2.0),
            log_safety(events, 10_001.0),
            log_decrease(events),
        ):
            assert np.isfinite(log)


def test_one_in_a_million_is_told_from_three_in_a_million():
    trials, share = 1e9, 0.5
    same = Events.of([(500, 1000, share)])
    worse = Events.of([(1500, 2000, share)])
    assert log_regression(same) < 0 < 50 < log_regression(worse)
    assert log_safety(same, 2.0) > math.log(20)
    assert log_below(1000, trials, 3e-6) > 100
    assert log_above(3000, trials, 1e-6) > 100


def test_a_floor_of_one_percent_is_proved_by_a_few_hundred_clean_requests():
    needed = next(n for n in range(1, 5000) if log_below(0, n, 0.01) >= math.log(20))
    assert 300 < needed < 450
    assert log_below(0, 1, 1.0) == np.inf
    assert log_below(0, 0, 1.0) == 0.0


def test_the_split_test_is_the_dirichlet_multinomial_of_scipy():
    counts, shares = [9500, 480, 20], [0.949, 0.05, 0.001]
    alphas = 100 * np.array(shares)
    closed = stats.dirichlet_multinomial.logpmf(counts, alphas, sum(counts))
    null = stats.multinomial.logpmf(counts, sum(counts), shares)
    assert log_mismatch(counts, shares) == pytest.approx(closed - null)
    assert log_mismatch([5, 1], [1.0, 0.0]) == math.inf
    assert log_mismatch([0, 0], [0.9, 0.1]) == pytest.approx(0.0)
    assert math.isfinite(log_mismatch([10**9, 10**9], [0.5, 0.5]))


def test_a_broken_split_is_found_and_a_good_one_is_not():
    rng = np.random.default_rng(5)
    assert log_mismatch([400, 0], [0.95, 0.05]) > math.log(1000)
    false = 0
    for _ in range(300):
        units = rng.random(20_000) < 0.05
        ends = range(100, 20_001, 400)
        false += any(
            log_mismatch([end - int(units[:end].sum()), int(units[:end].sum())], [0.95, 0.05])
            >= math.log(1000)
            for end in ends
        )
    assert false <= 2


NULLS = {
    "constant": lambda stage, part: 0.01,
    "ramp of the rate": lambda stage, part: (0.002, 0.005, 0.02, 0.05)[stage],
    "spike": lambda stage, part: 0.05 if stage == 3 and part > 0.5 else 0.002,
    "drift": lambda stage, part: 0.01 * (1 + part),
}


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("ratio", [1.0, 1.25])
def test_a_ramp_raises_no_false_alarm(null, ratio):
    rng = np.random.default_rng(11)
    looks = [np.full(12, 400)] * 4
    trace = error_trace(rng, 600, RAMP, looks, NULLS[null], ratio)
    alarms = first_crossing(log_regression(trace.events(), ratio), 0.05, trace.exposed()) < np.inf
    assert stats.binomtest(int(alarms.sum()), 600, 0.05).pvalue > 0.001 or alarms.mean() < 0.05


def test_a_candidate_at_the_boundary_is_rarely_called_safe():
    rng = np.random.default_rng(12)
    trace = error_trace(rng, 600, RAMP, [np.full(12, 600)] * 4, NULLS["constant"], 2.0)
    safe = first_crossing(log_safety(trace.events(), 2.0), 0.05, trace.exposed()) < np.inf
    assert safe.mean() < 0.05


#: (base, candidate, share) → median requests on the candidate at alpha .01, as published.
DETECTED = {
    (0.01, 0.02, 0.05): 1267,
    (0.01, 0.03, 0.5): 993,
    (0.01, 0.05, 0.1): 178,
    (0.001, 0.2, 0.05): 24,
}


@pytest.mark.parametrize(("case", "published"), DETECTED.items())
def test_a_regression_is_found_as_early_as_published(case, published):
    base, rate, share = case
    rng = np.random.default_rng(13)
    sizes = growing_looks(int(6 * published / share), 150, 20)
    trace = error_trace(rng, 500, [share], [sizes], lambda *_: base, rate / base)
    found = first_crossing(log_regression(trace.events()), 0.01, trace.exposed())
    # A tenth for the formula; the rest is what the median of 500 rollouts and the spacing give.
    assert np.median(found) <= published * 1.10 * 1.08


#: (base, ratio) → median requests on the candidate at a share of 5 %, truly equal.
PROVED = {(0.01, 2.0): 913, (0.01, 1.5): 3066, (0.01, 1.25): 9617, (0.001, 2.0): 9515}


@pytest.mark.parametrize(("case", "published"), PROVED.items())
def test_safety_is_proved_as_early_as_published(case, published):
    base, ratio = case
    rng = np.random.default_rng(14)
    sizes = growing_looks(int(6 * published / 0.05), 150, 200)
    trace = error_trace(rng, 500, [0.05], [sizes], lambda *_: base)
    found = first_crossing(log_safety(trace.events(), ratio), 0.05, trace.exposed())
    assert np.median(found) <= published * 1.10 * 1.08


@pytest.mark.parametrize(("rate", "published"), [(0.03, 3275), (0.04, 850), (0.10, 100)])
def test_disagreeing_pairs_are_found_as_early_as_published(rate, published):
    rng = np.random.default_rng(15)
    ends = np.unique(np.geomspace(10, 8 * published, 150).astype(int))
    hits = np.cumsum(rng.binomial(np.diff(ends, prepend=0), rate, (500, len(ends))), axis=1)
    events = Events(
        hits[..., None].astype(float),
        np.broadcast_to(ends[:, None], (500, len(ends), 1)).astype(float),
        np.array([0.02]),
    )
    found = first_crossing(log_regression(events), 0.01, np.broadcast_to(ends, hits.shape))
    assert np.median(found) <= published * 1.10 * 1.08


def outcomes_of(rng, count, base, candidate, share):
    mine = rng.random(count) < share
    value = (rng.random(count) < np.where(mine, candidate, base)).astype(float)
    return Outcomes(mine, np.broadcast_to(share, (count,)).astype(float), value)


@pytest.mark.parametrize("candidate", [0.65, 0.60])
def test_a_drop_in_quality_is_found_almost_as_early_as_can_be(candidate):
    # The log-optimal test that knows both rates needs so many on average.
    divergence = sum(p * math.log(p / q) for p, q in ((candidate, 0.7), (1 - candidate, 0.3)))
    best = math.log(20) / divergence
    rng = np.random.default_rng(16)
    found = []
    for _ in range(150):
        outcomes = outcomes_of(rng, 30_000, 0.7, candidate, 0.1)
        hit = ever(log_drop(outcomes, 0.0)) >= math.log(20)
        first = int(hit.argmax()) if hit.any() else 30_000
        found.append(int(outcomes.on_candidate[: first + 1].sum()))
    assert np.median(found) <= 1.3 * best


def test_quality_under_ramp_and_drift_raises_no_false_alarm():
    rng = np.random.default_rng(17)
    share = np.repeat([0.01, 0.05, 0.25, 0.5], 1500)
    base = np.linspace(0.9, 0.5, len(share))
    dropped = kept = 0
    for _ in range(300):
        dropped += bool(
            (ever(log_drop(outcomes_of(rng, 6000, base, base, share), 0.0)) >= math.log(20)).any()
        )
        worse = outcomes_of(rng, 6000, base, base - 0.1, share)
        kept += bool((ever(log_no_drop(worse, 0.1)) >= math.log(20)).any())
    assert dropped / 300 <= 0.08
    assert kept / 300 <= 0.08


def test_no_drop_is_proved_and_the_interval_covers():
    rng = np.random.default_rng(18)
    outcomes = outcomes_of(rng, 20_000, 0.7, 0.7, 0.5)
    assert now(log_no_drop(outcomes, 0.05)) > math.log(20)
    low, high = confidence_sequence(outcomes, 0.05)
    assert -0.05 < low < 0.0 < high < 0.05
    assert confidence_sequence(outcomes_of(rng, 1, 0.7, 0.7, 0.5), 0.05) == (-1.0, 1.0)
