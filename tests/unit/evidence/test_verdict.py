"""Verdicts: each of the five, their reasons, and the exposure for which a candidate is safe."""

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from bench.traces import LiveStage, latency_arms
from serinus.evidence.expectations import Traffic, expected_detection, expected_steps
from serinus.evidence.guardrails import (
    Confidence,
    ErrorRate,
    Evidence,
    Latency,
    Predictions,
    Quality,
)
from serinus.evidence.labels import LabelSets
from serinus.evidence.means import Outcomes
from serinus.evidence.shift import Shifts
from serinus.evidence.slow import SlowEvents
from serinus.evidence.summary import ArmSummary, Flush, Ledger, PairSummary, StageSummary
from serinus.evidence.verdict import Verdict, judge, log_split_mismatch
from serinus.evidence.windows import QUANTILES, Timeline

CONFIDENCE = Confidence()


def stage_of(requests, errors, bp=500, candidate_errors=0, number=1, candidate=None):
    mine = round(requests * bp / 10_000) if candidate is None else candidate
    return StageSummary(
        "r",
        number,
        bp,
        stable=ArmSummary(units=requests - mine, requests=requests - mine, lone_errors=errors),
        candidate=ArmSummary(units=mine, requests=mine, lone_errors=candidate_errors),
    )


def verdict_of(evidence, guardrail, next_bp=10_000, confidence=CONFIDENCE):
    (verdict,) = judge(evidence, [guardrail], confidence, next_bp)
    return verdict


