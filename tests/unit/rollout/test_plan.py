"""What a rollout would cost, before it starts."""

import pytest

from serinus.rollout.parse import parse_spec
from serinus.rollout.plan import Question, advise, requests_to_verdict
from serinus.rollout.spec import Strategy

DEFAULT = parse_spec({"candidate": "m"})


@pytest.mark.parametrize(
    ("increase", "simulated"), [(0.01, 1_000), (0.005, 3_000), (0.0025, 10_000)]
)
def test_the_closed_form_is_near_what_was_simulated(increase, simulated):
    assert simulated <= requests_to_verdict(0.01, increase, 0.05) <= 1.3 * simulated


@pytest.mark.parametrize("base", [0.0, 0.001, 0.01, 0.05])
def test_the_defaults_reach_100_percent_within_15_minutes_at_20_requests_per_second(base):
    advice = advise(DEFAULT, Question(20, base))
    assert advice.strategy is Strategy.CANARY
    assert advice.seconds < 15 * 60
    assert [step.weight_bp for step in advice.steps] == [100, 500, 2500, 5000]
    assert all(step.seconds >= 30 and step.why for step in advice.steps)


def test_a_bad_version_meets_few_users_in_a_canary_and_many_in_a_switch():
    question = Question(200, 0.001)
    canary = advise(DEFAULT, question)
    switch = advise(parse_spec({"candidate": "m", "strategy": "blue-green"}), question)
    assert canary.met_before_rollback < 100 < 5_000 < switch.met_before_rollback
    shadow = advise(parse_spec({"candidate": "m", "strategy": "shadow"}), question)
    assert shadow.met_before_rollback == 0
    assert shadow.steps[0].seconds == 10


def test_versions_that_must_not_mix_are_switched():
    advice = advise(DEFAULT, Question(20, mixed_versions=False))
    assert advice.strategy is Strategy.BLUE_GREEN
    assert "side by side" in advice.why


def test_too_little_traffic_for_a_canary_is_said():
    assert advise(DEFAULT, Question(0.15)).strategy is Strategy.SHADOW
    assert advise(DEFAULT, Question(0.001)).strategy is Strategy.BLUE_GREEN
    with pytest.raises(ValueError, match="above 0"):
        advise(DEFAULT, Question(0))


def test_another_evidence_can_say_how_many_requests_it_needs():
    slow = advise(DEFAULT, Question(20), lambda base, increase, alpha: 100_000.0)
    assert slow.seconds > advise(DEFAULT, Question(20)).seconds
