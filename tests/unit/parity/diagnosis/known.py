"""A small endpoint's facts, made of numbers alone: no model, no frame."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np

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
from serinus.parity.diagnosis.rows import Rows, column_of
from serinus.parity.diagnosis.values import Golden, Replica, Scope, Snapshot
from serinus.parity.folding import Batch, fold
from serinus.parity.observe import joint_checks, observe
from serinus.parity.profiles import Profile
from serinus.parity.shape import shape_of
from serinus.parity.sketch import Sketch, SliceKey
from serinus.parity.verification import Gate, GateResult

__all__ = ["CALLERS", "PASSED", "START", "contract", "rows_like_training", "snapshot"]

START = datetime(2026, 11, 20, tzinfo=UTC)
CALLERS = ("web", "app")
PASSED = Gate(name="golden_replay", result=GateResult.PASS)
_KINDS = {
    "size": Kind.WHOLE,
    "height": Kind.NUMBER,
    "weight": Kind.NUMBER,
    "hour": Kind.WHOLE,
    "plan": Kind.TEXT,
    "stock": Kind.NUMBER,
    "pressure": Kind.NUMBER,
    "wind": Kind.WHOLE,
}


def rows_like_training(count: int, seed: int) -> dict[str, list[Any]]:
    """Rows of a shop: a size in whole grams, a height and a weight that go together."""
    random = np.random.default_rng(seed)
    height = random.gamma(6.0, 4.0, count)
    return {
        "size": [int(each) for each in random.choice(np.arange(120, 4000, 17), count)],
        "height": height.round(3).tolist(),
        "weight": (3 * height + random.normal(0, 2, count)).round(3).tolist(),
        "hour": [int(each) for each in random.choice(24, count, p=_day())],
        "plan": [str(each) for each in random.choice(["Gold", "Silver", "Free"], count)],
        "stock": (random.random(count) * 50).round(2).tolist(),
        "pressure": random.normal(1013, 9, count).round(1).tolist(),
        "wind": [int(each) % 360 for each in random.normal(240, 60, count)],
    }


def _day() -> Any:
    night, day, evening = [1, 1, 1, 1, 2, 4, 8, 14], [20, 24, 22, 18, 16, 15, 14, 13], [14, 17, 20]
    weights = np.array([*night, *day, *evening, 16, 9, 5, 3, 2], dtype=float)
    return weights / weights.sum()


@lru_cache
def contract(looked_up: tuple[str, ...] = ()) -> tuple[Contract, Profile]:
    """What training promised of them."""
    training = rows_like_training(8000, 1)
    fields, profiles, columns = [], {}, []
    for name, kind in _KINDS.items():
        column = column_of(name, kind, training[name])
        if kind is Kind.WHOLE:
            whole = column.values.astype(np.int64)
            column = Column(name, kind, whole, column.null, physical="long")
        columns.append(column)
        observed, profiles[name] = observe(column, Privacy.PLAIN, "salt")
        fields.append(
            Field(
                name=name,
                type=Type(logical=kind),
                source="lookup:shelves" if name in looked_up else "request",
                observed=observed,
            )
        )
    joint, means, scales = joint_checks(columns)
    profile = Profile(rows=8000, fields=profiles, joint=joint, means=means, scales=scales)
    made = Contract(
        format=FORMAT,
        origin=Origin.CAPTURED,
        model=ModelIdentity(),
        fields=fields,
        inputs=Inputs(names=list(_KINDS)),
        outputs=Outputs(),
    )
    return made, profile


def snapshot(
    cells: dict[str, list[Any]],
    *,
    looked_up: tuple[str, ...] = (),
    gates: tuple[Gate, ...] = (PASSED,),
    golden_at: datetime = START + timedelta(hours=20),
    serves: str = "d2",
    senders: Any | None = None,
    **more: Any,
) -> Snapshot:
    """A day of these rows, by two callers or as told, on an endpoint that passed its replay."""
    made, profile = contract(looked_up)
    shape = shape_of(made, profile)
    count = len(cells["size"])
    hours = np.arange(count) * 24 // count
    callers = np.array([CALLERS[at % 2] for at in range(count)], dtype=object)
    if senders is not None:
        callers = np.asarray(senders, dtype=object)
    first = int(START.timestamp()) // 3600
    live: dict[SliceKey, Sketch] = {}
    for hour in range(24):
        for caller in CALLERS:
            at = np.flatnonzero((hours == hour) & (callers == caller))
            if len(at):
                some = {name: [values[i] for i in at] for name, values in cells.items()}
                sketch = live.setdefault(SliceKey("m", caller, first + hour), Sketch())
                fold(sketch, shape, Batch(len(at), some, requests=len(at)))
    rows = Rows(
        ids=[f"r{at}" for at in range(count)],
        at=START.timestamp() + hours * 3600.0,
        callers=callers,
        columns={name: column_of(name, _KINDS[name], values) for name, values in cells.items()},
    )
    replicas = [Replica(id="a", served="m", intended_digest="d2", served_digest=serves)]
    known: dict[str, Any] = {"rows": rows, "replicas": replicas, **more}
    return Snapshot(
        scope=Scope(endpoint="shop", served="m", since=START, until=START + timedelta(days=1)),
        contract=made,
        profile=profile,
        environment=[],
        live=live,
        golden=Golden(gates=list(gates), at=golden_at, rows=64),
        **known,
    )
