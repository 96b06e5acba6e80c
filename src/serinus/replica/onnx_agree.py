"""Holds a converted model against its original, row by row, and tells how they differ.

A row that one of the two refuses and the other answers is a difference like any other.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from serinus.errors import described
from serinus.parity.contract import Contract, Stage, Tolerance
from serinus.parity.gates.comparing import compare, in_order
from serinus.parity.stages import tolerance_of
from serinus.replica.excerpt import excerpt
from serinus.replica.onnx_plan import Guard
from serinus.replica.onnx_rows import Rows
from serinus.replica.unit import Unit

__all__ = ["Agreement", "agreement", "answers_of", "guards_of"]

#: Rows that are told one by one.
_TOLD = 10
#: Characters of one row.
_LONG = 240

#: Units of one row each → stage → its values.
Ask = Callable[[Sequence[Unit]], dict[str, Any]]


@dataclass
class Agreement:
    """What the comparison came to."""

    rows: int
    #: Places of the rows that differ.
    apart: list[int] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


@dataclass
class Answers:
    """What came for some rows."""

    #: Stage → values of the rows that were answered, in their order.
    stages: dict[str, Any]
    #: Place of a row → why it was refused.
    refused: dict[int, str]


def answers_of(ask: Ask, units: Sequence[Unit]) -> Answers:
    """All rows at once; where that is refused, each alone."""
    try:
        return Answers(ask(units), {})
    except Exception:  # noqa: BLE001 - a model may raise anything; which row it was is found out
        parts: list[dict[str, Any]] = []
        refused: dict[int, str] = {}
        for at, unit in enumerate(units):
            try:
                parts.append(ask([unit]))
            except Exception as error:  # noqa: BLE001 - as above
                refused[at] = described(error).splitlines()[0]
        names = parts[0].keys() if parts else ()
        return Answers({n: np.concatenate([part[n] for part in parts]) for n in names}, refused)


def agreement(contract: Contract | None, rows: Rows, theirs: Answers, ours: Answers) -> Agreement:
    """``theirs`` are the original's answers."""
    found = Agreement(len(rows.units))
    one_sided = theirs.refused.keys() ^ ours.refused.keys()
    for at in sorted(one_sided):
        by, why = ("the original", theirs) if at in theirs.refused else ("ONNX Runtime", ours)
        said = f"only {by} refuses it: {why.refused[at][:160]}"
        found.lines.append(f"{rows.names[at]}: {said}; {_cells(rows.units[at])}")
    both = [
        at for at in range(len(rows.units)) if at not in theirs.refused and at not in ours.refused
    ]
    apart = set(one_sided)
    for stage in _stages(contract, theirs.stages, ours.stages):
        one = _some(theirs, both, len(rows.units), stage.name)
        other = _some(ours, both, len(rows.units), stage.name)
        mismatch = compare(stage, [_plain(one)], [_plain(other)], [])
        places = [both[at] for at in np.flatnonzero(mismatch.rows)]
        found.lines += [
            f"{rows.names[at]}, {stage.name}: {_told(one, other, both.index(at))}; "
            f"{_cells(rows.units[at])}"
            for at in places
            if at not in apart
        ]
        apart |= set(places)
    found.apart = sorted(apart)
    left = len(found.lines) - _TOLD
    found.lines = [*found.lines[:_TOLD], *([f"… and {left} more"] if left > 0 else [])]
    return found


def guards_of(ask: Ask, probes: Iterable[tuple[Guard, Unit]]) -> list[Guard]:
    """Those of the probes that the original refuses, with its words."""
    found = []
    for guard, unit in probes:
        try:
            ask([unit])
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            if isinstance(error, ValueError) or guard.what == "absent":
                found.append(msgspec.structs.replace(guard, message=str(error)))
    return found


def _stages(contract: Contract | None, theirs: dict[str, Any], ours: dict[str, Any]) -> list[Stage]:
    """What both have. A label is a label, whatever a contract allows for numbers."""
    promised = {} if contract is None else {each.name: each for each in contract.stages}
    found = []
    for name in theirs.keys() & ours.keys():
        tolerance = promised[name].tolerance if name in promised else tolerance_of(name)
        if getattr(theirs[name], "dtype", np.dtype(object)).kind != "f":
            tolerance = Tolerance()
        found.append(Stage(name=name, tolerance=tolerance))
    return in_order(found)


def _some(answers: Answers, both: list[int], rows: int, stage: str) -> Any:
    answered = [at for at in range(rows) if at not in answers.refused]
    place = {at: number for number, at in enumerate(answered)}
    return answers.stages[stage][[place[at] for at in both]]


def _plain(values: Any) -> Any:
    return values if values.dtype.kind in "biuf" else list(values)


def _told(one: Any, other: Any, row: int) -> str:
    a, b = one[row], other[row]
    text = f"the original gives {_short(a)}, ONNX Runtime {_short(b)}"
    if getattr(a, "dtype", np.dtype(object)).kind == "f":
        away = np.max(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)))
        return f"{text} ({away:.3g} apart)"
    return text


def _cells(unit: Unit) -> str:
    return excerpt(msgspec.json.encode(unit.data.cells[0]).decode(), _LONG)


def _short(value: Any) -> str:
    return excerpt(str(value.tolist() if hasattr(value, "tolist") else value))
