"""Whatever an endpoint looks like: a diagnosis is given, honest, and never drift without parity."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serinus.cli.diagnose import EXITS
from serinus.cli.output import Exit
from serinus.parity.columns import Column
from serinus.parity.contract import (
    FORMAT,
    Contract,
    Field,
    Inputs,
    Kind,
    ModelIdentity,
    Origin,
    Outputs,
    Privacy,
    Type,
)
from serinus.parity.diagnosis.diagnose import diagnose
from serinus.parity.diagnosis.finding import Confidence, Diagnosis, Verdict
from serinus.parity.diagnosis.offline import TableOffline
from serinus.parity.diagnosis.rows import Rows, column_of, no_rows
from serinus.parity.diagnosis.values import Golden, Measured, Replica, Scope, Snapshot
from serinus.parity.folding import Batch, fold
from serinus.parity.observe import joint_checks, observe
from serinus.parity.profiles import Profile
from serinus.parity.shape import shape_of
from serinus.parity.sketch import Sketch, SliceKey
from serinus.parity.verification import Gate, GateResult

_START = datetime(2026, 11, 20, tzinfo=UTC)
_FIRST = int(_START.timestamp()) // 3600
#: How the cells of a column come about, by name.
_MAKERS: dict[str, tuple[Kind, Any]] = {
    "constant": (Kind.NUMBER, lambda r, n: [7.5] * n),
    "null": (Kind.NUMBER, lambda r, n: [None] * n),
    "gappy": (Kind.NUMBER, lambda r, n: [None if x < 0.4 else round(x, 2) for x in r.random(n)]),
    "skewed": (Kind.NUMBER, lambda r, n: r.lognormal(3, 2, n).tolist()),
    "negative": (Kind.NUMBER, lambda r, n: (-r.gamma(2, 3, n)).round(1).tolist()),
    "tiny": (Kind.NUMBER, lambda r, n: (r.random(n) * 1e-9).tolist()),
    "huge": (Kind.NUMBER, lambda r, n: (r.random(n) * 1e18).tolist()),
    "infinite": (Kind.NUMBER, lambda r, n: [float("inf") if x < 0.1 else x for x in r.random(n)]),
    "code": (Kind.WHOLE, lambda r, n: [int(x) for x in r.integers(0, 5, n)]),
    "count": (Kind.WHOLE, lambda r, n: [int(x) for x in r.poisson(3, n)]),
    "hour": (Kind.WHOLE, lambda r, n: [int(x) for x in r.integers(0, 24, n)]),
    "flag": (Kind.FLAG, lambda r, n: [bool(x) for x in r.integers(0, 2, n)]),
    "word": (Kind.TEXT, lambda r, n: [str(x) for x in r.choice(["A", "b", "Ärger", ""], n)]),
    "id": (Kind.TEXT, lambda r, n: [f"u{x}" for x in r.integers(0, 10**9, n)]),
    "when": (
        Kind.INSTANT,
        lambda r, n: [
            str(np.datetime64("2026-01-01T00:00:00") + np.timedelta64(int(x), "s"))
            for x in r.integers(0, 10**7, n)
        ],
    ),
}
_CHANGES: dict[str, Any] = {
    "as it was": lambda v: v,
    "null": lambda v: None,
    "scaled": lambda v: v * 2.54 if isinstance(v, float) else v,
    "minus one": lambda v: -1 if isinstance(v, int | float) and not isinstance(v, bool) else v,
    "text": lambda v: "unbekannt\u00a0€" if isinstance(v, str) and "T" not in v else v,
    "not a number": lambda v: float("nan") if isinstance(v, float) else v,
    "zone": lambda v: f"{v[:19]}+02:00" if isinstance(v, str) and v[10:11] == "T" else v,
    "Zulu": lambda v: f"{v[:19]}Z" if isinstance(v, str) and v[10:11] == "T" else v,
}


def _column(name: str, kind: Kind, cells: list[Any]) -> Column:
    column = column_of(name, kind, cells)
    if kind is Kind.WHOLE:
        return replace(column, kind=kind, values=column.values.astype(np.int64))
    if kind is Kind.FLAG:
        return replace(column, kind=kind, values=column.values.astype(bool))
    return column


def _trained(kinds: list[str], seed: int, *, derived: bool, looked_up: int) -> Any:
    random = np.random.default_rng(seed)
    fields, profiles, columns = [], {}, []
    for at, maker in enumerate(kinds):
        kind, make = _MAKERS[maker]
        column = _column(f"f{at}", kind, make(random, 1500))
        columns.append(column)
        observed, profiles[f"f{at}"] = observe(column, Privacy.PLAIN, "salt")
        source = "lookup:store" if at < looked_up else "request"
        field = Field(name=f"f{at}", type=Type(logical=kind), source=source)
        fields.append(field if derived else msgspec.structs.replace(field, observed=observed))
    joint, means, scales = joint_checks(columns)
    profile = Profile(rows=1500, fields=profiles, joint=joint, means=means, scales=scales)
    made = Contract(
        format=FORMAT,
        origin=Origin.DERIVED if derived else Origin.CAPTURED,
        model=ModelIdentity(),
        fields=fields,
        inputs=Inputs(names=[each.name for each in fields]),
        outputs=Outputs(),
    )
    return made, Profile(rows=0) if derived else profile


def _live(contract: Contract, profile: Profile, cells: dict[str, list[Any]], callers: int) -> Any:
    shape = shape_of(contract, profile)
    count = len(next(iter(cells.values())))
    live: dict[SliceKey, Sketch] = {}
    for at in range(6):
        some = {name: _read(contract, name, values[at::6]) for name, values in cells.items()}
        key = SliceKey("m", f"c{at % callers}" if callers else "", _FIRST + 4 * (at // 2))
        size = len(range(at, count, 6))
        fold(live.setdefault(key, Sketch()), shape, Batch(size, some, requests=size))
    return live


def _read(contract: Contract, name: str, cells: list[Any]) -> Any:
    """As the reader of requests gives them: instants have no zone any more."""
    field = contract.field(name)
    if field is None or field.type.logical is not Kind.INSTANT:
        return cells
    return column_of(name, Kind.INSTANT, cells).values


@st.composite
def _snapshots(draw: st.DrawFn) -> Snapshot:
    kinds = draw(st.lists(st.sampled_from(sorted(_MAKERS)), min_size=1, max_size=5))
    seed = draw(st.integers(0, 1000))
    derived = draw(st.booleans()) and draw(st.booleans())
    contract, profile = _trained(
        kinds, seed, derived=derived, looked_up=draw(st.integers(0, len(kinds)))
    )
    rows = draw(st.sampled_from([0, 1, 40, 900, 2400]))
    random = np.random.default_rng(seed + 1)
    cells = {}
    for at, maker in enumerate(kinds):
        change = _CHANGES[draw(st.sampled_from(sorted(_CHANGES)))]
        share = draw(st.sampled_from([0.05, 0.3, 1.0]))
        values = _MAKERS[maker][1](random, rows)
        cells[f"f{at}"] = [change(value) if random.random() < share else value for value in values]
    recorded = Rows(
        ids=[f"r{at}" for at in range(rows)],
        at=_START.timestamp() + np.arange(rows) * 10.0,
        callers=np.array(["c0"] * rows, dtype=object),
        columns={
            each.name: column_of(each.name, each.type.logical, cells[each.name])
            for each in contract.fields
        },
    )
    result = draw(st.sampled_from([None, *GateResult]))
    golden = None
    if result is not None:
        when = _START + timedelta(hours=draw(st.sampled_from([-3, 20])))
        stage = draw(st.sampled_from(["", "S1", "S3", "S4"])) if result is GateResult.FAIL else ""
        golden = Golden(gates=[Gate(name="golden_replay", result=result, stage=stage)], at=when)
    offline = None
    if draw(st.booleans()) and len(kinds) > 1:
        columns = dict(recorded.columns)
        offline = TableOffline("table", columns, [contract.fields[-1].name])
    measured = draw(
        st.sampled_from(
            [None, [Measured(metric="rmse", value=2.0, before=1.0, labels=900, due=900)]]
        )
    )
    return Snapshot(
        scope=Scope(endpoint="e", served="m", since=_START, until=_START + timedelta(days=1)),
        contract=contract,
        profile=profile,
        replicas=draw(
            st.sampled_from([None, [Replica(id="a", served="m", intended_digest="d",
                                            served_digest="d")]])
        ),
        environment=draw(st.sampled_from([None, []])),
        live=_live(contract, profile, cells, draw(st.integers(0, 2))) if rows else {},
        golden=golden,
        rows=recorded if draw(st.booleans()) else no_rows(),
        offline=offline,
        measured=measured,
    )  # fmt: skip


def _passed(snapshot: Snapshot) -> bool:
    golden = snapshot.golden
    return (
        golden is not None
        and golden.at >= snapshot.scope.since
        and golden.gates[0].result is GateResult.PASS
    )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(_snapshots())
def test_it_answers_and_never_says_drift_or_healthy_unless_parity_passed(
    snapshot: Snapshot,
) -> None:
    said = diagnose(snapshot)
    if said.verdict is Verdict.HEALTHY:
        assert _passed(snapshot)
        assert snapshot.profile.rows
        assert not said.findings
    if said.verdict is Verdict.DRIFT and said.findings[0].step == 9:
        assert _passed(snapshot), said.findings
    for each in said.findings:
        assert each.evidence, each
        assert each.share is None or 0 <= each.share <= 1, each
    assert said.excluded or said.missing
    if said.verdict is Verdict.INCONCLUSIVE:
        assert said.missing or said.findings or said.rows < 1000
    _ranked_and_coded(said)


def _ranked_and_coded(said: Diagnosis) -> None:
    order = [Confidence.EXACT, Confidence.STRONG, Confidence.SUSPECTED, Confidence.INCONCLUSIVE]
    places = [order.index(each.confidence) for each in said.findings]
    assert places == sorted(places)
    expected = {Verdict.HEALTHY: 0, Verdict.INCONCLUSIVE: 4}.get(said.verdict, 1)
    assert EXITS.get(said.verdict.value, Exit.FINDING) == expected


@pytest.mark.parametrize("kind", sorted(_MAKERS))
def test_healthy_columns_of_any_kind_accuse_nobody(kind: str) -> None:
    contract, profile = _trained([kind, "skewed"], 3, derived=False, looked_up=0)
    for seed in (11, 12):
        random = np.random.default_rng(seed)
        cells = {"f0": _MAKERS[kind][1](random, 2400), "f1": _MAKERS["skewed"][1](random, 2400)}
        said = diagnose(_healthy(contract, profile, cells))
        assert said.verdict is Verdict.HEALTHY, said.findings


def test_two_hundred_columns_are_as_good_as_ten() -> None:
    some = sorted(_MAKERS.keys() - {"id", "word", "when"})
    kinds = [some[at % len(some)] for at in range(200)]
    contract, profile = _trained(kinds, 5, derived=False, looked_up=0)
    random = np.random.default_rng(6)
    cells = {f"f{at}": _MAKERS[kind][1](random, 1200) for at, kind in enumerate(kinds)}
    said = diagnose(_healthy(contract, profile, cells))
    assert said.verdict is Verdict.HEALTHY, said.findings


def _healthy(contract: Contract, profile: Profile, cells: dict[str, list[Any]]) -> Snapshot:
    count = len(next(iter(cells.values())))
    return Snapshot(
        scope=Scope(endpoint="e", served="m", since=_START, until=_START + timedelta(days=1)),
        contract=contract,
        profile=profile,
        replicas=[Replica(id="a", served="m", intended_digest="d", served_digest="d")],
        environment=[],
        live=_live(contract, profile, cells, 2),
        golden=Golden(
            gates=[Gate(name="golden_replay", result=GateResult.PASS)],
            at=_START + timedelta(hours=20),
        ),
        rows=Rows(
            ids=[f"r{at}" for at in range(count)],
            at=_START.timestamp() + np.arange(count) * 10.0,
            callers=np.array(["c0"] * count, dtype=object),
            columns={
                each.name: column_of(each.name, each.type.logical, cells[each.name])
                for each in contract.fields
            },
        ),
    )
