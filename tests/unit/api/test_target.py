"""What a rollout may move an endpoint to: another version, or the same one in another form."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from serinus.api.target import Target, candidate_target, identity, wanted_target
from serinus.controller.groups import group_of
from serinus.entities import (
    WHOLE,
    EndpointConfig,
    EnvironmentRef,
    ModelRef,
    Optimize,
    ServedEntity,
)
from serinus.errors import InvalidParameterValue
from serinus.rollout.parse import parse_spec
from serinus.rollout.render import to_mapping
from serinus.store.verifications import key_of

AT = datetime(2030, 1, 1, tzinfo=UTC)
PLAIN = ServedEntity(
    "m-1",
    "m",
    "1",
    model=ModelRef("d1", "models:/m/1", "models:/m/1"),
    environment=EnvironmentRef("e", "/python", "current"),
)
FAST = replace(PLAIN, name="m-1-onnx", optimize=Optimize.ONNX)


def _config(*entities: ServedEntity) -> EndpointConfig:
    weights = {each.name: WHOLE if not at else 0 for at, each in enumerate(entities)}
    return EndpointConfig(1, entities, weights, AT)


def _target(config: EndpointConfig, form: Optimize | None) -> Target:
    return candidate_target(config, "e", "models:/m/1", creator="ada", at=AT, optimize=form)


@pytest.mark.parametrize("stable", [PLAIN, FAST])
def test_the_same_version_in_another_form_is_another_candidate(stable: ServedEntity) -> None:
    other = Optimize.NONE if stable.optimize is Optimize.ONNX else Optimize.ONNX
    found = _target(_config(stable), other)
    assert found.stable is stable
    assert (found.candidate.model_uri, found.candidate.optimize) == ("models:/m/1", other)
    assert found.candidate.name == f"m-1-{other.value}" or stable is FAST
    assert found.candidate.name != stable.name


@pytest.mark.parametrize(
    ("stable", "form"), [(PLAIN, None), (PLAIN, Optimize.NONE), (FAST, None), (FAST, Optimize.ONNX)]
)
def test_the_same_version_in_the_same_form_is_refused(
    stable: ServedEntity, form: Optimize | None
) -> None:
    with pytest.raises(InvalidParameterValue, match="the very model that serves already"):
        _target(_config(stable), form)


def test_a_form_that_is_prepared_already_is_taken() -> None:
    found = _target(_config(PLAIN, FAST), Optimize.ONNX)
    assert (found.candidate, found.rest) == (FAST, ())


def test_another_version_keeps_stables_form() -> None:
    found = candidate_target(_config(FAST), "e", "models:/m/2", creator="ada", at=AT)
    assert found.candidate.optimize is Optimize.ONNX


def test_a_config_that_asks_for_the_other_form_is_a_rollout_to_it() -> None:
    wanted = replace(FAST, name="m-1", model=None, environment=None)
    found = wanted_target(_config(PLAIN), "e", _config(wanted), wanted)
    assert found.candidate.optimize is Optimize.ONNX
    assert found.candidate.name == "m-1-2"


def test_both_forms_have_replicas_verifications_and_digests_of_their_own() -> None:
    other = replace(FAST, name=PLAIN.name)
    assert identity(PLAIN) != identity(other)
    assert group_of("e1", PLAIN) != group_of("e1", other)
    assert key_of(PLAIN) != key_of(other)
    assert PLAIN.served_digest == "d1"
    assert len(FAST.served_digest) == 64
    assert sorted([identity(other), identity(PLAIN)])  # forms can be told in order


def test_the_form_is_part_of_the_spec_of_a_rollout() -> None:
    spec = parse_spec({"candidate": "models:/m/1", "optimize": "onnx"})
    assert spec.optimize is Optimize.ONNX
    assert to_mapping(spec)["optimize"] == "onnx"
    assert parse_spec(to_mapping(spec)) == spec
    assert "optimize" not in to_mapping(parse_spec({"candidate": "models:/m/1"}))
    with pytest.raises(InvalidParameterValue, match="optimize"):
        parse_spec({"candidate": "models:/m/1", "optimize": "tensorrt"})


def test_the_next_version_gets_the_variables_of_stable() -> None:
    stable = replace(PLAIN, environment_vars={"KEY": "{{secrets/m/key}}"})
    found = candidate_target(_config(stable), "e", "models:/m/2", creator="ada", at=AT)
    assert found.candidate.environment_vars == stable.environment_vars


def test_what_is_elsewhere_hands_its_token_to_nobody() -> None:
    elsewhere = ServedEntity(
        "far", "https://far.example/invocations", "", environment_vars={"REMOTE_TOKEN": "t"}
    )
    found = candidate_target(_config(elsewhere), "e", "models:/m/2", creator="ada", at=AT)
    assert found.candidate.environment_vars == {}
