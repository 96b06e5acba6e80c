"""Outcomes told later: counted by window in the order of exposure, judged like unit by unit."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.evidence.exposure import MOST_EXPOSURES, per_second
from serinus.evidence.guardrails import Confidence, Evidence, Quality
from serinus.evidence.means import Outcomes, log_drop, log_no_drop, now
from serinus.evidence.outcomes import OutcomeLine, Settled
from serinus.evidence.verdict import Verdict, judge


def units(rng, count, *, share, base, candidate, start=0, labelled=(1.0, 1.0)):
    mine = rng.random(count) < share
    good = rng.random(count) < np.where(mine, candidate, base)
    told = rng.random(count) < np.where(mine, labelled[1], labelled[0])
    return [
        Settled(
            start + n, n, bool(mine[n]), round(share * 10_000), float(good[n]) if told[n] else None
        )
        for n in range(count)
    ]


def line_of(*spans):
    line = OutcomeLine()
    for span in spans:
        line.take(span)
    return line


def verdict(line, next_bp=10_000, **limits):
    wanted = Quality(**limits)
    [said] = judge(Evidence([], lines={"quality": line}), [wanted], Confidence(), next_bp)
    return said


def test_a_worse_candidate_is_found_across_a_ramp():
    rng = np.random.default_rng(1)
    line = line_of(
        units(rng, 2000, share=0.05, base=0.8, candidate=0.6),
        units(rng, 2000, share=0.5, base=0.8, candidate=0.6, start=10_000),
    )
    said = verdict(line, max_drop=0.05)
    assert said.verdict is Verdict.REGRESSED
    assert "outcomes of the candidate have a mean of 0." in said.reason


def test_an_equal_one_is_safe_and_sooner_for_less_exposure():
    rng = np.random.default_rng(2)
    line = line_of(units(rng, 4000, share=0.3, base=0.8, candidate=0.8))
    assert verdict(line, max_drop=0.1).verdict is Verdict.SAFE
    early = line_of(units(rng, 400, share=0.3, base=0.8, candidate=0.8))
    assert verdict(early, max_drop=0.1).verdict is Verdict.UNDECIDED
    assert verdict(early, 1000, max_drop=0.1).verdict is Verdict.SAFE


def test_false_alarms_are_rare_under_a_ramp_and_drift():
    alarms = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        line = OutcomeLine()
        best = -math.inf
        for step, share in enumerate((0.02, 0.1, 0.4)):
            base = 0.9 - 0.2 * step
            line.take(units(rng, 600, share=share, base=base, candidate=base, start=step * 1000))
            outcomes = line.outcomes()
            best = max(best, now(log_drop(outcomes, 0.0)))
        alarms += best >= math.log(20)
    assert alarms <= 15  # 5 % of 300, at the three looks that were taken


def test_windows_cost_little_power():
    rng = np.random.default_rng(3)
    span = units(rng, 5000, share=0.1, base=0.7, candidate=0.6)
    windowed = line_of(span).outcomes()
    single = Outcomes(
        np.array([each.on_candidate for each in span]),
        np.full(len(span), 0.1),
        np.array([each.value for each in span]),
    )
    assert len(windowed) < 400  # rows, of 5,000 units
    assert windowed.counts.sum() == 5000
    for process in (log_drop, log_no_drop):
        assert now(process(windowed, 0.05)) == pytest.approx(now(process(single, 0.05)), abs=1.5)


@given(st.lists(st.integers(1, 60), max_size=12))
def test_it_does_not_matter_in_which_portions_they_come(cuts):
    span = units(np.random.default_rng(4), 500, share=0.2, base=0.7, candidate=0.7)
    whole, parts, place = line_of(span), OutcomeLine(), 0
    for cut in cuts:
        parts.take(span[place : place + cut])
        place += cut
    parts.take(span[max(place - 30, 0) :])  # some of them once more
    assert parts == whole


def test_one_that_comes_out_of_order_is_left_out():
    line = line_of([Settled(10, 1, True, 500, 1.0), Settled(9, 2, True, 500, 1.0)])
    assert (line.labelled, line.through) == (1, (10, 1))


def test_labels_that_come_for_one_arm_alone_compare_nothing():
    rng = np.random.default_rng(5)
    even = line_of(units(rng, 4000, share=0.2, base=0.8, candidate=0.8, labelled=(0.5, 0.5)))
    assert verdict(even, max_drop=0.1).verdict is Verdict.SAFE
    uneven = line_of(units(rng, 4000, share=0.2, base=0.8, candidate=0.8, labelled=(0.9, 0.3)))
    said = verdict(uneven, max_drop=0.1)
    assert said.verdict is Verdict.INVALID
    assert "depends on who answered" in said.reason


def test_a_missing_label_may_count_as_nought():
    span = [Settled(n, n, n % 2 == 0, 5000, None if n % 2 == 0 else 1.0) for n in range(200)]
    line = OutcomeLine()
    line.take(span, absent_is_zero=True)
    assert line.missing() == (0, 0)
    assert verdict(line, max_drop=0.1).verdict is Verdict.REGRESSED


def test_nothing_told_is_no_data():
    assert verdict(OutcomeLine()).verdict is Verdict.NO_DATA
    alone = line_of([Settled(n, n, True, 500, 1.0) for n in range(50)])
    assert verdict(alone).verdict is Verdict.NO_DATA


def test_so_many_are_picked_that_three_windows_of_them_can_be_kept():
    assert per_second(3.0) == 200.0
    assert per_second(86_400.0) * 3 * 86_400 == pytest.approx(MOST_EXPOSURES)
