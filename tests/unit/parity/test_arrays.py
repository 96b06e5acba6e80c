import io
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.parity.arrays import differing, pack, plain_cell, unpack
from serinus.parity.canonical import ContractBroken
from serinus.parity.contract import Stage, Tolerance
from serinus.parity.stages import tolerance_of

_COLUMN = st.one_of(
    st.lists(st.floats()).map(np.array),
    st.lists(st.integers(-(2**63), 2**63 - 1)).map(lambda v: np.array(v, dtype=np.int64)),
    st.lists(st.booleans()).map(lambda v: np.array(v, dtype=bool)),
    st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]))),
)


@given(st.dictionaries(st.sampled_from(["S1", "S3:a.b/1", "answer"]), st.lists(_COLUMN)))
def test_stages_read_back_as_they_were(stages: dict[str, list[Any]]) -> None:
    content = pack(stages)
    assert pack(stages) == content
    found = unpack(content, [Stage(name=name) for name in stages])
    assert found.keys() == stages.keys()
    for name, columns in stages.items():
        for one, other in zip(columns, found[name], strict=True):
            assert np.array_equal(one, other, equal_nan=isinstance(one, np.ndarray))


def test_text_keeps_what_numpy_would_drop() -> None:
    words = ["a\0", "", None, "東京", "a "]
    assert unpack(pack({"S1": [words]}), [Stage(name="S1")]) == {"S1": [words]}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04."])
def test_broken_archives_are_refused(content: bytes) -> None:
    with pytest.raises(ContractBroken, match="golden_stages"):
        unpack(content, [])


def test_every_truncation_is_refused() -> None:
    content = pack({"S1": [np.arange(5.0), ["a", None]]})
    for end in range(0, len(content), 17):
        with pytest.raises(ContractBroken):
            unpack(content[:end], [Stage(name="S1")])


def test_a_pickle_inside_is_refused() -> None:
    written = io.BytesIO()
    np.savez(written, **{"S1.0": np.array([object()], dtype=object)})  # type: ignore[arg-type]
    with pytest.raises(ContractBroken, match="allow_pickle"):
        unpack(written.getvalue(), [Stage(name="S1")])


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("S1.0.npy", b"\0" * (257 * 1024 * 1024))
    assert len(written.getvalue()) < 1024 * 1024
    with pytest.raises(ContractBroken, match="unpacks to"):
        unpack(written.getvalue(), [Stage(name="S1")])


def test_a_stage_of_another_contract_is_refused() -> None:
    with pytest.raises(ContractBroken):
        unpack(pack({"S9": [np.arange(3.0)]}), [Stage(name="S1")])


def test_single_precision_passes_and_half_does_not() -> None:
    random = np.random.default_rng(1)
    vector = random.normal(size=(64, 20)) * 10.0 ** random.integers(-3, 4, 20)
    tolerance = tolerance_of("S3")
    assert not differing([vector], [vector.astype(np.float32)], tolerance).any()
    assert differing([vector], [vector.astype(np.float16)], tolerance).all()


def test_one_cell_tells_its_row() -> None:
    vector = np.ones((4, 3))
    other = vector.copy()
    other[2, 1] = 1.01
    assert differing([vector], [other], tolerance_of("S3")).tolist() == [False, False, True, False]


def test_a_permuted_column_is_found_however_small_it_is() -> None:
    vector = np.column_stack([np.full(4, 1e6), [1e-6, 2e-6, 3e-6, 4e-6]])
    other = vector.copy()
    other[:, 1] = vector[::-1, 1]
    assert differing([vector], [other], tolerance_of("S3")).all()


def test_exact_is_exact_and_nan_equals_nan() -> None:
    one = np.array([1.0, np.nan, np.inf, 0.1 + 0.2])
    assert not differing([one], [one.copy()], Tolerance()).any()
    assert differing([one], [np.array([1.0, 0.0, np.inf, 0.3])], Tolerance()).tolist() == [
        False,
        True,
        False,
        True,
    ]


def test_units_in_the_last_place_are_counted() -> None:
    one = np.array([1.0, 1.0])
    other = np.array([1.0 + 2 * np.spacing(1.0), 1.0 + 5 * np.spacing(1.0)])
    assert differing([one], [other], Tolerance(kind="ulp", ulp=4)).tolist() == [False, True]


def test_shapes_that_do_not_fit_are_an_error_of_their_own() -> None:
    for other in ([np.ones(3)], [np.ones((2, 2))], [np.ones(2)] * 2):
        with pytest.raises(ValueError, match="expected"):
            differing([np.ones(2)], other, Tolerance())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.datetime64("2013-03-10T02:30:00.500000000"), "2013-03-10T02:30:00.5"),
        (np.datetime64("NaT"), None),
        (np.float32(0.1), 0.10000000149011612),
        (float("nan"), None),
        (float("-inf"), "-Infinity"),
        (np.int64(2**62), 2**62),
        (np.bool_(True), True),
        ({"a": [np.float64(1.0)]}, {"a": [1.0]}),
    ],
)
def test_cells_are_written_as_json_has_them(value: Any, expected: Any) -> None:
    found = plain_cell(value)
    assert found == expected
    assert type(found) is type(expected)
