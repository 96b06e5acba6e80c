"""What a plan says, held against what it must not get wrong."""

import math

import pytest

from serinus.evidence.expectations import Traffic
from serinus.rollout.forecast import estimate
from serinus.rollout.parse import parse_spec
from serinus.rollout.spec import Strategy

DEFAULT = parse_spec({"candidate": "m"})


def test_the_default_plan_at_20_requests_per_second():
    found = estimate(DEFAULT, Traffic(20, 0.005))
    assert [each.weight_bp for each in found.steps] == [100, 500, 2_500, 5_000]
    assert found.suggested is Strategy.CANARY
    assert 5 * 60 < found.seconds < 30 * 60
    for step in found.steps:
        assert step.candidate_requests == pytest.approx(step.seconds * 20 * step.weight_bp / 10_000)
    assert found.exposed == pytest.approx(sum(each.candidate_requests for each in found.steps))
    assert found.notes == ()


def test_worse_versions_are_found_sooner_and_more_weight_means_more_users():
    found = estimate(DEFAULT, Traffic(20, 0.001)).detections
    met = {(each.error_rate, each.weight_bp): each.met for each in found}
    for share in (100, 500, 2_500, 5_000):
        by_effect = [met[rate, share] for rate in (0.02, 0.05, 0.2, 1.0)]
        assert by_effect == sorted(by_effect, reverse=True)
    for rate in (0.02, 0.05, 0.2, 1.0):
        assert met[rate, 100] < met[rate, 5_000]
    assert all(each.failed == pytest.approx(each.met * each.error_rate) for each in found)


def test_rates_that_the_guardrail_tolerates_are_not_promised_a_rollback():
    asked = estimate(DEFAULT, Traffic(20, 0.001), bad_rates=[0.005]).detections
    assert {each.seconds for each in asked} == {math.inf}
    # 10 % of today's requests fail: 2 % and 5 % are better than that, 20 % is just tolerated.
    assert {each.error_rate for each in estimate(DEFAULT, Traffic(20, 0.1)).detections} == {1.0}


def test_too_little_traffic_is_said():
    found = estimate(DEFAULT, Traffic(0.1))
    assert found.suggested is Strategy.SHADOW
    assert len(found.notes) == 4
    assert "no verdict before step.timeout, 7200s" in found.notes[0]
    with pytest.raises(ValueError, match="above 0"):
        estimate(DEFAULT, Traffic(0.0))


def test_steps_by_time_last_their_time():
    spec = parse_spec({"candidate": "m", "advance": {"after": "5m"}})
    assert [each.seconds for each in estimate(spec, Traffic(1.0)).steps] == [300.0] * 4
    loose = parse_spec({"candidate": "m", "advance": "when-no-regression"})
    assert [each.seconds for each in estimate(loose, Traffic(1.0)).steps] == [30.0] * 4


def test_pauses_shadows_and_approvals_are_in_the_plan():
    shadow = {"shadow": {"percent": "50%", "until": {"duration": "1m"}}}
    steps = [shadow, {"set_weight": "5%"}, {"pause": {"for": "10m"}}, {"pause": {}}]
    spec = parse_spec({"candidate": "m", "steps": steps, "guardrails": []})
    found = estimate(spec, Traffic(10.0))
    assert [(each.weight_bp, each.seconds) for each in found.steps] == [
        (0, 60.0),
        (500, 30.0),
        (0, 600.0),
        (0, 0.0),
    ]
    assert found.exposed == pytest.approx(15.0)
    assert found.detections == ()
    assert "nothing rolls back by itself" in found.notes[0]


@pytest.mark.parametrize(
    ("spec", "note"),
    [
        ({"strategy": "shadow"}, "no user meets"),
        ({"strategy": "blue-green"}, "somebody has to notice"),
        ({"control": True}, "control pool learns more slowly"),
        ({"guardrails": [{"quality": {"metric": "accuracy"}}]}, "that much later"),
    ],
)
def test_what_the_figures_leave_out_is_said(spec, note):
    found = estimate(parse_spec({"candidate": "m", **spec}), Traffic(20.0))
    assert note in " ".join(found.notes)
