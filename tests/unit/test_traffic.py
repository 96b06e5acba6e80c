"""The choice between served entities: exact to the basis point, for any weights."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serinus.entities import WHOLE
from serinus.traffic import EndpointRoutes, ReplicaAddress, RouteTable, ServedRoute, Split


@st.composite
def _weights(draw: st.DrawFn) -> dict[str, int]:
    cuts = sorted(draw(st.lists(st.integers(0, WHOLE), max_size=6)))
    edges = [0, *cuts, WHOLE]
    return {f"v{n}": high - low for n, (low, high) in enumerate(pairwise(edges))}


@given(_weights())
def test_every_basis_point_goes_where_its_weight_says(weights: dict[str, int]) -> None:
    split = Split(weights)
    chosen = [split.choose((point + 0.5) / WHOLE) for point in range(WHOLE)]
    assert {name: chosen.count(name) for name in weights} == weights


@given(_weights(), st.floats(0, 1, exclude_max=True))
def test_nothing_with_weight_zero_is_ever_chosen(weights: dict[str, int], point: float) -> None:
    assert weights[Split(weights).choose(point)] > 0


def test_both_ends_of_the_unit_interval_choose_something() -> None:
    split = Split({"a": 1, "b": WHOLE - 1})
    assert split.choose(0.0) == "a"
    assert split.choose(1 - 2**-53) == "b"


@pytest.mark.parametrize(
    "weights", [{"a": WHOLE - 1}, {"a": WHOLE + 1}, {"a": WHOLE + 1, "b": -1}, {"a": 0}]
)
def test_weights_that_are_no_split_are_refused(weights: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="sum to 10000"):
        Split(weights)


def test_a_table_names_every_replica_that_it_can_reach() -> None:
    one, two = (ReplicaAddress(f"r{n}", f"/run/r{n}", "d" * 64) for n in (1, 2))
    table = RouteTable(
        3,
        (
            EndpointRoutes("e", (ServedRoute("a", 9000, (one,)), ServedRoute("b", 1000, ()))),
            EndpointRoutes("f", (ServedRoute("a", WHOLE, (two,)),)),
        ),
    )
    assert table.replica_ids() == {"r1", "r2"}
    assert table.endpoints[0].route("b") == ServedRoute("b", 1000, ())
    assert table.endpoints[0].route("c") is None
