"""`python -m bench.intake`: the strict intake beside MLflow's reading and `_enforce_schema`.

Both do the same work on the same values in turns, in this process; what comes out is compared.
CPU time of this thread counts, so that what else the machine does matters less. Exit code 0 when
everything was measured and both gave the same, whatever the ratios say.
"""

import argparse
import gc
import json
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from mlflow.models.utils import _enforce_schema
    from mlflow.types.schema import ColSpec, Schema
    from mlflow.utils.proto_json_utils import dataframe_from_parsed_json

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from bench.machine import describe, noise_ms
from serinus.replica.card import Column, ColumnType
from serinus.replica.intake import ColumnIntake
from serinus.replica.protocol import Format

_RESULTS = Path(__file__).resolve().parent / "results" / "intake.json"
_ROUNDS = 9
#: Twenty columns of all simple types that the two read alike.
_TYPES = (
    [ColumnType.DOUBLE] * 8
    + [ColumnType.LONG] * 4
    + [ColumnType.STRING] * 4
    + [ColumnType.BOOLEAN] * 2
    + [ColumnType.DATETIME] * 2
)
_COLUMNS = [Column(f"c{at}", type_) for at, type_ in enumerate(_TYPES)]
#: Rows → how many times faster it is to be.
_TARGETS = {1: 50.0, 1000: 5.0}


@dataclass(frozen=True, slots=True)
class Measured:
    """One kind of work on so many rows."""

    work: str
    rows: int
    serinus_us: float
    mlflow_us: float
    #: Median over the rounds of the ratio within one round.
    ratio: float
    target: float
    met: bool


def main() -> int:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.intake", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=_RESULTS, help="results file")
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    arguments = parser.parse_args()
    machine, at, noise = describe(), datetime.now(UTC), [noise_ms()]
    # As a replica does it.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    measured = [each for rows in _TARGETS for each in _measure(rows, arguments.rounds)]
    noise.append(noise_ms())
    report = {
        "date": at.isoformat(timespec="seconds"),
        "machine": machine,
        "noise_ms": [round(value, 2) for value in noise],
        "columns": [type_.value for type_ in _TYPES],
        "clock": "CPU time of the thread",
        "measured": [asdict(each) for each in measured],
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    _show(measured, Console() if Console().is_terminal else Console(width=132))
    return 0


def _measure(rows: int, rounds: int) -> list[Measured]:
    frame, split, records = _data(rows)
    schema = Schema([ColSpec(column.type.value, column.name) for column in _COLUMNS])
    intake = ColumnIntake(_COLUMNS)

    def read(body: bytes) -> Any:
        return intake.join([intake.parse(body, Format.JSON)])

    def theirs(body: bytes, orient: str) -> Any:
        data = json.loads(body)[f"dataframe_{orient}"]
        return _enforce_schema(dataframe_from_parsed_json(data, orient, schema), schema)

    works: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "a data frame, checked": (
            lambda: intake.accept(frame),
            lambda: _enforce_schema(frame, schema),
        ),
        "split → model input": (lambda: read(split), lambda: theirs(split, "split")),
        "records → model input": (lambda: read(records), lambda: theirs(records, "records")),
    }
    for ours, other in works.values():
        pd.testing.assert_frame_equal(ours(), other())
    return [_compare(name, rows, *work, rounds=rounds) for name, work in works.items()]


def _compare(
    work: str,
    rows: int,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    *,
    rounds: int,
) -> Measured:
    pairs = [(_cost(ours), _cost(theirs)) for _ in range(rounds)]
    ratio = statistics.median(other / own for own, other in pairs)
    own, other = (statistics.median(each) for each in zip(*pairs, strict=True))
    target = _TARGETS[rows]
    return Measured(
        work, rows, round(own, 1), round(other, 1), round(ratio, 1), target, ratio >= target
    )


def _cost(work: Callable[[], Any]) -> float:
    """CPU µs of one call: the median of a tenth of a second's worth."""
    taken: list[float] = []
    until = time.perf_counter() + 0.1
    while time.perf_counter() < until or len(taken) < 5:
        began = time.thread_time()
        work()
        taken.append(time.thread_time() - began)
    return statistics.median(taken) * 1e6


def _data(rows: int) -> tuple[Any, bytes, bytes]:
    random = np.random.default_rng(7)
    makers: dict[ColumnType, Callable[[], Any]] = {
        ColumnType.DOUBLE: lambda: random.normal(size=rows),
        ColumnType.LONG: lambda: random.integers(0, 5000, rows),
        ColumnType.STRING: lambda: random.choice(["AA", "UA", "DL", "B6"], rows),
        ColumnType.BOOLEAN: lambda: random.random(rows) < 0.3,
        ColumnType.DATETIME: lambda: (
            pd.Timestamp("2013-01-01")
            + pd.to_timedelta(random.integers(0, 80_000, rows), unit="min")
        ).astype("datetime64[ns]"),
    }
    frame = pd.DataFrame({column.name: makers[column.type]() for column in _COLUMNS})
    names = list(frame.columns)
    table = [[_cell(cell) for cell in row] for row in frame.itertuples(index=False)]
    split = {"dataframe_split": {"columns": names, "data": table}}
    records = {"dataframe_records": [dict(zip(names, row, strict=True)) for row in table]}
    return frame, json.dumps(split).encode(), json.dumps(records).encode()


def _cell(cell: Any) -> Any:
    return cell.isoformat() if isinstance(cell, pd.Timestamp) else cell


def _show(measured: list[Measured], console: Console) -> None:
    table = Table(title="Strict intake beside MLflow's: 20 columns, CPU µs per call")
    for name in ("work", "rows", "Serinus", "MLflow", "times faster", "target", "met"):
        table.add_column(name, justify="left" if name == "work" else "right")
    for each in measured:
        table.add_row(
            each.work,
            str(each.rows),
            f"{each.serinus_us:,.1f}",
            f"{each.mlflow_us:,.1f}",
            f"{each.ratio:.1f}",
            f"{each.target:.0f}",
            "yes" if each.met else "no",
        )
    console.print(table)


if __name__ == "__main__":
    raise SystemExit(main())
