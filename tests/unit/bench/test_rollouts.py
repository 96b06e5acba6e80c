from dataclasses import replace

import pytest

from bench.rollout_figures import (
    CANDIDATE,
    STABLE,
    Answer,
    Change,
    Target,
    after_abort,
    failures,
    served_by,
    spread,
)

MS = 1_000_000
#: Asked at 100 ms, answered at 105 ms, acknowledged at 140 ms, over at 300 ms.
PROMOTE = Change("promote", CANDIDATE, 100 * MS, 105 * MS, 140 * MS, 300 * MS)
ABORT = replace(PROMOTE, verb="abort", outcome=STABLE)


def answer(gateway: str, at_ms: int, outcome: str, *, probe: bool = True) -> Answer:
    """One that took a millisecond and had come at ``at_ms``."""
    return Answer(gateway, probe, (at_ms - 1) * MS, at_ms * MS, outcome)


def test_the_last_gateway_counts():
    answers = [
        answer("a", 110, STABLE),
        answer("a", 120, CANDIDATE),
        answer("b", 110, STABLE),
        answer("b", 150, CANDIDATE),
    ]
    assert served_by(PROMOTE, answers, ["a", "b"]) == 50.0
    assert served_by(PROMOTE, answers[::-1], ["a", "b"]) == 50.0


def test_a_gateway_that_goes_back_counts_until_it_is_steady():
    answers = [
        answer("a", 110, CANDIDATE),
        answer("a", 120, STABLE),
        answer("a", 180, CANDIDATE),
        answer("a", 190, CANDIDATE),
    ]
    assert served_by(PROMOTE, answers, ["a"]) == 80.0


@pytest.mark.parametrize(
    "answers",
    [
        [answer("a", 120, CANDIDATE)],
        [answer("a", 120, CANDIDATE), answer("b", 130, STABLE)],
        [answer("a", 120, CANDIDATE), answer("b", 130, CANDIDATE), answer("b", 140, "status 503")],
    ],
    ids=["silent", "never moved", "failed"],
)
def test_a_gateway_that_is_not_seen_to_move_leaves_the_delay_open(answers):
    assert served_by(PROMOTE, answers, ["a", "b"]) is None


def test_only_probes_between_the_verb_and_the_next_one_tell():
    answers = [
        answer("a", 90, CANDIDATE),
        answer("a", 130, CANDIDATE),
        answer("a", 140, STABLE, probe=False),
        answer("a", 310, STABLE),
    ]
    assert served_by(PROMOTE, answers, ["a"]) == 30.0


def test_an_answer_of_the_candidate_counts_if_it_was_asked_for_after_the_acknowledgement():
    before = Answer("a", False, 139 * MS, 150 * MS, CANDIDATE)
    after = Answer("a", False, 141 * MS, 150 * MS, CANDIDATE)
    right = Answer("a", False, 141 * MS, 150 * MS, STABLE)
    later = Answer("a", False, 301 * MS, 302 * MS, CANDIDATE)
    assert after_abort([ABORT], [before, right, later]) == 0
    assert after_abort([ABORT], [before, after, right, later]) == 1
    assert after_abort([PROMOTE], [after]) == 0


def test_an_answer_of_the_candidate_that_comes_after_the_next_verb_may_be_its_own():
    assert after_abort([ABORT], [Answer("a", True, 299 * MS, 301 * MS, CANDIDATE)]) == 0


def test_whatever_is_no_answer_of_either_version_has_failed():
    answers = [
        answer("a", 1, STABLE),
        answer("a", 2, CANDIDATE),
        answer("a", 3, "status 503"),
        answer("a", 4, "status 503"),
        answer("", 5, "ConnectionResetError"),
    ]
    assert failures(answers) == {"status 503": 2, "ConnectionResetError": 1}


def test_percentiles_are_values_that_were_measured():
    found = spread([float(n) for n in range(200, 0, -1)])
    assert found is not None
    assert (found.count, found.p50, found.p99, found.highest) == (200, 100.0, 198.0, 200.0)
    assert spread([]) is None


@pytest.mark.parametrize(
    ("measured", "met"), [(None, None), (0, True), (50.0, True), (50.1, False)]
)
def test_a_target_is_met_up_to_its_limit_and_open_without_a_figure(measured, met):
    assert Target("", 50.0, measured).met is met
