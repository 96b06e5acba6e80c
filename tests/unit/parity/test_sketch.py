"""Live values as counts: exact under any split, and the same as training's own counting."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serinus.parity.folding import Batch, fold
from serinus.parity.frequent import CAPACITY, Frequent
from serinus.parity.shape import Shape, shape_of
from serinus.parity.sketch import FieldSketch, Sketch, pack, unpack
from tests.unit.parity.live import rows, shape, trained

_SHAPE = shape()

_WILD: dict[str, st.SearchStrategy[Any]] = {
    "distance": st.one_of(
        st.none(),
        st.sampled_from([-1.0, -999.0, 0.0, 0.5, 2.0**60, float("inf"), 94.0, 1e-300, -1e300]),
        st.floats(allow_nan=True),
    ),
    "hour": st.integers(-(2**63), 2**63 - 1),
    "carrier": st.one_of(
        st.none(), st.sampled_from(["AA", "aa", "UA ", "D", "", "\uff21", "new", 5, ["x"]])
    ),
    "tail": st.sampled_from(["N100", "N999", "n100"]),
    "weekend": st.one_of(st.booleans(), st.none()),
    "at": st.one_of(st.none(), st.sampled_from(["2013-02-03T04:05", "2030-01-01", "nonsense"])),
}


def counted(known: Shape, cells: dict[str, list[Any]], output: Any = None) -> Sketch:
    sketch = Sketch()
    fold(sketch, known, Batch(len(cells["hour"]), cells, output=output))
    return sketch


def plain(sketch: Sketch) -> Any:
    """All that is exact, in one form."""
    whole = msgspec.msgpack.decode(pack(sketch))
    for field in whole["fields"].values():
        field["frequent"] = None  # of a sample of rows, which hangs on the batches
        field["unknown"]["kept"] = sorted(field["unknown"]["kept"].items())
    whole["requests"] = None
    return whole


@settings(max_examples=20, deadline=None)
@given(data=st.data(), n=st.integers(1, 12))
def test_any_split_adds_up_to_the_whole(data: st.DataObject, n: int) -> None:
    cells = {
        name: data.draw(st.lists(each, min_size=n, max_size=n)) for name, each in _WILD.items()
    }
    scores = np.array(data.draw(st.lists(st.floats(-1, 2), min_size=n, max_size=n)))
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    whole = counted(_SHAPE, cells, scores)
    parts = []
    for begin, end in zip([0, *cuts], [*cuts, n], strict=True):
        if begin < end:
            some = {name: each[begin:end] for name, each in cells.items()}
            parts.append(counted(_SHAPE, some, scores[begin:end]))
    order = data.draw(st.permutations(parts))
    total = Sketch()
    for part in order:
        total.add(part)
    assert plain(total) == plain(whole)
    assert plain(order[0] + total) == plain(total + order[0])
    for field in whole.fields.values():
        assert field.n == n
        assert 0 <= field.present <= n


def test_what_is_counted_live_is_what_training_counted() -> None:
    contract, profile = trained(3000, seed=5)
    known = shape_of(contract, profile)
    live = counted(known, rows(3000, seed=5)).profile(known)
    assert live.rows == profile.rows
    for name, field in profile.fields.items():
        if name == "tail":  # private: training kept only the hashes
            assert live.fields[name].words == field.words
        else:
            assert live.fields[name] == field, name


def test_a_sketch_survives_the_wire_and_may_be_added_to_afterwards() -> None:
    sketch = counted(_SHAPE, rows(500), np.linspace(0, 1, 500))
    again = unpack(pack(sketch))
    assert plain(again) == plain(sketch)
    again.add(sketch)
    assert again.fields["distance"].n == 1000
    assert sketch.fields["distance"].n == 500
    with pytest.raises(msgspec.DecodeError):
        unpack(b"\x93nonsense")


def test_counts_of_another_contract_are_never_added() -> None:
    with pytest.raises(ValueError, match="different contracts"):
        Sketch(contract="one").add(Sketch(contract="two"))
    wide, narrow = FieldSketch(), FieldSketch()
    wide.bins.counts, narrow.bins.counts = np.array([1, 2, 3]), np.array([1, 2])
    with pytest.raises(ValueError, match="different edges"):
        wide.add(narrow)


def test_each_fault_leaves_its_mark() -> None:
    cells = rows(1000, seed=1)
    n = len(cells["hour"])
    cells["distance"] = [None if each is None else each * 1.609 for each in cells["distance"]]
    cells["distance"][:50] = [-999.0] * 50
    cells["carrier"] = [each and each.lower() for each in cells["carrier"]]
    cells["carrier"][:10] = ["U"] * 10
    cells["tail"] = [each + " " for each in cells["tail"]]
    cells["hour"][:20] = [2**53 + 2] * 20
    found = counted(_SHAPE, cells).fields
    distance = found["distance"]
    assert distance.specials["-999.0"] == 50
    assert distance.negative == distance.under == 50
    assert distance.off_grid > 0.8 * n
    assert distance.frequent.kept["-999.0"][0] > 1
    assert found["hour"].above == found["hour"].beyond_exact == found["hour"].over == 20
    carrier = found["carrier"]
    assert carrier.new_word == carrier.other == carrier.present
    assert carrier.near["case"] == carrier.present - 10
    assert carrier.near["prefix"] == 10
    tail = found["tail"]
    assert tail.near == {"space": n}
    assert tail.padded == n
    assert not any("N1" in word for word in tail.unknown.kept), "private words stay hashed"


def test_fields_that_were_not_sent_are_missing_and_unread_answers_are_said() -> None:
    cells = rows(50)
    del cells["distance"]
    sketch = counted(_SHAPE, cells, output=[[1, 2], [3]])
    assert sketch.fields["distance"].missing == 50
    assert sketch.score.unread == 50


def test_answers_are_scores_or_labels() -> None:
    scores = counted(_SHAPE, rows(4), np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [1, np.nan]]))
    assert (scores.score.n, scores.score.nan, scores.score.decided) == (4, 1, 2)
    assert scores.score.bins.counts.sum() == 3
    labels = counted(_SHAPE, rows(4), ["yes", "no", "no", "no"])
    assert labels.score.labels.kept == {"yes": (1, 0), "no": (3, 0)}


def test_residuals_come_out_of_the_moments() -> None:
    _, profile = trained()
    sketch = counted(_SHAPE, rows(4000, seed=99))
    assert profile.joint
    for name, joint in profile.joint.items():
        found = sketch.moments.residual(name, joint)
        assert found == pytest.approx(joint.residual, rel=0.02), name


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.dictionaries(st.integers(0, 200).map(str), st.integers(1, 50)), max_size=8),
    st.booleans(),
)
def test_frequent_values_keep_their_bound(batches: list[dict[str, int]], merge: bool) -> None:
    truth: dict[str, int] = {}
    total = Frequent()
    for batch in batches:
        for value, times in batch.items():
            truth[value] = truth.get(value, 0) + times
        if merge:
            part = Frequent()
            part.count(batch)
            total.add(part)
        else:
            total.count(batch)
    assert total.n == sum(truth.values())
    assert len(total.kept) <= CAPACITY
    for value, (count, error) in total.kept.items():
        assert count - error <= truth.get(value, 0) <= count
        assert error <= total.n / CAPACITY
    for value, times in truth.items():
        assert value in total.kept or times <= total.n / CAPACITY
    if len(truth) <= CAPACITY:
        assert {value: count for value, (count, _) in total.kept.items()} == truth
