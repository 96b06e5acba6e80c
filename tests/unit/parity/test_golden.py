from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.parity.columns import columns_of
from serinus.parity.golden import MOST, Chosen, choose, unsendable


def chosen(frame: pd.DataFrame, most: int = MOST, scores: Any = None) -> Chosen:
    columns = columns_of(frame)
    scored = None if scores is None else (np.arange(len(frame)), np.asarray(scores))
    return choose(
        columns, set(map(str, frame.columns)), scored, 0.5, np.random.default_rng(3), most
    )


_WORDS = st.sampled_from(["AA", "UA", "é", " DL", "", None])
_FRAMES = st.integers(1, 60).flatmap(
    lambda rows: st.fixed_dictionaries(
        {
            "x": st.lists(st.floats(width=32), min_size=rows, max_size=rows),
            "c": st.lists(_WORDS, min_size=rows, max_size=rows),
            "n": st.lists(st.integers(-5, 5), min_size=rows, max_size=rows),
            "b": st.lists(st.booleans(), min_size=rows, max_size=rows),
        }
    )
)


@settings(max_examples=60, deadline=None)
@given(_FRAMES)
def test_every_case_that_a_row_shows_has_a_row(cells: dict[str, list[Any]]) -> None:
    frame = pd.DataFrame(cells).astype({"c": object})
    usable = frame[~np.isinf(frame["x"])]
    found = chosen(frame)
    golden = frame.iloc[found.rows]
    assert len(set(found.rows)) == len(found.rows) == len(found.covers) <= MOST
    assert not np.isinf(golden["x"]).any()
    for name in ("c", "n", "b"):
        assert set(golden[name].dropna()) == set(usable[name].dropna())
    assert golden["c"].isna().any() == usable["c"].isna().any()
    assert golden["x"].isna().any() == usable["x"].isna().any()
    finite = usable["x"].dropna()
    if len(finite) and not np.isinf(frame["x"]).any():
        assert {finite.min(), finite.max()} <= set(golden["x"])
    assert not found.missing


def test_a_null_in_a_hundred_thousand_is_found() -> None:
    values = np.zeros(100_000)
    values[77_777] = np.nan
    assert 77_777 in chosen(pd.DataFrame({"x": values})).rows


def test_where_there_is_no_room_nulls_come_before_categories() -> None:
    words = np.array([f"w{at}" for at in range(900)], dtype=object)
    frame = pd.DataFrame({"c": np.tile(words, 3), "x": np.arange(2700.0)})
    frame.loc[5, "c"] = None
    found = chosen(frame, most=64)
    assert len(found.rows) == 64
    assert 5 in found.rows
    assert {0, 2699} <= set(found.rows)
    assert found.wanted["category"] == 900
    assert found.covered["category"] < 64
    assert len(found.missing) == 100


def test_neighbours_of_the_threshold_are_taken_from_both_sides() -> None:
    scores = np.linspace(0, 1, 1001)
    found = chosen(pd.DataFrame({"x": np.zeros(1001)}), scores=scores)
    assert set(range(496, 504)) <= set(found.rows)
    assert found.covered["threshold"] == 8


def test_night_hours_on_which_clocks_change_are_taken() -> None:
    hours = pd.date_range("2013-01-01", periods=24 * 365, freq="h")
    found = chosen(pd.DataFrame({"at": hours}))
    assert found.covered["dst"] == 3
    texts = [case for covers in found.covers for case in covers]
    assert "at on a Sunday night in March" in texts


def test_long_padded_empty_and_foreign_text_is_taken() -> None:
    words = np.array([f"word {at}" for at in range(5000)], dtype=object)
    words[[10, 20, 30, 40]] = ["x" * 500, " padded ", "", "Zürich"]
    assert {10, 20, 30, 40} <= set(chosen(pd.DataFrame({"t": words})).rows)


def test_the_same_sample_gives_the_same_rows() -> None:
    frame = pd.DataFrame(
        {"x": np.random.default_rng(0).normal(size=5000), "c": list("abcde") * 1000}
    )
    assert chosen(frame).rows == chosen(frame).rows


def test_a_small_set_is_filled_with_others() -> None:
    found = chosen(pd.DataFrame({"x": np.arange(1000.0)}))
    assert len(found.rows) == 64
    assert found.covers[-1] == ["random"]


def test_rows_that_json_can_not_carry_are_left_out() -> None:
    frame = pd.DataFrame(
        {"x": [1.0, np.inf, 2.0, np.nan], "t": pd.Series(["a", "b", "\ud800", "c"], dtype=object)}
    )
    assert unsendable(columns_of(frame)).tolist() == [False, True, True, False]
    assert sorted(chosen(frame).rows) == [0, 3]


@pytest.mark.parametrize("rows", [1, 2])
def test_tiny_samples_are_taken_whole(rows: int) -> None:
    assert len(chosen(pd.DataFrame({"x": [1.0, 1.0][:rows]})).rows) == rows
