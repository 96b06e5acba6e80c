import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serinus.parity.canonical import canonical, decode
from serinus.parity.columns import Column, columns_of
from serinus.parity.contract import Kind, Privacy
from serinus.parity.observe import joint_checks, observe, score_profile
from serinus.parity.profiles import GAMMA, FieldProfile, log_buckets


def column(values: object, dtype: object = None) -> Column:
    return columns_of(pd.DataFrame({"x": pd.Series(values, dtype=dtype)}))[0]


@given(hnp.arrays(np.float64, st.integers(1, 200), elements=st.floats()))
def test_every_value_is_counted_once(values: np.ndarray) -> None:
    observed, profile = observe(column(values), Privacy.PLAIN, "")
    finite = values[np.isfinite(values)]
    assert sum(profile.counts) == len(finite)
    assert len(profile.counts) == len(profile.edges) + 1 or not len(finite)
    assert profile.null + profile.infinite + len(finite) == profile.n == len(values)
    assert profile.null == np.isnan(values).sum()
    assert profile.negative == (finite < 0).sum()
    assert sum(profile.log.values()) == (np.abs(finite) > 1e-12).sum()
    if len(finite):
        assert (observed.min, observed.max) == (finite.min(), finite.max())
        assert observed.distinct == len(np.unique(finite))
        expected = np.histogram(finite, [-np.inf, *profile.edges, np.inf])[0]
        assert profile.counts[1:-1] == expected[1:-1].tolist()
    assert decode(canonical(profile), FieldProfile, "it") == profile


def test_a_shift_of_the_logarithmic_histogram_is_a_factor() -> None:
    values = np.random.default_rng(2).uniform(80, 4900, 20_000)
    miles, kilometres = log_buckets(values), log_buckets(values * 1.609)

    def centre(buckets: dict[str, int]) -> float:
        weights = np.array(list(buckets.values()))
        return float((np.array([int(key) for key in buckets]) * weights).sum() / weights.sum())

    assert GAMMA ** (centre(kilometres) - centre(miles)) == pytest.approx(1.609, rel=0.001)


@pytest.mark.parametrize(
    ("values", "grid"),
    [
        ([94, 4983, 502], 1.0),
        ([0.1, 0.3, 7.7], 0.1),
        ([10, 250, 30], 10.0),
        ([0.123456, 3.1415926], None),
        ([5.0, 5.0], None),
        ([], None),
    ],
)
def test_grids(values: list[float], grid: float | None) -> None:
    assert observe(column(values, "float64"), Privacy.PLAIN, "")[0].grid == grid


def test_a_sentinel_stands_out() -> None:
    values = np.concatenate([np.full(300, -999.0), np.random.default_rng(1).normal(size=9700)])
    observed = observe(column(values), Privacy.PLAIN, "")[0]
    assert observed.spikes == {"-999.0": 0.03}


@pytest.mark.parametrize(
    ("words", "case"),
    [
        (["EWR", "JFK"], "upper"),
        (["a", "b1"], "lower"),
        (["Oslo"], "title"),
        (["aB"], "mixed"),
        (["1", "-"], None),
    ],
)
def test_case_of_text(words: list[str], case: str | None) -> None:
    assert observe(column(words), Privacy.PLAIN, "")[0].case == case


def test_text_is_counted_by_word_length_and_oddity() -> None:
    words = ["AA", "AA", " UA", "", "Zürich", None]
    observed, profile = observe(column(words, object), Privacy.PLAIN, "")
    assert observed.values == ["", " UA", "AA", "Zürich"]
    assert profile.words == {"AA": 2, " UA": 1, "": 1, "Zürich": 1}
    assert (profile.null, profile.empty, profile.padded, profile.non_ascii) == (1, 1, 1, 1)
    assert profile.lengths == {"0": 1, "2": 3, "3": 1}


