"""What may be written in a rollout file, and what is said about everything else."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from serinus.errors import InvalidParameterValue
from serinus.rollout.amount import read_duration, read_fraction, read_share
from serinus.rollout.parse import parse_spec
from serinus.rollout.render import to_mapping
from serinus.rollout.spec import (
    AdvanceRule,
    Bake,
    OnFail,
    RolloutSpec,
    Step,
    StepKind,
    Strategy,
    default_steps,
    program,
)
from serinus.traffic import Unit, UnitKind

EVERYTHING = """
kind: Rollout
endpoint: flight-delay
candidate: models:/flight-delay/2
unit: {header: X-User-Id}
strategy: canary
steps:
  - shadow: {percent: 100, until: {requests: 2000}}
  - set_weight: 1%
  - set_weight: 0.05
  - pause: {}
  - set_weight: 25%
  - pause: {for: 10m}
  - set_weight: 50%
advance: {after: 10m}
step: {min_duration: 30s, timeout: 2h, warmup: 10s}
control: true
guardrails:
  - error_rate: {max_increase: 150%, floor: 1%}
  - latency: {p99: 50%}
  - predictions: {max_shift: 0.05, on_fail: rollback}
  - quality: {metric: accuracy, max_drop: 0.01, label_window: 24h}
confidence: {false_rollback: 1%, false_promote: 5%}
on: {undecided: hold, no_data: advance, invalid: rollback}
bake: {holdback: 5%, for: 48h}
rollback: {keep_warm: 10m, keep_revisions: 3}
notify: [{webhook: "https://hooks.example/x", on: [paused, rolled_back]}]
registry_alias: champion
"""


def test_a_candidate_alone_is_a_rollout():
    spec = parse_spec({"candidate": "models:/m/2"})
    assert spec == RolloutSpec("models:/m/2")
    assert [step.weight_bp for step in program(spec)] == [100, 500, 2500, 5000, 10_000]
    assert [g.name for g in spec.guardrails] == ["error_rate", "latency", "predictions"]
    assert spec.guardrails[2].on_fail is OnFail.HOLD


def test_everything_that_can_be_written_is_read():
    spec = parse_spec(yaml.safe_load(EVERYTHING))
    assert spec.unit == Unit(UnitKind.HEADER, "x-user-id")
    assert [step.weight_bp for step in spec.steps if step.weight_bp] == [100, 500, 2500, 5000]
    assert spec.steps[3] == Step(StepKind.PAUSE)
    assert spec.steps[5] == Step(StepKind.PAUSE, for_s=600.0)
    assert (spec.advance.rule, spec.advance.after_s) == (AdvanceRule.AFTER, 600.0)
    assert (spec.guardrails[1].p50, spec.guardrails[1].p99) == (None, 0.5)
    assert spec.guardrails[0].max_increase == 1.5
    assert spec.guardrails[3].name == "quality:accuracy"
    assert spec.bake == Bake(500, 172_800.0)
    assert program(spec)[-1].weight_bp == 9_500
    assert spec.registry_alias == "champion"


def test_a_bake_is_only_done_when_asked_for_and_blue_green_holds_nothing_back():
    assert parse_spec({"candidate": "m"}).bake is None
    assert parse_spec({"candidate": "m", "bake": {}}).bake == Bake()
    blue = parse_spec({"candidate": "m", "strategy": "blue-green", "bake": {"for": "1h"}})
    assert blue.bake == Bake(0, 3_600.0)
    assert [step.weight_bp for step in program(blue)] == [10_000]


def test_a_last_step_of_100_percent_may_be_said():
    spec = parse_spec({"candidate": "m", "steps": [{"set_weight": "10%"}, {"set_weight": "100%"}]})
    assert [step.weight_bp for step in program(spec)] == [1_000, 10_000]


REFUSED = [
    ({}, "candidate is missing"),
    ({"candidate": " "}, "candidate must be a text that is not empty"),
    ({"candidat": "m"}, "candidat is not known; did you mean candidate?"),
    ({"candidate": "m", "kind": "Rollot"}, "kind is 'Rollot'; a rollout's kind is Rollout"),
    ({"candidate": "m", "strategy": "blue_green"}, "did you mean blue-green?"),
    ({"candidate": "m", "unit": "user"}, "unit is 'user'; write request"),
    ({"candidate": "m", "unit": {"heder": "x"}}, "unit.heder is not known; did you mean header?"),
    ({"candidate": "m", "unit": {"json_path": "a..b"}}, "unit.json_path is 'a..b'"),
    ({"candidate": "m", "unit": {"header": "a b"}}, "unit.header is 'a b'; write it like"),
    ({"candidate": "m", "steps": []}, "steps has no set_weight below 100%"),
    ({"candidate": "m", "steps": "1%"}, "steps must be a list"),
    ({"candidate": "m", "steps": [{"setWeight": "5%"}]}, "did you mean set_weight?"),
    ({"candidate": "m", "steps": [{"set_weight": 5}]}, "write 5% or 0.05"),
    ({"candidate": "m", "steps": [{"set_weight": 1}]}, "write 1% or 100%"),
    (
        {"candidate": "m", "steps": [{"set_weight": "5%"}, {"set_weight": "5%"}]},
        "steps[1].set_weight is 5%, but weights rise from step to step; write more than 5%",
    ),
    ({"candidate": "m", "steps": [{"set_weight": "101%"}]}, "steps[0].set_weight is 101%"),
    ({"candidate": "m", "steps": [{"set_weight": "0.001%"}]}, "the nearest is 0%"),
    (
        {"candidate": "m", "steps": [{"set_weight": "97%"}], "bake": {}},
        "write less than 95%, what bake.holdback leaves",
    ),
    ({"candidate": "m", "steps": [{"set_weight": "5%"}, {"shadow": {}}]}, "move it to the front"),
    ({"candidate": "m", "steps": [{"pause": {"for": 10}}]}, "write 10s for seconds or 10m"),
    ({"candidate": "m", "steps": [{"pause": {"for": "soon"}}]}, "steps[0].pause.for is 'soon'"),
    ({"candidate": "m", "steps": [{"pause": {"for": 0}}]}, "no time at all"),
    ({"candidate": "m", "steps": [{"pause": {}, "set_weight": "1%"}]}, "exactly one of the keys"),
    ({"candidate": "m", "steps": [{"shadow": {"until": {}}}]}, "says no end"),
    (
        {"candidate": "m", "strategy": "blue-green", "steps": [{"set_weight": "5%"}]},
        "steps[0].set_weight does not fit strategy blue-green, whose steps are shadow and pause",
    ),
    ({"candidate": "m", "strategy": "shadow", "steps": []}, "steps is empty"),
    ({"candidate": "m", "cutover": "auto"}, "cutover belongs to strategy blue-green"),
    ({"candidate": "m", "strategy": "shadow", "control": True}, "control is for strategy canary"),
    ({"candidate": "m", "control": "yes"}, "control must be true or false"),
    ({"candidate": "m", "advance": "when-saf"}, "did you mean when-safe?"),
    ({"candidate": "m", "advance": "after"}, "write {after: 10m}"),
    ({"candidate": "m", "step": {"timeout": "10s"}}, "step.timeout must be longer than"),
    ({"candidate": "m", "guardrails": [{"eror_rate": {}}]}, "did you mean error_rate?"),
    (
        {"candidate": "m", "guardrails": [{"error_rate": {}}, {"error_rate": {}}]},
        "guardrails[1] asks for error_rate twice",
    ),
    ({"candidate": "m", "guardrails": [{"error_rate": {"max_increase": 0}}]}, "never be proved"),
    ({"candidate": "m", "guardrails": [{"latency": {"p99": 1.5}}]}, "write 1.5% or 150%"),
    ({"candidate": "m", "guardrails": [{"quality": {}}]}, "metric is missing"),
    ({"candidate": "m", "confidence": {"false_promote": "60%"}}, "below 50%"),
    ({"candidate": "m", "on": {"undecided": "advance"}}, "on.undecided cannot be advance"),
    (
        {"candidate": "m", "on": {"no_date": "hold"}},
        "on.no_date is not known; did you mean no_data",
    ),
    ({"candidate": "m", "bake": {"holdback": "60%"}}, "bake.holdback must be below 50%"),
    (
        {"candidate": "m", "strategy": "blue-green", "bake": {"holdback": "5%"}},
        "bake.holdback must be 0% with strategy blue-green",
    ),
    ({"candidate": "m", "rollback": {"keep_revisions": 0}}, "a whole number from 1"),
    ({"candidate": "m", "notify": [{"webhook": "hooks"}]}, "notify[0].webhook is 'hooks'"),
    ({"candidate": "m", "notify": [{"webhook": "http://x", "on": ["end"]}]}, "notify[0].on[0]"),
    ({"candidate": "m", "registry_alias": "v3"}, "write a word such as champion"),
]


@pytest.mark.parametrize(("mapping", "told"), REFUSED)
def test_what_is_refused_is_named_in_one_sentence(mapping, told):
    with pytest.raises(InvalidParameterValue) as caught:
        parse_spec(mapping)
    assert told in caught.value.message
    assert caught.value.message.endswith(("?", "."))


def test_a_path_in_front_names_the_field_in_a_larger_document():
    with pytest.raises(InvalidParameterValue, match=r"^policy\.rollout\.steps\[0\]\.set_weight is"):
        parse_spec({"candidate": "m", "steps": [{"set_weight": 5}]}, path="policy.rollout")


@pytest.mark.parametrize(
    ("written", "points"), [("5%", 500), (0.05, 500), (" 0.05 ", 500), ("100%", 10_000), (0, 0)]
)
def test_shares(written, points):
    assert read_share(written, "x") == points


@pytest.mark.parametrize(
    ("written", "seconds"), [("10m", 600), ("1h30m", 5400), ("250ms", 0.25), ("2d", 172_800)]
)
def test_durations(written, seconds):
    assert read_duration(written, "x") == seconds


@pytest.mark.parametrize("written", ["nan", "inf%", "-5%", True, None, [], "five"])
def test_no_share(written):
    with pytest.raises(InvalidParameterValue, match="x is"):
        read_fraction(written, "x")


_shares = st.integers(1, 9_000).map(lambda points: f"{points / 100:g}%")
_spells = st.integers(1, 100_000).map(lambda seconds: f"{seconds}s")
_margins = st.integers(1, 50_000).map(lambda points: f"{points / 100:g}%")
_chances = st.integers(1, 4_000).map(lambda points: points / 10_000)


@st.composite
def written(draw) -> dict[str, object]:
    strategy = draw(st.sampled_from(Strategy))
    spec: dict[str, object] = {"candidate": "models:/m/2", "strategy": strategy.value}
    steps: list[object] = []
    if strategy is Strategy.SHADOW or draw(st.booleans()):
        until = draw(st.sampled_from([{"requests": 7}, {"duration": "90s"}]))
        steps.append({"shadow": {"percent": draw(_shares), "until": until}})
    if strategy is Strategy.CANARY:
        rising = sorted(draw(st.sets(st.integers(1, 9_000), min_size=1, max_size=5)))
        for points in rising:
            steps.append({"set_weight": f"{points / 100:g}%"})
            if draw(st.booleans()):
                steps.append({"pause": draw(st.sampled_from([{}, {"for": "90s"}]))})
        spec["control"] = draw(st.booleans())
        if draw(st.booleans()):
            spec["bake"] = {"holdback": "5%", "for": draw(_spells)}
    if strategy is Strategy.BLUE_GREEN:
        spec["cutover"] = draw(st.sampled_from(["auto", "approve"]))
        spec["preview"] = {"for": draw(_spells)}
    spec["steps"] = steps
    after = {"after": draw(_spells)}
    spec["advance"] = draw(st.sampled_from(["when-safe", "when-no-regression", after]))
    spec["guardrails"] = draw(
        st.sampled_from(
            [
                [],
                [{"error_rate": {"max_increase": draw(_margins)}}],
                [{"latency": {"p95": draw(_margins)}}, {"predictions": {"max_shift": "3%"}}],
                [{"quality": {"metric": "auc", "max_drop": "1%", "on_fail": "hold"}}],
            ]
        )
    )
    spec["confidence"] = {"false_rollback": draw(_chances)}
    spec["unit"] = draw(st.sampled_from(["request", {"cookie": "s"}, {"json_path": "a.b"}]))
    return spec


@given(written())
def test_what_is_written_out_reads_back_the_same(mapping):
    spec = parse_spec(mapping)
    assert parse_spec(to_mapping(spec)) == spec
    assert parse_spec(json.loads(json.dumps(to_mapping(spec)))) == spec
    assert parse_spec(yaml.safe_load(yaml.safe_dump(to_mapping(spec)))) == spec


def test_every_strategy_has_steps_of_its_own():
    shadow = parse_spec({"candidate": "m", "strategy": "shadow"})
    assert shadow.steps == default_steps(Strategy.SHADOW)
    assert parse_spec({"candidate": "m", "strategy": "blue-green"}).steps == ()
