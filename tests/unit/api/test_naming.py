"""Names that the server makes, and whole percentages out of basis points."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.api.naming import MAX_NAME, checked_name, default_served_name
from serinus.api.replies import percentages
from serinus.engine.vault import SECRET
from serinus.entities import WHOLE


@pytest.mark.parametrize(
    ("entity_name", "version", "name"),
    [
        ("main.ml.fraud", "3", "fraud-3"),
        ("fraud", "3", "fraud-3"),
        ("Fraud model", "1", "Fraud-model-1"),
        ("models:/fraud@champion", "", "fraud-champion"),
        ("models:/main.ml.fraud@champion", "", "fraud-champion"),
        ("models:/fraud/3", "", "fraud-3"),
        ("models:/main.ml.fraud/3", "", "fraud-3"),
        ("models:/m-0123abc", "", "m-0123abc"),
        ("runs:/0123456789abcdef/model", "", "model-01234567"),
        ("runs:/0123456789abcdef/a/model v2", "", "model-v2-01234567"),
        ("/srv/models/fraud v2/", "", "fraud-v2"),
        ("file:///srv/models/fraud", "", "fraud"),
        ("s3://bucket/a/fraud.model", "", "fraud-model"),
        ("/", "", "model"),
        ("models:/", "", "model"),
        ("/äöü", "", "model"),
    ],
)
def test_default_served_names(entity_name, version, name):
    assert default_served_name(entity_name, version) == name


@given(st.text(min_size=1), st.text(max_size=5))
def test_a_default_name_is_always_allowed(entity_name, version):
    name = default_served_name(entity_name, version)
    assert checked_name(name, "it") == name
    assert len(name) <= MAX_NAME


@pytest.mark.parametrize(
    ("weights", "shown"),
    [
        ([10_000], [100]),
        ([9_000, 1_000], [90, 10]),
        ([3_333, 3_333, 3_334], [33, 33, 34]),
        ([9_950, 50], [100, 0]),
        ([50, 9_950], [1, 99]),
        ([9_999, 1], [100, 0]),
        ([10_000, 0], [100, 0]),
    ],
)
def test_percentages_are_rounded_by_largest_remainder(weights, shown):
    named = {str(number): weight for number, weight in enumerate(weights)}
    assert list(percentages(named).values()) == shown


@given(st.lists(st.integers(0, WHOLE), min_size=0, max_size=10))
def test_percentages_sum_to_100_and_are_within_one(cuts):
    bounds = [0, *sorted(cuts), WHOLE]
    weights = {str(n): high - low for n, (low, high) in enumerate(pairwise(bounds))}
    shown = percentages(weights)
    assert sum(shown.values()) == 100
    assert list(shown) == list(weights)
    for name, percentage in shown.items():
        assert abs(percentage - weights[name] / 100) < 1


@pytest.mark.parametrize(
    ("value", "is_reference"),
    [
        ("{{secrets/scope/key}}", True),
        ("{{ secrets/scope/key }}", True),
        ("plain", False),
        ("", False),
        ("{{secrets/scope}}", False),
        ("password{{secrets/scope/key}}", False),
        ("{{secrets/scope/key}}password", False),
        ("{{secrets/a/b}}{{secrets/c/d}}", False),
    ],
)
def test_only_a_bare_reference_is_shown(value, is_reference):
    assert bool(SECRET.fullmatch(value)) is is_reference
