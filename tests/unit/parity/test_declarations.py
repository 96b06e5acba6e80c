from typing import Any

import numpy as np
import pytest

from serinus.errors import InvalidParameterValue
from serinus.parity.contract import Field, Kind, Privacy, Type
from serinus.parity.declarations import declare, lag_seconds, seconds
from serinus.parity.metric import accuracy, interval, rmse, roc_auc

FIELDS = [Field(name="distance", type=Type(logical=Kind.NUMBER, physical="double"))]


def declared(**said: Any) -> Field:
    return declare(FIELDS, {"distance": said})[0]


def test_what_is_said_goes_to_its_place() -> None:
    field = declared(
        min=0,
        enum=["a"],
        unit="mi",
        source="lookup:routes",
        available_at="event+PT1H",
        max_age="P1D",
        null_allowed=True,
        null_policy="default",
        null_default=3,
        privacy="hash",
        unknown_category="bucket",
        cyclic=24,
    )
    assert (field.declared.min, field.declared.max, field.declared.enum) == (0.0, None, ["a"])
    assert (field.unit, field.source, field.cyclic) == ("mi", "lookup:routes", 24.0)
    assert (field.time.available_at, field.time.max_age) == ("event+PT1H", "P1D")
    assert (field.null.allowed, field.null.policy, field.null.default) == (True, "default", 3)
    assert (field.privacy, field.unknown_category) == (Privacy.HASH, "bucket")
    assert field.observed == FIELDS[0].observed


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"minn": 0}, r"'minn' can't be declared of 'distance' \(did you mean 'min'\?\)"),
        ({"min": "0"}, "'min' of 'distance' can't be '0'"),
        ({"pattern": "["}, "'pattern' of 'distance'"),
        ({"max_age": "1 day"}, "no duration such as PT1H30M"),
        ({"available_at": "later"}, "request, after_label, or a delay"),
        ({"privacy": "secret"}, "'privacy' of 'distance'"),
        ({"null_policy": "maybe"}, "one of reject, default, model-native"),
    ],
)
def test_mistakes_are_named(said: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidParameterValue, match=told):
        declared(**said)


def test_a_field_that_is_not_there_is_named() -> None:
    with pytest.raises(InvalidParameterValue, match=r"did you mean 'distance'\?"):
        declare(FIELDS, {"distanse": {"min": 0}})
    with pytest.raises(InvalidParameterValue, match="must be a mapping"):
        declare(FIELDS, {"distance": 3})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("PT1H", 3600), ("P1DT1H30M", 91_800), ("PT0.5S", 0.5), ("P2D", 172_800)],
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected
    assert lag_seconds(f"event+{text}") == expected


@pytest.mark.parametrize("text", ["", "P", "PT", "1H", "P1H", "PT1D", "-PT1H", "P1DT"])
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        seconds(text)


def test_metrics_are_those_of_their_definitions() -> None:
    random = np.random.default_rng(5)
    labels, scores = random.random(200) < 0.4, np.round(random.random(200), 1)
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[labels] for b in scores[~labels]]
    assert roc_auc(labels, scores) == pytest.approx(np.mean(pairs))
    assert np.isnan(roc_auc(np.ones(3, dtype=bool), np.ones(3)))
    assert accuracy(np.array(["a", "b"]), np.array(["a", "a"])) == 0.5
    assert rmse([1.0, 3.0], [1.0, 5.0]) == pytest.approx(np.sqrt(2))


def test_an_interval_holds_the_value_and_shrinks() -> None:
    few, many = (interval("roc_auc", 0.8, np.arange(n) % 2 == 0) for n in (100, 10_000))
    assert few is not None
    assert many is not None
    assert few[0] < many[0] < 0.8 < many[1] < few[1]
    assert interval("roc_auc", 0.8, np.ones(5)) is None
