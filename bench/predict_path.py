"""`python -m bench.predict_path`: what one call costs on each way to a model, as ratios in one run.

CPU time of this process, best of interleaved rounds, from checked rows to the answer. Every way
must give the answers of the slowest before it is timed.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.machine import describe, noise_ms
from bench.peers.models import case
from serinus.entities import Optimize
from serinus.parity.stages import estimator_of
from serinus.replica.card import read_card
from serinus.replica.direct import official
from serinus.replica.form import Form
from serinus.replica.intake import ColumnIntake
from serinus.replica.loaded import Model, Source
from serinus.replica.model import load_from
from serinus.replica.protocol import Format
from serinus.replica.unit import Unit

__all__ = ["main"]

_RESULT = Path(__file__).parent / "results" / "predict_path.json"
_SIZES = (1, 32, 128)
_ONE = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

#: A number of queued one-row requests → the answer for all of them.
Way = Callable[[list[Unit]], Any]


def main() -> int:
    """Time, show, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.predict_path", description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--output", type=Path, default=_RESULT)
    parser.add_argument("--full", action="store_true", help="four times the rounds")
    asked = parser.parse_args()
    if any(os.environ.get(name) != "1" for name in _ONE):
        # As in a replica: one thread, and known before anything reads it.
        again = [sys.executable, "-m", "bench.predict_path", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, **dict.fromkeys(_ONE, "1")})  # noqa: S606
    rounds = asked.rounds * (4 if asked.full else 1)
    result: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe(),
        "noise_ms": noise_ms(),
        "rounds": rounds,
        "models": {},
    }
    with tempfile.TemporaryDirectory(prefix="serinus-paths-") as work:
        for name in ("M1", "M2"):
            result["models"][name] = _measured(name, Path(work), rounds)
    asked.output.write_text(json.dumps(result, indent=1) + "\n")
    _show(result)
    return 0


def _measured(name: str, work: Path, rounds: int) -> dict[str, Any]:
    model = case(name, work).model
    ways, forms = _ways(model.path, work / f"{name}-forms")
    intake = ColumnIntake(read_card(model.path).columns)
    bodies = [model.bodies[at % len(model.bodies)] for at in range(max(_SIZES))]
    times: dict[str, dict[str, list[float]]] = {way: {} for way in ways}
    for size in _SIZES:
        for way, (reader, ask) in ways.items():
            units = [(reader or intake).parse(body, Format.JSON) for body in bodies[:size]]
            _check(way, ask(units), ways["pyfunc"][1](units))
            times[way][str(size)] = []
        for _ in range(rounds):
            for way, (reader, ask) in ways.items():
                units = [(reader or intake).parse(body, Format.JSON) for body in bodies[:size]]
                times[way][str(size)].append(_microseconds(ask, units))
    return {
        "forms": forms,
        "us_per_call": {
            way: {size: round(min(some), 1) for size, some in found.items()}
            for way, found in times.items()
        },
        "times_pyfunc": {
            way: {
                size: round(
                    median(a / b for a, b in zip(times["pyfunc"][size], some, strict=True)), 2
                )
                for size, some in found.items()
            }
            for way, found in times.items()
        },
    }


def _ways(path: Path, forms: Path) -> tuple[dict[str, tuple[Any, Way]], dict[str, str]]:
    """Way → whose reader makes its units (None: any), and how it answers them."""
    theirs, reader = official(read_card(path)), ColumnIntake(read_card(path).columns)
    estimator: Any = estimator_of(theirs)
    found: dict[str, tuple[Any, Way]] = {
        "pyfunc": (None, lambda units: theirs.predict(reader.frame(units))),
        "frame": (None, lambda units: estimator.predict(reader.frame(units))),
    }
    reasons = {}
    for way, optimize in (("direct", Optimize.NONE), ("onnx", Optimize.ONNX)):
        model = load_from(Source(path, optimize=optimize, forms=forms / way, convert_s=600.0))
        reasons[way] = f"{model.standing.form.value}: {model.standing.reason}"
        if isinstance(model.intake, ColumnIntake) and model.intake.as_block:
            found["array"] = (None, _on_arrays(model.loaded))
        if optimize is Optimize.NONE or model.standing.form is Form.ONNX:
            found[way] = (model.intake, _asking(model))
    return found, reasons


def _asking(model: Model) -> Way:
    return lambda units: model.predict(model.intake.join(units), None)


def _on_arrays(estimator: Any) -> Way:
    """The whole estimator; the direct way calls a pipeline's steps one by one."""

    def ask(units: list[Unit]) -> Any:
        rows = [row for unit in units for row in unit.data.cells]
        return estimator.predict(np.array(rows, dtype=np.float64))

    return ask


def _check(way: str, got: Any, wanted: Any) -> None:
    same = np.asarray(got).tolist() == np.asarray(wanted).tolist()
    if not same and not np.allclose(
        np.asarray(got, dtype=float), np.asarray(wanted, dtype=float), rtol=1e-5, atol=1e-6
    ):
        sys.exit(f"{way} answers otherwise than pyfunc; nothing is timed.")


def _microseconds(ask: Way, units: list[Unit]) -> float:
    """CPU time of one call: the best of so many as fill a twentieth of a second."""
    best, spent = float("inf"), 0.0
    while spent < 0.05:
        began = time.process_time()
        ask(units)
        took = time.process_time() - began
        best, spent = min(best, took), spent + max(took, 1e-6)
    return best * 1e6


def _show(result: dict[str, Any]) -> None:
    console = Console()
    for name, model in result["models"].items():
        table = Table(title=f"{name}: CPU µs per call, and how many times less than pyfunc")
        for column in ("way", *(f"{size} rows" for size in _SIZES)):
            table.add_column(column, justify="left" if column == "way" else "right")
        for way, times in model["us_per_call"].items():
            ratios = model["times_pyfunc"][way]
            cells = [f"{times[str(s)]:,.0f} ({ratios[str(s)]:.1f}x)" for s in _SIZES]
            table.add_row(way, *cells)
        console.print(table)
        for way, reason in model["forms"].items():
            console.print(f"{way}: {reason}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
