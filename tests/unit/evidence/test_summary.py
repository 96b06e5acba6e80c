"""Summaries add in any order, survive JSON, and a repeated flush changes nothing."""

from functools import reduce

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.evidence.histogram import (
    buckets_within,
    count_above,
    duration_bucket,
    quantile_bucket,
    score_bin,
    upper_edge,
)
from serinus.evidence.summary import (
    MOST_KEYS,
    MOST_LABELS,
    OTHER_LABEL,
    Arm,
    ErrorClass,
    Exclusion,
    Flush,
    Ledger,
    PairSummary,
    StageSummary,
    event_key,
)

ARMS = st.sampled_from(list(Arm))
RECORDS = st.tuples(
    ARMS,
    st.none() | st.sampled_from(list(ErrorClass)),
    st.none() | st.floats(0, 100),
    st.none() | st.integers(0, 10_000_000),
    st.none() | st.integers(0, 5),
    st.integers(0, 1000),
)


def summary_of(records, pairs=(), labels=()):
    summary = StageSummary("r", 3, candidate_bp=500, control_bp=500)
    for arm, error, latency, model_us, key, at_us in records:
        summary.record(arm, error, latency, model_us, key=key, at_us=at_us)
        summary.exclude(arm, Exclusion.WARM_UP)
    for flipped, slower in pairs:
        summary.shadow.record(
            flipped=flipped, over_tolerance=False, slower=slower, flip="a→b" if flipped else None
        )
    for arm, label in labels:
        summary.predicted(arm, label)
    return summary


SUMMARIES = st.builds(
    summary_of,
    st.lists(RECORDS, max_size=12),
    st.lists(st.tuples(st.booleans(), st.booleans()), max_size=4),
    st.lists(st.tuples(ARMS, st.sampled_from("abc")), max_size=4),
)


@given(SUMMARIES, SUMMARIES, SUMMARIES)
def test_adding_is_associative_commutative_and_has_an_identity(a, b, c):
    assert a.add(b).add(c) == a.add(b.add(c))
    assert a.add(b) == b.add(a)
    assert a.add(StageSummary("r", 3, 500, 500)) == a


@given(st.lists(RECORDS, max_size=20), st.randoms(use_true_random=False))
def test_it_does_not_matter_which_gateway_saw_what(records, random):
    # Two events with one key at one time would be decided by name; gateways count in microseconds.
    records = [(*each[:5], place) for place, each in enumerate(records)]
    parts: list[list[tuple[object, ...]]] = [[], [], []]
    for record in records:
        random.choice(parts).append(record)
    merged = reduce(StageSummary.add, [summary_of(part) for part in parts])
    assert merged == summary_of(records)


@given(SUMMARIES)
def test_json_and_msgpack_bring_back_the_same(summary):
    flush = Flush("g", "i", 7, [summary])
    for codec in (msgspec.json, msgspec.msgpack):
        assert codec.decode(codec.encode(flush), type=Flush) == flush
    ledger = Ledger()
    ledger.replace(flush)
    assert msgspec.json.decode(msgspec.json.encode(ledger), type=Ledger) == ledger


def test_adding_changes_neither_side():
    a, b = summary_of([(Arm.STABLE, None, 0.1, None, None, 0)]), summary_of([])
    total = b.add(a)
    total.record(Arm.STABLE, None, 0.1)
    assert a.stable.requests == 1
    assert b.stable.requests == 0


def test_stages_with_other_weights_do_not_add():
    with pytest.raises(ValueError, match="different stages"):
        StageSummary("r", 3, 500).add(StageSummary("r", 3, 600))


def test_a_clients_fault_is_no_event():
    summary = summary_of([(Arm.CANDIDATE, ErrorClass.CLIENT, 0.1, None, 1, 0)])
    assert summary.candidate.errors == {ErrorClass.CLIENT: 1}
    assert summary.error_events(Arm.CANDIDATE) == 0


def test_errors_of_one_cause_are_one_event_on_the_arm_where_it_was_first():
    key = event_key("replica-7", "1700000000")
    records = [(Arm.CANDIDATE, ErrorClass.MODEL, 0.1, None, key, at) for at in (5, 6, 7)]
    records.append((Arm.STABLE, ErrorClass.MODEL, 0.1, None, key, 4))
    summary = summary_of(records)
    assert summary.candidate.errors == {ErrorClass.MODEL: 3}
    assert summary.error_events(Arm.CANDIDATE) == 0
    assert summary.error_events(Arm.STABLE) == 1


