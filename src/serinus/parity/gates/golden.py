"""Replays golden rows through a serving process: the first stage that differs names the class.

Callable alone, on a replica that serves users too: then ask for few rows at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from serinus.parity.arrays import StageValues
from serinus.parity.contract import Contract, Origin, Stage
from serinus.parity.folder import Bundle, GoldenRow
from serinus.parity.gates.cause import fault_of, in_words
from serinus.parity.gates.comparing import (
    Mismatch,
    as_columns,
    compare,
    in_order,
    message_of,
    predictions,
)
from serinus.parity.gates.jumping import told_of, without_jumps
from serinus.parity.gates.sheet import as_sent
from serinus.parity.gates.steadiness import Steadiness, twice
from serinus.parity.verification import Gate, GateResult
from serinus.parity.wire import Answer, Inspection, Request, Running, Wire

__all__ = ["NAME", "Replay", "replay"]

NAME = "golden_replay"

_MOST_ALONE = 8
#: What a process that computes otherwise each time may be taken for.
_COMPUTED = ("preprocessing.transform", "model.bug", "model")


@dataclass
class Replay:
    """What came of the golden rows."""

    gate: Gate
    #: The first stage that differs; "" when none does.
    stage: str = ""
    #: Every stage that was compared, in order.
    compared: list[Mismatch] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    #: The answers on the wire, one a request.
    answers: list[Answer] = field(default_factory=list)
    #: What the process made of all rows, for who needs the values.
    seen: Inspection = field(default_factory=Inspection)
    #: Rows answered otherwise alone than among the others; whose score jumps by a last digit.
    apart: list[int] = field(default_factory=list)
    jumped: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    @property
    def differs(self) -> bool | None:
        """Whether a golden row came out otherwise; None when nothing could be held against it."""
        return None if self.gate.result is GateResult.SKIPPED else bool(self.stage)


def replay(
    bundle: Bundle,
    wire: Wire,
    running: Running,
    *,
    environment_differs: bool = False,
    at_once: int = 0,
) -> Replay:
    """Send every golden row and look at every stage; raises WireLost.

    ``environment_differs``: a library that is known to matter does. ``at_once`` bounds the rows of
    one question, for a replica that serves; a model whose rows influence one another needs all of
    them at once, and gets them.
    """
    try:
        requests = [as_sent(row) for row in bundle.golden]
    except (ValueError, KeyError, TypeError) as error:
        return _skipped(f"Looked-up values find no place in the golden rows ({error}).")
    found = _skipped(_why_not(bundle))
    found.requests = requests
    found.answers = wire.ask_many(requests) if requests else []
    if found.gate.detail:
        return found
    independent = bundle.contract.model.rows_independent
    _look(bundle, wire, found, at_once if at_once and independent else len(requests))
    if at_once and independent and any(each.count for each in found.compared):
        # Alone among few they differ; perhaps not in the company that training had.
        _look(bundle, wire, found, len(requests))
    last = _on_the_wire(bundle, found, wire)
    if last is not None:
        found.compared.append(last)
    if any(row.pinned for row in bundle.golden):
        found.notes.append(
            "Looked-up fields were put into the golden requests as training had them."
        )
    found.notes += told_of(found.jumped)
    if any(each.single for each in found.compared):
        found.notes.append("Numbers arrive in single precision; the answers stand it.")
    found.gate = _judge(bundle, found, running, environment_differs=environment_differs)
    if found.gate.fault in _COMPUTED:
        found.gate = _again(bundle, found, wire)
    return found


def _look(bundle: Bundle, wire: Wire, found: Replay, size: int) -> None:
    """Inspect so many rows at a time and compare."""
    parts = [found.requests[at : at + size] for at in range(0, len(found.requests), size)]
    found.seen = _merged([wire.inspect(part) for part in parts], [len(part) for part in parts])
    compared = _compared(bundle, found)
    found.compared, found.jumped = without_jumps(compared, bundle.stages, found.seen.stages)


def _skipped(why: str) -> Replay:
    return Replay(Gate(name=NAME, result=GateResult.SKIPPED, detail=why))


def _why_not(bundle: Bundle) -> str:
    if bundle.contract.origin is Origin.DERIVED:
        return "The contract is derived: no answer is known to be right."
    if not bundle.golden or not bundle.stages:
        return "The contract has no golden rows."
    return ""


def _merged(parts: list[Inspection], sizes: list[int]) -> Inspection:
    if len(parts) == 1:
        return parts[0]
    found = Inspection(stages={}, columns={}, refused={}, missing={}, failed={})
    first = 0
    for part, size in zip(parts, sizes, strict=True):
        found.refused.update({at + first: why for at, why in part.refused.items()})
        found.missing.update(part.missing)
        found.failed.update(part.failed)
        found.columns.update(part.columns)
        first += size
    for name in found.columns:
        columns = [part.stages[name] for part in parts if name in part.stages]
        if len(columns) == len(parts) and len({len(each) for each in columns}) == 1:
            found.stages[name] = [_chained(each) for each in zip(*columns, strict=True)]
    return found


def _chained(parts: Sequence[Any]) -> Any:
    arrays = all(isinstance(each, np.ndarray) for each in parts)
    if arrays and len({each.shape[1:] for each in parts}) == 1:
        return np.concatenate(parts)
    return [value for part in parts for value in part]


def _compared(bundle: Bundle, found: Replay) -> list[Mismatch]:
    """Every stage that both sides have; a row that was refused differs from the first on."""
    rows = np.array([row.rows for row in bundle.golden])
    owner = np.repeat(np.arange(len(rows)), rows)
    there = ~np.isin(owner, list(found.seen.refused))
    compared = []
    for stage in in_order(bundle.contract.stages):
        expected = bundle.stages.get(stage.name)
        if expected is None or stage.name in found.seen.missing:
            continue
        if stage.name in found.seen.failed:
            why = f"it raised {found.seen.failed[stage.name]}"
            compared.append(Mismatch(stage=stage.name, rows=there.copy(), detail=why))
            continue
        got = found.seen.stages.get(stage.name)
        if got is not None:
            compared.append(_spread(stage, expected, got, found.seen, there))
    _add_refused(compared, found.seen, there, owner)
    return [_without_ties(each, bundle, found.seen) for each in compared]


def _spread(
    stage: Stage, expected: StageValues, got: StageValues, seen: Inspection, there: Any
) -> Mismatch:
    """Compare the rows that were taken; the places of the others stay equal here."""
    some = [_at(values, there) for values in expected]
    if stage.name == "S5":
        got = _decided(some, got)
    found = compare(stage, some, got, seen.columns.get(stage.name, []))
    whole = np.zeros(len(there), dtype=bool)
    whole[there] = found.rows
    return Mismatch(stage=stage.name, rows=whole, detail=found.detail, single=found.single)


def _at(values: Any, which: Any) -> Any:
    if isinstance(values, np.ndarray):
        return values[which]
    return [value for value, good in zip(values, which, strict=True) if good]


def _decided(expected: StageValues, got: StageValues) -> StageValues:
    """Labels of two classes as the booleans that capture had from a threshold."""
    one, other = expected[0], got[0]
    both = isinstance(one, np.ndarray) and isinstance(other, np.ndarray)
    if both and one.dtype.kind == "b" and other.dtype.kind in "iuf":
        return [other.astype(bool)]
    return got


def _add_refused(compared: list[Mismatch], seen: Inspection, there: Any, owner: Any) -> None:
    if not seen.refused:
        return
    at, why = next(iter(sorted(seen.refused.items())))
    row = int(np.argmax(owner == at))
    first = compared[0] if compared and compared[0].stage == "S1" else None
    rows = ~there if first is None else ~there | first.rows
    detail = f"row {row} is refused: {why}"
    refused = Mismatch(stage="S1", rows=rows, detail=detail)
    compared[: 1 if first is not None else 0] = [refused]


def _without_ties(found: Mismatch, bundle: Bundle, seen: Inspection) -> Mismatch:
    """A score on the threshold may fall on either side by its last digit; that is no decision."""
    limit, scores = bundle.contract.outputs.threshold, bundle.stages.get("S4")
    if (
        found.stage != "S5"
        or limit is None
        or not scores
        or len(scores) != 1
        or "S4" in seen.failed
    ):
        return found
    score = scores[0]
    if not isinstance(score, np.ndarray):
        return found
    column = bundle.contract.outputs.column
    score = score[:, column or 0] if score.ndim == 2 else score
    tied = np.abs(score - limit) <= 1e-6 + 1e-5 * abs(limit)
    rows = found.rows & ~tied
    return Mismatch(stage="S5", rows=rows, detail=found.detail if rows.any() else "")


def _on_the_wire(bundle: Bundle, found: Replay, wire: Wire) -> Mismatch | None:
    """The answers that clients get, where the process itself saw nothing wrong.

    A row that comes out otherwise alone than among the others is no fault of this gate: path
    identity tells it.
    """
    stage = next((each for each in bundle.contract.stages if each.name == "answer"), None)
    if stage is None or any(each.count for each in found.compared):
        return None
    wrong = np.zeros(sum(row.rows for row in bundle.golden), dtype=bool)
    detail, first = "", 0
    for row, request, answer in zip(bundle.golden, found.requests, found.answers, strict=True):
        some = _expected(bundle, first, row)
        said = "" if first in found.jumped else _wrong(stage, some, answer, row)
        if said and answer.status == 200 and _so_alone(found, wire, request, stage, some):
            found.apart.append(first)
        elif said:
            wrong[first : first + row.rows] = True
            detail = detail or f"row {first}, on the wire: {said}"
        first += row.rows
    return Mismatch(stage="answer", rows=wrong, detail=detail) if wrong.any() else None


def _so_alone(
    found: Replay, wire: Wire, request: Request, stage: Stage, expected: StageValues
) -> bool:
    """Whether the model itself answers this row otherwise when it is alone."""
    if len(found.apart) >= _MOST_ALONE:
        return True  # the first ones have shown what kind of model it is
    got = wire.inspect([request]).stages.get("answer")
    return got is not None and bool(compare(stage, expected, got, []).count)


def _expected(bundle: Bundle, first: int, row: GoldenRow) -> StageValues:
    found = []
    for values in bundle.stages["answer"]:
        some = values[first : first + row.rows]
        if isinstance(some, np.ndarray) and some.dtype.kind == "f":
            some = np.where(np.isfinite(some), some, np.nan)  # JSON has null for all of these
        found.append(some)
    return found


def _wrong(stage: Stage, expected: StageValues, answer: Answer, row: GoldenRow) -> str:
    if answer.status != 200:
        return f"refused: {message_of(answer)}"
    rows = predictions(answer, row.rows)
    if rows is None:
        return "the answer has another number of rows, or none"
    found = compare(stage, expected, as_columns(rows, stage.columns), [])
    return found.detail if found.count else ""


def _judge(bundle: Bundle, found: Replay, running: Running, *, environment_differs: bool) -> Gate:
    bad = next((each for each in found.compared if each.count), None)
    unseen = _unseen(bundle.contract, found)
    if bad is None:
        seen = ", ".join(each.stage for each in found.compared) or "nothing"
        blind = f" Not seen: {unseen}." if unseen else ""
        return Gate(
            name=NAME,
            result=GateResult.PASS,
            detail=f"{len(found.requests)} golden rows agree in {seen}.{blind}",
        )
    found.stage = bad.stage
    hidden = bad.stage == "answer" and len(found.compared) <= _stages_before_answer(found)
    fault = fault_of(bad.stage, bundle, running, environment=environment_differs, hidden=hidden)
    return Gate(
        name=NAME,
        result=GateResult.FAIL,
        fault=fault,
        stage=bad.stage,
        detail=in_words(bundle, bad, running, unseen),
    )


def _again(bundle: Bundle, found: Replay, wire: Wire) -> Gate:
    """The failed gate, once it is known whether the process gives one answer at all."""
    stage = next(each for each in bundle.contract.stages if each.name == found.stage)
    steady = twice(wire, found.requests, stage)
    if steady is Steadiness.STEADY:
        return found.gate
    digits = steady is Steadiness.LAST_DIGITS
    why = (
        "The same rows, computed twice by this process, differ in their last digits: its threads "
        "or its linear algebra add in another order each time."
        if digits
        else "The same rows, computed twice by this process, come out otherwise each time."
    )
    return msgspec.structs.replace(
        found.gate,
        fault="environment" if digits else found.gate.fault,
        detail=f"{found.gate.detail} {why}",
    )


def _stages_before_answer(found: Replay) -> int:
    """Of what a model without stages shows there are at most its fields and its answer."""
    return sum(each.stage in ("S1", "S2", "answer") for each in found.compared)


def _unseen(contract: Contract, found: Replay) -> str:
    lost = [each.name for each in in_order(contract.stages) if each.name in found.seen.missing]
    return ", ".join(f"{name} ({found.seen.missing[name]})" for name in lost)
