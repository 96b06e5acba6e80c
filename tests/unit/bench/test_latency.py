import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.latency import LoadResult, histogram, intended_time, percentile, summarise


def test_percentile_is_the_nearest_rank():
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 50) == 50.0
    assert percentile(values, 99) == 99.0
    assert percentile(values, 99.1) == 100.0
    assert percentile(values, 0) == 1.0
    assert percentile(values, 100) == 100.0


def test_a_rank_that_floats_would_push_up_by_one_stays():
    # In floats 99.9 / 100 * 1000 is a little more than 999.
    assert percentile([float(n) for n in range(1, 1001)], 99.9) == 999.0


@pytest.mark.parametrize("percent", [-1.0, 100.5])
def test_a_percent_outside_its_range_is_refused(percent):
    with pytest.raises(ValueError, match="must lie in 0 to 100"):
        percentile([1.0], percent)


def test_there_is_no_percentile_of_nothing():
    with pytest.raises(ValueError, match="of nothing"):
        percentile([], 50)


@given(st.lists(st.floats(0, 1e3), min_size=1), st.floats(0, 100))
def test_at_least_its_share_of_the_values_is_not_above_a_percentile(values, percent):
    ordered = sorted(values)
    found = percentile(ordered, percent)
    assert found in ordered
    not_above = sum(value <= found for value in ordered)
    assert not_above >= percent / 100 * len(ordered) - 1e-6


def test_intended_times_are_counted_from_the_start_so_that_lateness_cannot_add_up():
    assert intended_time(10.0, 0, 200.0) == 10.0
    assert intended_time(10.0, 200, 200.0) == 11.0
    # A million steps of a rate that binary fractions can't hold end where they should.
    assert math.isclose(intended_time(0.0, 1_000_000, 300.0), 1_000_000 / 300, rel_tol=1e-12)


@given(st.integers(0, 10**6), st.floats(0.1, 1e5))
def test_intended_times_rise(number, rate):
    assert intended_time(5.0, number, rate) < intended_time(5.0, number + 1, rate)


@given(st.lists(st.floats(1e-6, 1e3)))
def test_a_histogram_keeps_every_value_below_its_bound(values):
    buckets = histogram(values)
    assert sum(buckets.values()) == len(values)
    bounds = [float(bound) for bound in buckets]
    assert bounds == sorted(bounds)
    if values:
        # Bounds are printed with four digits.
        assert bounds[-1] >= max(values) * 1000 * 0.999


def test_a_summary_counts_right_answers_per_second_of_the_window():
    result = LoadResult(connections=2, rate=0.0, seconds=2.0, right=4)
    summarise(result, [0.004, 0.001, 0.003, 0.002], [])
    assert result.rps == 2.0
    assert (result.p50_ms, result.p99_ms, result.max_ms) == (2.0, 4.0, 4.0)
    assert result.mean_ms == pytest.approx(2.5)
    assert result.late_p99_ms == 0.0


def test_a_run_without_a_single_right_answer_has_a_summary_too():
    result = LoadResult(connections=1, rate=0.0, seconds=1.0, errors={"reset": 3}, wrong=2)
    summarise(result, [], [])
    assert (result.rps, result.p50_ms, result.failed) == (0.0, 0.0, 5)
