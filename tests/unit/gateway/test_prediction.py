"""What an answer predicts, and how two answers to one request differ."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.evidence.histogram import score_bin
from serinus.gateway.prediction import MAX_READ, Difference, compare, label


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"predictions":[1]}', "1"),
        (b'{"predictions":[-3,4,5]}', "-3"),
        (b'{"predictions":[true,false]}', "true"),
        (b'{"predictions":[null]}', "null"),
        (b'{"predictions":["cat","dog"]}', "cat"),
        (b'{"predictions":["a,b]"]}', "a,b]"),
        (b'{"predictions": [ 7, 8 ]}', "7"),
        (b'{"predictions":[[3,4],[5,6]]}', "3"),
        (b'{"predictions":[{"label":"cat","score":0.5}]}', "cat"),
        (b'{"predictions":"cat"}', "cat"),
        (b'{"predictions":[0.25,9.5]}', score_bin(0.25)),
        (b'{"predictions":[1e300]}', score_bin(1e300)),
        (b'{"predictions":[[0.25,0.75]]}', score_bin(0.25)),
        (b'{"predictions":[]}', None),
        (b'{"predictions":[', None),
        (b'{"predictions":[12', None),
        (b'{"predictions":[1x]}', None),
        (b'{"answers":[1]}', None),
        (b"[1]", None),
        (b"not json", None),
        (b"", None),
        (b'{"predictions":["\xff"]}', None),
    ],
)
def test_the_first_row_is_read(body: bytes, expected: str | None) -> None:
    assert label(body) == expected


def test_a_long_label_is_cut_and_a_long_answer_is_not_read() -> None:
    assert label(b'{"predictions":["' + b"x" * 1000 + b'"]}') == "x" * 64
    assert label(b'{"predictions":["' + b"x" * MAX_READ + b'"]}') is None


@settings(deadline=None)
@given(st.lists(st.integers() | st.booleans() | st.text() | st.floats(allow_nan=False), min_size=1))
def test_the_quick_way_and_the_long_way_read_the_same(rows: list[object]) -> None:
    quick = msgspec.json.encode({"predictions": rows})
    long = msgspec.json.format(quick)
    assert label(quick) == label(long)


SAME = Difference(flipped=False, over_tolerance=False)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([1, 2], [1, 2], SAME),
        ([1, 2], [1, 3], Difference(True, False, "2→3")),
        (["cat", "cat"], ["dog", "owl"], Difference(True, False, "cat→dog")),
        ([True], [False], Difference(True, False, "true→false")),
        ([True], [1.0], SAME),
        ([0.5], [0.505], SAME),
        ([0.5], [0.52], Difference(False, True)),
        ([1], [1.005], SAME),
        ([1], [2.5], Difference(False, True)),
        ([0.5], [None], Difference(True, False, "0.5→null")),
        ([[0.2, 0.8]], [[0.205, 0.795]], SAME),
        ([[0.2, 0.8]], [[0.3, 0.7]], Difference(False, True)),
        ([{"l": "a", "s": 0.5}], [{"l": "a", "s": 0.6}], Difference(False, True)),
        ([{"l": "a"}], [{"l": "b"}], Difference(True, False, '{"l":"a"}→{"l":"b"}')),
        ([{"l": "a"}], [{"m": "a"}], Difference(True, False, '{"l":"a"}→{"m":"a"}')),
        ([1, 2], [1], Difference(True, False, "rows→other rows")),
    ],
)
def test_answers_are_compared_row_by_row(
    old: list[object], new: list[object], expected: Difference
) -> None:
    before, after = (msgspec.json.encode({"predictions": rows}) for rows in (old, new))
    assert compare(before, after, 0.01) == expected


def test_the_tolerance_itself_is_allowed() -> None:
    old, new = b'{"predictions":[1.0]}', b'{"predictions":[1.25]}'
    assert compare(old, new, 0.25) == SAME
    assert compare(old, new, 0.2499) == Difference(False, True)


@pytest.mark.parametrize("unreadable", [b"x", b"{}", b'{"predictions":"' + b"x" * MAX_READ + b'"}'])
def test_what_can_not_be_read_is_not_compared(unreadable: bytes) -> None:
    assert compare(unreadable, b'{"predictions":[1]}', 0.1) is None
    assert compare(b'{"predictions":[1]}', unreadable, 0.1) is None
