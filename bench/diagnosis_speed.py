"""How long a diagnosis of a day takes: 50 fields, 3 versions, 8 callers, 24 hours.

``python -m bench.diagnosis_speed`` prints it; the counts are unpacked from bytes, as a store has
them, and the sampled rows are those of a day.
"""

import json
import resource
import sys
import time
from datetime import UTC, datetime, timedelta

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
from serinus.parity.diagnosis.diagnose import diagnose
from serinus.parity.diagnosis.rows import Rows, column_of
from serinus.parity.diagnosis.values import Golden, Replica, Scope, Snapshot
from serinus.parity.folding import Batch, fold
from serinus.parity.observe import joint_checks, observe
from serinus.parity.profiles import Profile
from serinus.parity.shape import Shape, shape_of
from serinus.parity.sketch import Sketch, SliceKey, pack, unpack
from serinus.parity.verification import Gate, GateResult

__all__ = ["main"]

FIELDS, VERSIONS, CALLERS, HOURS = 50, 3, 8, 24
TARGET_S = 10.0
_ROWS_AN_HOUR = 200  # of one caller
_START = datetime(2026, 11, 20, tzinfo=UTC)
_WORDS = [f"word-{at}" for at in range(12)]


def _kind(at: int) -> Kind:
    return Kind.TEXT if at % 5 == 4 else Kind.WHOLE if at % 5 == 3 else Kind.NUMBER


def _cells(rows: int, random: np.random.Generator) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for at in range(FIELDS):
        kind = _kind(at)
        if kind is Kind.TEXT:
            found[f"f{at}"] = random.choice(_WORDS, rows).tolist()
        elif kind is Kind.WHOLE:
            found[f"f{at}"] = random.integers(0, 400, rows).tolist()
        else:
            found[f"f{at}"] = random.gamma(3.0, 20.0, rows).round(2).tolist()
    return found


def _promised(random: np.random.Generator) -> tuple[Contract, Profile]:
    fields, profiles, columns = [], {}, []
    for name, cells in _cells(20_000, random).items():
        kind = _kind(int(name[1:]))
        column = column_of(name, kind, cells)
        if kind is Kind.WHOLE:
            whole = column.values.astype(np.int64)
            column = Column(name, kind, whole, column.null, physical="long")
        columns.append(column)
        observed, profiles[name] = observe(column, Privacy.PLAIN, "salt")
        fields.append(Field(name=name, type=Type(logical=kind), observed=observed))
    joint, means, scales = joint_checks(columns)
    profile = Profile(rows=20_000, fields=profiles, joint=joint, means=means, scales=scales)
    made = Contract(
        format=FORMAT,
        origin=Origin.CAPTURED,
        model=ModelIdentity(),
        fields=fields,
        inputs=Inputs(names=[each.name for each in fields]),
        outputs=Outputs(),
    )
    return made, profile


def _day(shape: Shape, random: np.random.Generator) -> dict[SliceKey, bytes]:
    first = int(_START.timestamp()) // 3600
    found = {}
    for hour in range(HOURS):
        for caller in range(CALLERS):
            sketch = Sketch()
            cells = _cells(_ROWS_AN_HOUR, random)
            if caller == 1 and hour >= HOURS // 2:
                cells["f0"] = [round(each * 2.54, 2) for each in cells["f0"]]  # type: ignore[operator]
            fold(sketch, shape, Batch(_ROWS_AN_HOUR, cells, requests=_ROWS_AN_HOUR))
            found[SliceKey("v0", f"caller-{caller}", first + hour)] = pack(sketch)
    return found


def main() -> int:
    """Print what it took; 1 when it took longer than it may."""
    random = np.random.default_rng(0)
    contract, profile = _promised(random)
    packed = _day(shape_of(contract, profile), random)
    cells = _cells(HOURS * 1000, random)
    for at in range(HOURS * 500 + 1, HOURS * 1000, CALLERS):  # the same caller, from noon on
        cells["f0"][at] = round(cells["f0"][at] * 2.54, 2)  # type: ignore[operator]
    rows = Rows(
        ids=[f"r{at}" for at in range(HOURS * 1000)],
        at=_START.timestamp() + np.arange(HOURS * 1000) * 3.6,
        callers=np.array([f"caller-{at % CALLERS}" for at in range(HOURS * 1000)], dtype=object),
        columns={name: column_of(name, _kind(int(name[1:])), some) for name, some in cells.items()},
    )
    took, worked = [], []
    said = ""
    for _ in range(VERSIONS):  # one diagnosis a version
        begun, cpu = time.perf_counter(), time.process_time()
        snapshot = Snapshot(
            scope=Scope(
                endpoint="e", served="v0", since=_START, until=_START + timedelta(hours=HOURS)
            ),
            contract=contract,
            profile=profile,
            replicas=[Replica(id="r", served="v0", intended_digest="d", served_digest="d")],
            environment=[],
            live={key: unpack(content) for key, content in packed.items()},
            golden=Golden(
                gates=[Gate(name="golden_replay", result=GateResult.PASS)],
                at=_START + timedelta(hours=20),
                rows=64,
            ),
            rows=rows,
        )
        said = diagnose(snapshot).detail
        took.append(time.perf_counter() - begun)
        worked.append(time.process_time() - cpu)
    told = {
        "fields": FIELDS,
        "callers": CALLERS,
        "hours": HOURS,
        "rows": len(rows),
        "state_mb": round(VERSIONS * sum(map(len, packed.values())) / 1e6, 1),
        "one_version_s": round(min(took), 2),
        "one_version_cpu_s": round(min(worked), 2),
        "all_versions_s": round(sum(took), 2),
        "target_s": TARGET_S,
        "said": said,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    print(json.dumps(told, indent=2))
    return int(min(took) > TARGET_S)


if __name__ == "__main__":
    sys.exit(main())