def test_more_than_a_thousand_words_are_no_categories() -> None:
    observed, profile = observe(column([f"w{at}" for at in range(1001)] * 2), Privacy.PLAIN, "")
    assert observed.values is None
    assert observed.distinct == 1001
    assert (len(profile.words), profile.other) == (64, 2 * (1001 - 64))


def test_times_are_counted_by_hour_weekday_and_month() -> None:
    profile = observe(
        column(pd.to_datetime(["2013-03-10 02:30", "1969-12-29 23:59", None])), Privacy.PLAIN, ""
    )[1]
    assert (profile.hours[2], profile.hours[23]) == (1, 1)
    assert (profile.weekdays[6], profile.weekdays[0]) == (1, 1)  # a Sunday and a Monday
    assert (profile.months[2], profile.months[11]) == (1, 1)


def test_no_private_value_is_kept() -> None:
    text = column(["secret-anna", "secret-bob", "secret-anna", None], object)
    hashed, counts = observe(text, Privacy.HASH, "salt")
    dropped, nothing = observe(text, Privacy.DROP, "salt")
    for each in (hashed, counts, dropped, nothing):
        assert b"secret" not in canonical(each)
    assert (hashed.distinct, hashed.hashed, len(hashed.values or [])) == (2, True, 2)
    assert sorted(counts.words.values()) == [1, 2]
    assert (dropped.distinct, dropped.null_rate) == (None, 0.25)
    assert observe(text, Privacy.HASH, "other")[0].values != hashed.values
    numbers = observe(column([123456.0, 7.0]), Privacy.HASH, "salt")
    assert b"123456" not in canonical(numbers[0]) + canonical(numbers[1])


def test_a_number_that_follows_from_another_is_told() -> None:
    random = np.random.default_rng(4)
    x = random.normal(size=2000)
    frame = pd.DataFrame(
        {
            "x": x,
            "y": 3 * x + random.normal(size=2000) * 0.1,
            "z": random.normal(size=2000),
            "constant": 1.0,
        }
    )
    joint, means, scales = joint_checks(columns_of(frame))
    assert joint.keys() == means.keys() == scales.keys() == {"x", "y", "z"}
    assert joint["y"].residual < 0.05 < 0.9 < joint["z"].residual


def test_scores_and_decisions_are_counted() -> None:
    profile = score_profile([0.1, 0.9, np.nan, 0.4], np.array(["no", "yes", "no", "no"]))
    assert (profile.n, profile.nan, sum(profile.counts)) == (4, 1, 3)
    assert profile.decisions == {"no": 3, "yes": 1}


@pytest.mark.parametrize(
    ("values", "dtype", "kind", "physical"),
    [
        ([1, 2], "int64", Kind.WHOLE, "long"),
        ([1, 2], "int8", Kind.WHOLE, "integer"),
        ([1, 2], "uint32", Kind.WHOLE, "long"),
        ([1, 2**64 - 1], "uint64", Kind.NUMBER, "double"),
        ([1, None], "Int64", Kind.WHOLE, "long"),
        ([1.5, None], "float32", Kind.NUMBER, "float"),
        ([True, None], object, Kind.FLAG, "boolean"),
        ([True, None], "boolean", Kind.FLAG, "boolean"),
        (["a", None], "str", Kind.TEXT, "string"),
        (["a", None], "category", Kind.TEXT, "string"),
        ([None, None], object, Kind.TEXT, "string"),
        ([[1], [2]], object, Kind.OTHER, "any"),
        (["a", 1], object, Kind.OTHER, "any"),
    ],
)
def test_columns_are_what_their_values_are(
    values: list[object], dtype: object, kind: Kind, physical: str
) -> None:
    found = column(values, dtype)
    assert (found.kind, found.physical) == (kind, physical)
    assert found.null.tolist() == [each is None for each in values]


def test_small_numbers_and_negative_ones_have_buckets_of_their_own() -> None:
    values = np.array([0.5, 0.5, -1.99])
    assert log_buckets(values) == {"-35": 2, "n35": 1}