class TestErrorRate:
    def test_no_requests_are_no_data(self):
        for stages in ([], [stage_of(0, 0)], [stage_of(100, 1, bp=0)]):
            verdict = verdict_of(Evidence(stages), ErrorRate())
            assert verdict.verdict is Verdict.NO_DATA
            assert verdict.safe_for_bp == 0

    def test_a_few_clean_requests_are_undecided_for_all_traffic(self):
        verdict = verdict_of(Evidence([stage_of(1000, 0)]), ErrorRate())
        assert verdict.verdict is Verdict.UNDECIDED
        assert 100 <= verdict.safe_for_bp < 10_000
        assert "0 of 0 errors fell on the candidate" in verdict.reason
        assert "not yet proof for an exposure of 100 %" in verdict.reason

    def test_what_is_undecided_for_all_traffic_may_be_safe_for_the_next_step(self):
        evidence = Evidence([stage_of(1000, 0)])
        bp = verdict_of(evidence, ErrorRate()).safe_for_bp
        assert verdict_of(evidence, ErrorRate(), bp).verdict is Verdict.SAFE
        assert verdict_of(evidence, ErrorRate(), bp).safe_for_bp >= bp

    def test_a_service_without_errors_is_promotable_after_a_few_hundred_requests(self):
        verdict = verdict_of(Evidence([stage_of(1200, 0, bp=5000)]), ErrorRate())
        assert verdict.verdict is Verdict.SAFE
        assert verdict.safe_for_bp == 10_000
        assert verdict.reason.startswith(
            "proved for an exposure of 100 %: its error rate is less than 2 times stable's, or "
            "below 1.00%; seen so far: 0 of 0 errors"
        )

    def test_a_regression_is_told_in_words_and_numbers(self):
        verdict = verdict_of(Evidence([stage_of(400, 2, candidate_errors=9)]), ErrorRate())
        assert verdict.verdict is Verdict.REGRESSED
        assert verdict.reason.startswith(
            "9 of 11 errors fell on the candidate, which had 5.0% of traffic; with an increase"
        )
        assert verdict.reason.endswith(" rollouts")

    def test_an_increase_within_the_margin_or_under_the_floor_is_no_regression(self):
        slightly = stage_of(100_000, 1000, bp=5000, candidate_errors=1400)
        assert verdict_of(Evidence([slightly]), ErrorRate()).verdict is Verdict.SAFE
        rare = stage_of(100_000, 5, bp=5000, candidate_errors=150)
        assert verdict_of(Evidence([rare]), ErrorRate()).verdict is Verdict.SAFE
        assert verdict_of(Evidence([rare]), ErrorRate(floor=0)).verdict is Verdict.REGRESSED

    def test_an_outage_that_hits_both_is_no_regression(self):
        both = stage_of(10_000, 9500 // 2, bp=500, candidate_errors=250)
        assert verdict_of(Evidence([both]), ErrorRate()).verdict is not Verdict.REGRESSED

    def test_shadowed_requests_convict_before_any_user_is_exposed(self):
        shadow = PairSummary(pairs=160, candidate_errors=40)
        stage = replace(stage_of(200, 0, bp=0), shadow=shadow)
        verdict = verdict_of(Evidence([stage]), ErrorRate())
        assert verdict.verdict is Verdict.REGRESSED
        assert "of 200 shadowed requests the candidate alone failed 40" in verdict.reason

    def test_with_a_control_arm_only_that_is_compared(self):
        stage = StageSummary(
            "r",
            1,
            500,
            500,
            stable=ArmSummary(units=9000, requests=9000),
            candidate=ArmSummary(units=500, requests=500, lone_errors=20),
            control=ArmSummary(units=500, requests=500, lone_errors=21),
        )
        guardrail = ErrorRate(floor=0)
        assert verdict_of(Evidence([stage]), guardrail).verdict is not Verdict.REGRESSED
        alone = replace(stage, control_bp=0, control=ArmSummary())
        assert verdict_of(Evidence([alone]), guardrail).verdict is Verdict.REGRESSED

    def test_a_sticky_unit_counted_by_two_gateways_proves_no_more(self):
        stages = [stage_of(1200, 0, bp=5000)]
        once = verdict_of(Evidence(stages, unit_copies=1), ErrorRate())
        twice = verdict_of(Evidence(stages, unit_copies=2), ErrorRate())
        assert once.verdict is Verdict.SAFE
        assert twice.verdict is Verdict.UNDECIDED

    def test_a_margin_of_nothing_can_be_asked_for(self):
        verdict = verdict_of(Evidence([stage_of(1000, 9, candidate_errors=1)]), ErrorRate(0, 0))
        assert verdict.verdict is Verdict.UNDECIDED


class TestSplit:
    def test_a_split_that_did_not_happen_makes_everything_invalid(self):
        evidence = Evidence([stage_of(4000, 0, bp=500, candidate=400)])
        verdicts = judge(evidence, [ErrorRate(), Latency()], CONFIDENCE, 2500)
        assert [each.verdict for each in verdicts] == [Verdict.INVALID] * 2
        assert "400 of 4,000 units (10.00%) went to the candidate" in verdicts[0].reason

    def test_units_on_an_arm_without_a_share_are_invalid_and_encodable(self):
        evidence = Evidence([stage_of(100, 0, bp=0, candidate=3)])
        verdict = verdict_of(evidence, ErrorRate())
        assert verdict.verdict is Verdict.INVALID
        assert b"Infinity" not in msgspec.json.encode(verdict)
        assert math.isinf(log_split_mismatch(evidence))


def live(rng, shares, size, ticks, slower=1.0, drift=lambda tick: 1.0, observe_all=True):
    """Evidence after a ramp; also the first tick at which the latency guardrail fell."""
    timeline = Timeline()
    stages: list[StageSummary] = []
    fell, tick = None, 0
    for number, share in enumerate(shares):
        stage = LiveStage(timeline, number, share)
        for _ in range(ticks):
            stage.add(*latency_arms(rng, size, share, drift(tick), slower))
            tick += 1
            if observe_all and fell is None:
                evidence = Evidence([*stages, stage.total], timeline)
                verdict = verdict_of(evidence, Latency(((0.5, 0.0), (0.95, 0.0), (0.99, 0.0))))
                fell = tick if verdict.verdict is Verdict.REGRESSED else None
        stages.append(stage.total)
    return Evidence(stages, timeline), fell


class TestLatency:
    def test_windows_can_be_stored_and_are_cut_into_few(self):
        evidence, _ = live(np.random.default_rng(1), [0.1], 400, 40, observe_all=False)
        timeline = evidence.timeline
        assert msgspec.json.decode(msgspec.json.encode(timeline), type=Timeline) == timeline
        assert len(timeline.windows) < 25
        assert timeline.windows[0].latency_edges == ()
        assert all(len(each.latency_edges) == len(QUANTILES) for each in timeline.windows[1:])
        total = sum(sum(each.stable.latency.values()) for each in timeline.windows)
        assert total == evidence.stages[0].stable.requests

    def test_a_repeated_snapshot_changes_nothing_and_a_closed_window_never_changes(self):
        evidence, _ = live(np.random.default_rng(2), [0.1], 300, 5, observe_all=False)
        before = msgspec.json.encode(evidence.timeline)
        evidence.timeline.observe(evidence.stages)
        evidence.timeline.observe(evidence.stages)
        assert msgspec.json.encode(evidence.timeline) == before

    def test_a_restart_in_the_middle_changes_no_number(self):
        guardrails = (ErrorRate(), Latency(), Predictions())

        def run(restart):
            rng, timeline, ledger = np.random.default_rng(20), Timeline(), Ledger()
            stage = LiveStage(timeline, 0, 0.25)
            for tick in range(10):
                stage.add(*latency_arms(rng, 400, 0.25, 1.0, 1.1))
                ledger.replace(Flush("g", "one", tick, [stage.total]))
                if restart and tick == 5:
                    timeline = msgspec.json.decode(msgspec.json.encode(timeline), type=Timeline)
                    ledger = msgspec.json.decode(msgspec.json.encode(ledger), type=Ledger)
                    stage.timeline = timeline
            return judge(Evidence(ledger.stages("r"), timeline), guardrails, CONFIDENCE, 5000)

        assert run(restart=True) == run(restart=False)

    def test_what_a_window_holds_does_not_move_its_own_thresholds(self):
        rng = np.random.default_rng(3)
        timeline = Timeline()
        stage = LiveStage(timeline, 0, 0.1)
        stage.add(*latency_arms(rng, 400, 0.1, 1.0, 1.0))
        stage.add(*latency_arms(rng, 20, 0.1, 1.0, 1.0))
        edges = timeline.windows[-1].latency_edges
        stage.add(*latency_arms(rng, 2000, 0.1, 50.0, 1.0))
        assert timeline.windows[-1].latency_edges == edges
        stage.add(*latency_arms(rng, 20, 0.1, 1.0, 1.0))
        assert timeline.windows[-1].latency_edges > edges

    def test_equal_arms_are_safe_and_a_slow_candidate_regresses(self):
        rng = np.random.default_rng(4)
        same, _ = live(rng, [0.25], 500, 20, observe_all=False)
        verdict = verdict_of(same, Latency())
        assert verdict.verdict is Verdict.SAFE
        assert verdict.safe_for_bp == 10_000
        margins = "p50 by 25%, p95 by 25%, p99 by 50%"
        assert f"it is slower by less than its margins ({margins}); seen" in verdict.reason
        said = verdict_of(same, Latency(), 500).reason
        assert f"answers beyond its margins ({margins}) are less than 20 times as many;" in said
        slow, _ = live(rng, [0.25], 500, 20, slower=1.8, observe_all=False)
        verdict = verdict_of(slow, Latency())
        assert verdict.verdict is Verdict.REGRESSED
        assert "answers slower than stable's p" in verdict.reason

    def test_slower_within_the_margin_is_no_regression(self):
        slow, _ = live(np.random.default_rng(5), [0.25], 500, 20, slower=1.2, observe_all=False)
        assert verdict_of(slow, Latency()).verdict is not Verdict.REGRESSED

    def test_a_drift_that_both_share_raises_no_false_alarm_on_a_ramp(self):
        fell = [
            live(np.random.default_rng(100 + run), (0.01, 0.1, 0.5), 500, 5, 1.0, drift)[1]
            for run in range(30)
            for drift in (lambda tick: 1.0 + 0.05 * tick,)
        ]
        assert sum(each is not None for each in fell) <= 2

    @pytest.mark.parametrize(("slower", "published"), [(1.25, 658), (1.5, 321), (2.0, 204)])
    def test_a_slow_candidate_is_found_as_early_as_published(self, slower, published):
        found = []
        for run in range(15):
            rng = np.random.default_rng(run)
            # 500 requests a look, 50 of them the candidate's.
            _, fell = live(rng, [0.1], 500, 30, slower)
            found.append(50 * (fell or 1000))
        assert np.median(found) <= published * 1.10 + 50

    def test_with_no_quantile_asked_for_there_is_nothing_to_judge(self):
        evidence, _ = live(np.random.default_rng(6), [0.1], 400, 3, observe_all=False)
        assert verdict_of(evidence, Latency(())).verdict is Verdict.NO_DATA

    def test_without_thresholds_there_is_no_data(self):
        evidence, _ = live(np.random.default_rng(6), [0.1], 100, 1, observe_all=False)
        assert verdict_of(evidence, Latency()).verdict is Verdict.NO_DATA
        assert SlowEvents([]).log_slower(0.95, 0.0) == 0.0


def predicted(rng, shares, base, candidate, size=2000, ticks=8, bp=1000):
    timeline = Timeline()
    stage = LiveStage(timeline, 0, bp / 10_000)
    for _ in range(ticks):
        stable, mine = latency_arms(rng, size, bp / 10_000, 1.0, 1.0)
        for arm, chances in ((stable, base), (mine, candidate)):
            counts = rng.multinomial(arm.requests, chances).tolist()
            arm.predictions = {k: n for k, n in zip(shares, counts, strict=True) if n}
        stage.add(stable, mine)
    return Evidence([stage.total], timeline)


class TestPredictions:
    def test_equal_arms_are_safe_and_a_large_shift_regresses(self):
        rng = np.random.default_rng(7)
        base = [0.5, 0.4, 0.1]
        same = predicted(rng, "abc", base, base, bp=3000)
        assert verdict_of(same, Predictions()).verdict is Verdict.SAFE
        moved = predicted(rng, "abc", base, [0.3, 0.4, 0.3])
        verdict = verdict_of(moved, Predictions())
        assert verdict.verdict is Verdict.REGRESSED
        assert "differs by" in verdict.reason

    def test_what_is_safe_says_what_was_proved_before_it_says_what_was_seen(self):
        """A large difference among few answers beside SAFE reads like a contradiction."""
        rng = np.random.default_rng(7)
        few = predicted(rng, "ab", [0.2, 0.8], [0.8, 0.2], size=60, bp=500)
        verdict = verdict_of(few, Predictions(), 100)
        assert verdict.verdict is Verdict.SAFE
        assert verdict.reason.startswith(
            "nothing to prove for an exposure of 1 %: no change could use up its margin; "
            "seen so far: in "
        )
        base = [0.5, 0.4, 0.1]
        same = predicted(rng, "abc", base, base, bp=3000)
        for bp, tolerance in ((10_000, "5.0%"), (1000, "50.0%")):
            assert verdict_of(same, Predictions(), bp).reason.startswith(
                f"proved for an exposure of {bp // 100} %: no share differs by {tolerance} or more;"
                " seen so far: in "
            )

    def test_a_shift_within_the_tolerance_is_no_regression(self):
        rng = np.random.default_rng(8)
        moved = predicted(rng, "abc", [0.5, 0.4, 0.1], [0.46, 0.4, 0.14])
        assert verdict_of(moved, Predictions()).verdict is not Verdict.REGRESSED

    def test_at_the_tolerance_false_alarms_are_rare(self):
        false = 0
        for run in range(60):
            rng = np.random.default_rng(run)
            moved = predicted(rng, "abc", [0.5, 0.4, 0.1], [0.45, 0.4, 0.15], size=1000)
            shifts = Shifts.of(moved.timeline.windows)
            assert shifts is not None
            false += shifts.log_beyond(0.05)[0] >= math.log(20)
            false += shifts.log_within(0.05) >= math.log(20)
        assert false <= 8

    def test_pairs_alone_prove_and_convict(self):
        def paired(pairs, flips):
            stage = replace(stage_of(pairs, 0, bp=0), shadow=PairSummary(pairs=pairs, flips=flips))
            return verdict_of(Evidence([stage]), Predictions())

        assert paired(2000, 200).verdict is Verdict.REGRESSED
        assert "200 of 2,000 shadowed answers (10.0%) differ" in paired(2000, 200).reason
        assert paired(2000, 20).verdict is Verdict.SAFE
        assert paired(40, 1).verdict is Verdict.UNDECIDED
        assert paired(0, 0).verdict is Verdict.NO_DATA

    def test_ordered_labels_are_compared_cumulatively_and_others_alone(self):
        ordered = LabelSets.of({"0": 50, "1": 30, "2": 20})
        assert ordered.names == ("up to 0", "up to 1", "1")
        inside, total = ordered.count([{"0": 5, "2": 1, "7": 4}])
        assert inside.tolist() == [[5.0, 5.0, 0.0]]
        assert total.tolist() == [[10.0]]
        alone = LabelSets.of({"cat": 5, "dog": 9})
        assert alone.names == ("dog", "cat", "(all others)")
        assert alone.count([{"fox": 2, "cat": 1}])[0].tolist() == [[0.0, 1.0, 2.0]]
        assert LabelSets.of({"1": 9}).names == ("up to 1",)


class TestQuality:
    def outcomes(self, candidate, count=30_000):
        rng = np.random.default_rng(9)
        mine = rng.random(count) < 0.5
        value = (rng.random(count) < np.where(mine, candidate, 0.8)).astype(float)
        return Evidence([], outcomes=Outcomes(mine, np.full(count, 0.5), value))

    def test_each_verdict(self):
        guardrail = Quality(max_drop=0.05)
        assert verdict_of(self.outcomes(0.8), guardrail).verdict is Verdict.SAFE
        verdict = verdict_of(self.outcomes(0.6), guardrail)
        assert verdict.verdict is Verdict.REGRESSED
        assert "the difference lies in [-0.2" in verdict.reason
        assert verdict_of(self.outcomes(0.8, 50), guardrail).verdict is Verdict.UNDECIDED
        assert verdict_of(Evidence([]), guardrail).verdict is Verdict.NO_DATA

    def test_its_numbers_can_be_encoded(self):
        verdict = verdict_of(self.outcomes(0.8), Quality(max_drop=0.05), 100)
        assert msgspec.json.decode(msgspec.json.encode(verdict))["verdict"] == "SAFE"


class TestExpectations:
    STEPS = (100, 500, 2500, 5000)

    @pytest.mark.parametrize(
        ("per_second", "base", "floor", "minutes"),
        [(20, 0.0, 0.01, 4), (20, 0.001, 0.01, 5), (20, 0.05, 0.0, 2), (200, 0.01, 0.005, 2)],
    )
    def test_times_to_all_traffic_are_those_published(self, per_second, base, floor, minutes):
        steps = expected_steps(
            Traffic(per_second, base), self.STEPS, [ErrorRate(1.0, floor)], CONFIDENCE
        )
        assert sum(step.seconds for step in steps) <= minutes * 60 * 1.1
        assert [step.next_bp for step in steps] == [500, 2500, 5000, 10_000]

    def test_the_default_rollout_takes_less_than_a_quarter_of_an_hour(self):
        guardrails = (ErrorRate(), Latency(), Predictions())
        for base in (0.0, 0.001, 0.01, 0.05):
            steps = expected_steps(Traffic(20, base), self.STEPS, guardrails, CONFIDENCE)
            assert sum(step.seconds for step in steps) < 15 * 60

    def test_detection_is_near_the_simulated_medians(self):
        for base, rate, published in ((0.01, 0.05, 160), (0.001, 0.2, 24)):
            expected = expected_detection(
                Traffic(20, base), 500, rate, ErrorRate(0.0, 0.0), Confidence(0.01), guardrails=1
            )
            assert expected.candidate_requests == pytest.approx(published, rel=0.35)

    def test_what_cannot_be_found_takes_for_ever(self):
        same = expected_detection(Traffic(20, 0.01), 500, 0.01, ErrorRate(), CONFIDENCE)
        assert same.requests == math.inf
