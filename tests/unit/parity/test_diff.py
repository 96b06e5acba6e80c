from typing import Any

import msgspec
import pytest

from serinus.parity.contract import (
    FORMAT,
    Contract,
    Declared,
    Field,
    Inputs,
    Kind,
    ModelIdentity,
    Nulls,
    Observed,
    Origin,
    Outputs,
    Timing,
    Type,
)
from serinus.parity.diff import Severity, differences
from serinus.parity.folder import Bundle
from serinus.parity.lock import Distribution, Lock
from serinus.parity.profiles import Profile

FIELD = Field(
    name="distance",
    type=Type(logical=Kind.NUMBER, physical="double"),
    null=Nulls(allowed=True, policy="model-native"),
    declared=Declared(min=0.0, max=100.0, enum=["a", "b"]),
    observed=Observed(n=10, null_rate=0.1, min=1.0, max=90.0, values=["a", "b"]),
    unit="mi",
    unknown_category="bucket",
)
BREAKING, COMPATIBLE, INFO = Severity.BREAKING, Severity.COMPATIBLE, Severity.INFORMATIONAL


def bundle(
    *fields: Field, positional: bool = False, lock: Lock | None = None, **more: Any
) -> Bundle:
    contract = Contract(
        format=FORMAT,
        origin=Origin.CAPTURED,
        model=more.pop("model", ModelIdentity()),
        fields=list(fields),
        inputs=Inputs(names=[each.name for each in fields], positional=positional),
        outputs=more.pop("outputs", Outputs(kind="class", classes=["0", "1"], threshold=0.5)),
        **more,
    )
    return Bundle(contract, Profile(rows=0), lock or Lock(python="3.11.7"))


def changed(**what: Any) -> list[tuple[Severity, str]]:
    other = msgspec.structs.replace(FIELD, **what)
    found = differences(bundle(FIELD), bundle(other))
    assert differences(bundle(FIELD), bundle(FIELD)) == []
    return [(each.severity, each.what) for each in found]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ({"unit": "km"}, (BREAKING, "unit")),
        ({"tz": "UTC"}, (INFO, "tz")),
        ({"type": Type(logical=Kind.TEXT, physical="string")}, (BREAKING, "type")),
        ({"null": Nulls()}, (BREAKING, "null.allowed")),
        ({"required": False}, (COMPATIBLE, "required")),
        ({"unknown_category": "reject"}, (BREAKING, "unknown_category")),
        ({"source": "lookup:routes"}, (COMPATIBLE, "source")),
        ({"declared": Declared(min=1.0, max=100.0, enum=["a", "b"])}, (BREAKING, "declared.min")),
        ({"declared": Declared(max=100.0, enum=["a", "b"])}, (COMPATIBLE, "declared.min")),
        ({"declared": Declared(min=0.0, max=99.0, enum=["a", "b"])}, (BREAKING, "declared.max")),
        ({"declared": Declared(min=0.0, max=101.0, enum=["a", "b"])}, (COMPATIBLE, "declared.max")),
        ({"declared": Declared(min=0.0, max=100.0, enum=["a"])}, (BREAKING, "declared.enum")),
        (
            {"declared": Declared(min=0.0, max=100.0, enum=["a", "b", "c"])},
            (COMPATIBLE, "declared.enum"),
        ),
        (
            {"observed": Observed(n=9, null_rate=0.3, min=1.0, max=90.0, values=["a", "b"])},
            (INFO, "observed.null_rate"),
        ),
        (
            {"observed": Observed(n=9, null_rate=0.1, min=1.0, max=95.0, values=["a", "b"])},
            (INFO, "observed.max"),
        ),
        (
            {"observed": Observed(n=9, null_rate=0.1, min=1.0, max=90.0, values=["a", "z"])},
            (INFO, "observed.values"),
        ),
    ],
)
def test_each_change_has_its_weight(what: dict[str, Any], expected: tuple[Severity, str]) -> None:
    assert changed(**what) == [expected]


@pytest.mark.parametrize(
    "what",
    [
        {"observed": Observed(n=7, null_rate=0.101, min=1.0, max=90.1, values=["b", "a"])},
        {"importance": 0.5},
        {"time": Timing(max_age="P1D")},
    ],
)
def test_noise_is_no_change(what: dict[str, Any]) -> None:
    assert changed(**what) == []


@pytest.mark.parametrize(
    ("old", "new", "severity"),
    [
        ("integer", "long", COMPATIBLE),
        ("long", "integer", BREAKING),
        ("float", "double", COMPATIBLE),
    ],
)
def test_a_wider_type_breaks_nobody(old: str, new: str, severity: Severity) -> None:
    one, two = (
        msgspec.structs.replace(FIELD, type=Type(logical=Kind.NUMBER, physical=each))
        for each in (old, new)
    )
    assert [each.severity for each in differences(bundle(one), bundle(two))] == [severity]


def test_fields_that_come_and_go() -> None:
    other = msgspec.structs.replace(FIELD, name="carrier")
    optional = msgspec.structs.replace(other, required=False)
    looked_up = msgspec.structs.replace(other, source="lookup:x")
    for new, severity in ((other, BREAKING), (optional, COMPATIBLE), (looked_up, INFO)):
        [change] = differences(bundle(FIELD), bundle(FIELD, new))
        assert (change.severity, change.what) == (severity, "added")
    [change] = differences(bundle(FIELD, other), bundle(FIELD))
    assert (change.severity, change.what) == (COMPATIBLE, "removed")


def test_order_counts_only_for_models_that_read_by_place() -> None:
    other = msgspec.structs.replace(FIELD, name="carrier")
    for positional, severity in ((True, BREAKING), (False, INFO)):
        one = bundle(FIELD, other, positional=positional)
        two = bundle(other, FIELD, positional=positional)
        assert [(c.severity, c.what) for c in differences(one, two)] == [(severity, "order")]


def test_outputs_model_and_environment() -> None:
    old = bundle(
        FIELD,
        model=ModelIdentity(parameters={"a": "1", "b": "2"}, rows_independent=True),
        lock=Lock(python="3.11.7", distributions={"numpy": Distribution("2.0")}),
    )
    new = bundle(
        FIELD,
        outputs=Outputs(kind="probability", classes=["1", "0"], threshold=0.4),
        model=ModelIdentity(parameters={"a": "1", "b": "3"}, rows_independent=False),
        lock=Lock(python="3.12.1", distributions={"numpy": Distribution("2.1")}),
    )
    found = [(each.severity, each.where, each.what) for each in differences(old, new)]
    assert found == [
        (BREAKING, "outputs", "kind"),
        (BREAKING, "outputs", "classes"),
        (COMPATIBLE, "outputs", "threshold"),
        (COMPATIBLE, "model", "rows_independent"),
        (INFO, "model", "parameters"),
        (INFO, "environment", "python"),
        (INFO, "environment", "numpy"),
    ]
    assert [c.new for c in differences(old, new) if c.what == "parameters"] == [["b"]]