def test_when_keys_are_many_neither_arm_counts_more_of_them():
    summary = StageSummary("r", 0)
    for number in range(MOST_KEYS + 5):
        arm = Arm.STABLE if number < MOST_KEYS else Arm.CANDIDATE
        summary.record(arm, ErrorClass.MODEL, None, key=number)
    assert summary.error_events(Arm.STABLE) == MOST_KEYS
    assert summary.error_events(Arm.CANDIDATE) == 0
    assert summary.keys_dropped == 5


def test_labels_are_bounded():
    summary = StageSummary("r", 0)
    for number in range(MOST_LABELS + 9):
        summary.predicted(Arm.STABLE, f"class {number}")
    assert len(summary.stable.predictions) == MOST_LABELS + 1
    assert summary.stable.predictions[OTHER_LABEL] == 9


def test_a_repeated_or_late_flush_changes_nothing_and_a_dead_gateway_stays():
    first = Flush("g", "one", 1, [summary_of([(Arm.STABLE, None, 0.1, None, None, 0)])])
    newer = Flush("g", "one", 2, [summary_of([(Arm.STABLE, None, 0.1, None, None, 0)] * 2)])
    restarted = Flush("g", "two", 1, [summary_of([(Arm.STABLE, None, 0.1, None, None, 0)])])
    ledger = Ledger()
    for flush in (first, newer, restarted, first, newer, Flush("g", "one", 3, [])):
        ledger.replace(flush)
    total = ledger.total("r", 3)
    assert total is not None
    assert total.stable.requests == 3
    assert ledger.incarnations("r") == 2
    assert [stage.stage for stage in ledger.stages("r")] == [3]
    assert ledger.total("r", 4) is None
    ledger.forget("r")
    assert ledger.stages("r") == []


def test_a_disagreement_is_a_flip_or_a_moved_score():
    assert PairSummary(pairs=5, flips=2, over_tolerance=1).disagreements == 2
    assert PairSummary(pairs=5, over_tolerance=4).disagreements == 4


@given(st.floats(1e-6, 1e5))
def test_a_bucket_is_at_most_two_percent_wide(seconds):
    bucket = duration_bucket(seconds)
    assert seconds <= upper_edge(bucket) * (1 + 1e-9)
    assert upper_edge(bucket) <= seconds * 1.02 * (1 + 1e-9)


def test_quantiles_and_tails_of_a_histogram():
    histogram = {10: 50, 20: 45, 30: 5}
    assert quantile_bucket(histogram, 0.5) == 10
    assert quantile_bucket(histogram, 0.95) == 20
    assert quantile_bucket(histogram, 0.99) == 30
    assert quantile_bucket({}, 0.5) is None
    assert count_above(histogram, 10) == 50


def test_a_margin_in_buckets_is_rounded_as_asked():
    assert 1.02 ** buckets_within(1.25, up=True) >= 1.25 > 1.02 ** buckets_within(1.25, up=False)
    assert buckets_within(1.0, up=True) == buckets_within(1.0, up=False) == 0


def test_score_bins_keep_the_order():
    scores = [-1e6, -3.0, -0.5, 0.0, 0.2, 0.5, 3.0, 1e6]
    bins = [int(score_bin(score)) for score in scores]
    assert bins == sorted(bins)
    assert len(set(bins)) == len(bins)
    assert score_bin(float("nan")) == "nan"
    assert int(score_bin(float("inf"))) > int(score_bin(1e6))


def test_a_stage_that_had_other_weights_is_kept_apart_and_never_an_error():
    ledger = Ledger()
    for sequence, bp in enumerate((500, 700)):
        summary = StageSummary("r", 3, bp)
        summary.record(Arm.CANDIDATE, None, 0.1)
        ledger.replace(Flush("g", "one", sequence, [summary]))
    assert [(each.stage, each.candidate_bp) for each in ledger.stages("r")] == [(3, 500), (3, 700)]
    assert ledger.total("r", 3) == ledger.stages("r")[-1]
