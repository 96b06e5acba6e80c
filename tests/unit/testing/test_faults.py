"""Faults to order: named by a text, seeded, in a share of the rows; the right row stays right."""

import json

import numpy as np
import pytest

from serinus.errors import InvalidParameterValue
from serinus.testing.faults import KINDS, ClientFault, EndpointFault, StoreFault, fault
from serinus.testing.faults.store import Online

_ROW = {"distance": 502, "carrier": "UA", "hour": 22, "weekend": False}


def _sent(spec: str) -> dict[str, object]:
    made = fault(spec)
    assert isinstance(made, ClientFault)
    return made.applied([dict(_ROW)])[0]


@pytest.mark.parametrize(
    ("spec", "field", "value"),
    [
        ("unit:distance:1.609", "distance", 502 * 1.609),
        ("rounded-unit:distance:1.609", "distance", 808),
        ("casing:carrier", "carrier", "ua"),
        ("padding:carrier", "carrier", "UA "),
        ("cut:carrier:1", "carrier", "U"),
        ("shift:hour:4:24", "hour", 2),
        ("null-as:-1:distance", "distance", -1),
        ("null-as:null:distance", "distance", None),
        ("as-text:weekend", "weekend", "false"),
        ("comma:distance", "distance", "502,0"),
        ("overflow:distance:8", "distance", -10),
        ("clip:distance:300", "distance", 300),
        ("swap:distance:hour", "distance", 22),
    ],
)
def test_a_right_row_becomes_a_wrong_one(spec: str, field: str, value: object) -> None:
    assert _sent(spec)[field] == (pytest.approx(value) if isinstance(value, float) else value)


def test_a_share_of_the_rows_is_chosen_by_the_seed_alone() -> None:
    rows = [{"x": at} for at in range(2000)]
    made = [fault("null-as:-1:x", share=0.2, seed=each) for each in (1, 1, 2)]
    touched = [
        [at for at, row in enumerate(each.applied(rows)) if row["x"] == -1]
        for each in made
        if isinstance(each, ClientFault)
    ]
    assert touched[0] == touched[1] != touched[2]
    assert len(touched[0]) == pytest.approx(400, abs=60)
    assert [row["x"] for row in rows] == list(range(2000))


def test_a_key_twice_is_in_the_body_only() -> None:
    made = fault("duplicate-key:hour")
    assert isinstance(made, ClientFault)
    assert made.body(_ROW, 0).count(b'"hour"') == 2
    assert made.row(_ROW, 0) == _ROW
    assert json.loads(fault("casing:carrier").body(_ROW, 0)) == {  # type: ignore[union-attr]
        "dataframe_records": [{**_ROW, "carrier": "ua"}]
    }


def test_stores_lose_and_mix_up_values() -> None:
    values = np.arange(1000.0)
    lost = fault("lookup-miss:temp", share=0.35)
    assert isinstance(lost, StoreFault)
    online = lost.applied(Online(values), values)
    assert online.status is not None
    assert (online.status == "NOT_FOUND").sum() == np.isnan(online.values).sum()
    mixed = fault("lookup-wrong-key:temp")
    assert isinstance(mixed, StoreFault)
    assert sorted(mixed.applied(Online(values), values).values) == list(values)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("unt:distance:2", "did you mean 'unit'"),
        ("unit:distance", "write unit:FIELD:FACTOR:[OFFSET]"),
        ("unit:distance:two", "write unit:FIELD:FACTOR:[OFFSET]"),
        ("unit::2", "write unit"),
        ("scaler-refit:1", "write scaler-refit"),
    ],
)
def test_a_text_that_names_no_fault_is_told_how_to_write_it(spec: str, says: str) -> None:
    with pytest.raises(InvalidParameterValue, match=says.replace("[", r"\[")):
        fault(spec)


def test_a_share_is_more_than_none() -> None:
    with pytest.raises(InvalidParameterValue, match="makes no sense"):
        fault("casing:carrier", share=0.0)


def test_every_kind_can_be_made() -> None:
    values = {"FIELD": "x", "VALUE": "1"}
    for kind in KINDS.values():
        made = fault(
            ":".join([kind.name, *(values.get(e.strip("[]"), "2") for e in kind.arguments)])
        )
        assert isinstance(made, ClientFault | EndpointFault | StoreFault), kind
