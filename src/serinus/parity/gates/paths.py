"""The same rows on every path: alone, in batches, in every form of request. The answers must agree.

A row that is answered otherwise among others than alone shows a model whose rows influence one
another; such a model is served without batches, and this says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serinus.parity.contract import Contract, Kind, Stage
from serinus.parity.folder import Bundle, GoldenRow
from serinus.parity.gates.comparing import (
    Mismatch,
    as_columns,
    compare,
    in_order,
    message_of,
    predictions,
)
from serinus.parity.gates.golden import Replay
from serinus.parity.gates.sheet import FORMS, Sheet, sheet_of
from serinus.parity.gates.steadiness import Steadiness, steadiness
from serinus.parity.stages import tolerance_of
from serinus.parity.verification import Gate, GateResult
from serinus.parity.wire import Inspection, Request, Running, Wire

__all__ = ["NAME", "SIZES", "paths_gate"]

NAME = "path_identity"

#: Rows in one request.
SIZES = (7, 64)
_CHOSEN = 24


class _Refused(Exception):
    """A path did not answer as it should."""


@dataclass(frozen=True)
class _Rows:
    """The rows of this gate: all that were answered, and those that are compared."""

    sheet: Sheet
    chosen: list[int]
    stage: Stage
    contract: Contract

    def same(self, one: Sequence[Any], other: Sequence[Any]) -> Mismatch:
        """Hold two lists of predictions against each other."""
        names = self.stage.columns
        return compare(self.stage, as_columns(one, names), as_columns(other, names), [])


def paths_gate(bundle: Bundle, wire: Wire, running: Running, replayed: Replay) -> Gate:
    """Try every path; raises WireLost."""
    rows, why = _rows(bundle, replayed)
    if rows is None:
        return Gate(name=NAME, result=GateResult.SKIPPED, detail=why)
    try:
        alone = [_ask(wire, rows.sheet.take([at]).split(), 1)[0] for at in rows.chosen]
        failure = (
            _again(rows, wire, alone)
            or _in_company(rows, wire, alone)
            or _in_flight(rows, wire, alone)
            or _in_forms(rows, wire)
        )
    except _Refused as refused:
        failure = Gate(
            name=NAME,
            result=GateResult.FAIL,
            fault="model.bug",
            stage="answer",
            detail=str(refused),
        )
    if failure is not None:
        return failure
    sizes = ", ".join(map(str, (1, *SIZES)))
    forms = ", ".join(_forms(rows)) or "no other form"
    return Gate(
        name=NAME,
        result=GateResult.PASS,
        detail=f"{len(rows.chosen)} rows are answered alike in requests of {sizes} rows, many at "
        f"once, and as {forms}. {_batching(running)}",
    )


def _batching(running: Running) -> str:
    return "Served in batches." if running.batched else f"Served unbatched: {running.batching}."


def _rows(bundle: Bundle, replayed: Replay) -> tuple[_Rows | None, str]:
    pairs = zip(bundle.golden, replayed.requests, replayed.answers, strict=True)
    good = [(row, request) for row, request, each in pairs if each.status == 200]
    if not good:
        said = [message_of(each) for each in replayed.answers[:1]]
        why = said[0] if said else "there is no request to send"
        return None, f"No request of the contract is answered: {why}."
    sheet = sheet_of([request for _, request in good])
    if sheet is None or not sheet.rows:
        return None, "The contract's requests have no rows that could be sent otherwise."
    owners = [row for row, _ in good for _ in range(row.rows)]
    if len(owners) != len(sheet.rows):
        return None, "The contract's requests have another number of rows than it says."
    stage = next((each for each in bundle.contract.stages if each.name == "answer"), None)
    stage = stage or Stage(name="answer", tolerance=tolerance_of("answer"))
    telling = [at for at, row in enumerate(owners) if any("null" in case for case in row.covers)]
    spread = np.linspace(0, len(owners) - 1, min(_CHOSEN, len(owners))).astype(int)
    third = _CHOSEN // 3
    first = [*_places(replayed, good)[:third], *telling[:third]]
    chosen = list(dict.fromkeys([*first, *(int(each) for each in spread)]))[:_CHOSEN]
    return _Rows(sheet, chosen, stage, bundle.contract), ""


def _places(replayed: Replay, good: list[tuple[GoldenRow, Request]]) -> list[int]:
    """Where the rows that stood apart in the replay are among those that were answered."""
    if len(good) != len(replayed.requests):
        return []
    return replayed.apart


def _ask(wire: Wire, request: Request, rows: int) -> list[Any]:
    answer = wire.ask(request)
    if answer.status != 200:
        raise _Refused(f"{rows} rows in one request are refused: {message_of(answer)}")
    found = predictions(answer, rows)
    if found is None:
        raise _Refused(f"{_many(rows)} in one request got another number of predictions.")
    return found


def _many(rows: int) -> str:
    return "One row" if rows == 1 else f"{rows} rows"


def _again(rows: _Rows, wire: Wire, alone: list[Any]) -> Gate | None:
    """The same requests once more: does the model give one answer at all?"""
    some = rows.chosen[:4]
    more = [_ask(wire, rows.sheet.take([at]).split(), 1)[0] for at in some]
    first, names = alone[: len(some)], rows.stage.columns
    found = rows.same(first, more)
    steady = steadiness(rows.stage, as_columns(first, names), as_columns(more, names))
    if steady is Steadiness.STEADY:
        return None
    return Gate(
        name=NAME,
        result=GateResult.FAIL,
        fault="environment" if steady is Steadiness.LAST_DIGITS else "model.bug",
        stage="answer",
        detail=f"The same request, sent twice, is answered otherwise: {found.detail}.",
    )


def _in_company(rows: _Rows, wire: Wire, alone: list[Any]) -> Gate | None:
    """Several rows in one request, forwards and backwards."""
    for size in SIZES:
        for places, picked in _requests(rows, size):
            got = _ask(wire, rows.sheet.take(places).split(), len(places))
            kept = [got[places.index(at)] for at in picked]
            expected = [alone[rows.chosen.index(at)] for at in picked]
            found = rows.same(expected, kept)
            if found.count:
                return _influence(rows, wire, places, picked, found, (expected, kept))
    return None


def _requests(rows: _Rows, size: int) -> list[tuple[list[int], list[int]]]:
    """Rows of some requests of that size, and which of them are compared."""
    total = len(rows.sheet.rows)
    if size >= len(rows.chosen):
        others = [at for at in range(total) if at not in set(rows.chosen)]
        places = [*rows.chosen, *others[: max(size - len(rows.chosen), 0)]]
        return [(some, rows.chosen) for some in (places, places[::-1])]
    found = []
    for at in range(0, len(rows.chosen), size):
        some = rows.chosen[at : at + size]
        found.append((some[::-1], some))
    return found


def _influence(
    rows: _Rows,
    wire: Wire,
    places: list[int],
    picked: list[int],
    found: Mismatch,
    answers: tuple[list[Any], list[Any]],
) -> Gate:
    if _shuffled(*answers):
        return Gate(
            name=NAME,
            result=GateResult.FAIL,
            fault="model.bug",
            stage="answer",
            detail=f"A request of {len(places)} rows gets the right answers in another order.",
        )
    worst = picked[int(np.argmax(found.rows))]
    together = wire.inspect([rows.sheet.take(places).split()])
    by_itself = wire.inspect([rows.sheet.take([worst]).split()])
    stage, detail = _first_stage(rows.contract, by_itself, together, places.index(worst))
    kind = "preprocessing.batch"
    why = (
        "The rows of a request influence one another, so the model is served without batches; a "
        "client that sends one row still gets another answer than one that sends many."
    )
    if _only_null_texts(rows, [picked[at] for at in np.flatnonzero(found.rows)], picked):
        kind = "preprocessing.parse"
        why = (
            "Only rows with a null text differ: alone it is another kind of missing value than "
            "beside texts. Let the pipeline fill it in before anything else."
        )
    return Gate(
        name=NAME,
        result=GateResult.FAIL,
        fault=kind,
        stage=stage or "answer",
        detail=f"{found.count} of {len(picked)} rows are answered otherwise in a request of "
        f"{len(places)} rows than alone; {detail or found.detail}. {why}",
    )


def _shuffled(expected: list[Any], got: list[Any]) -> bool:
    try:
        one, other = (sorted(map(repr, each)) for each in (expected, got))
    except RecursionError:
        return False
    return one == other and len(set(one)) > 1


def _only_null_texts(rows: _Rows, wrong: list[int], picked: list[int]) -> bool:
    texts = [
        rows.sheet.names.index(each.name)
        for each in rows.contract.fields
        if each.type.logical is Kind.TEXT and each.name in rows.sheet.names
    ]
    null = {at for at in picked if any(rows.sheet.rows[at][place] is None for place in texts)}
    return bool(wrong) and set(wrong) <= null


def _first_stage(
    contract: Contract, alone: Inspection, together: Inspection, row: int
) -> tuple[str, str]:
    """The first stage at which a row among others is no longer what it is alone."""
    for stage in in_order(contract.stages):
        one, other = alone.stages.get(stage.name), together.stages.get(stage.name)
        if one is None or other is None:
            continue
        found = compare(stage, one, [values[row : row + 1] for values in other], [])
        if found.count:
            where = found.detail.removeprefix("row 0").lstrip(", ")
            return stage.name, f"first at {stage.name}: {where}" if where else ""
    return "", ""


def _in_flight(rows: _Rows, wire: Wire, alone: list[Any]) -> Gate | None:
    """Many requests at once, which the replica may put into one batch."""
    requests = [rows.sheet.take([at]).split() for at in rows.chosen]
    got = []
    for answer in wire.ask_many(requests):
        some = predictions(answer, 1)
        if some is None:
            raise _Refused(f"A row among requests sent at once is refused: {message_of(answer)}")
        got.append(some[0])
    found = rows.same(alone, got)
    if not found.count:
        return None
    return Gate(
        name=NAME,
        result=GateResult.FAIL,
        fault="model.bug",
        stage="answer",
        detail=f"{found.count} rows are answered otherwise among requests sent at once: "
        f"{found.detail}. Switch batching off for this model.",
    )


def _forms(rows: _Rows) -> dict[str, Callable[[Sheet], Request]]:
    if not rows.sheet.names:
        return {"instances": FORMS["instances"]}
    kinds = {each.name: each.type.logical for each in rows.contract.fields}
    found = dict(FORMS)
    if any(kinds.get(name, Kind.OTHER) is Kind.OTHER for name in rows.sheet.names):
        del found["CSV"]
    return found


def _in_forms(rows: _Rows, wire: Wire) -> Gate | None:
    """The same rows in each form of request, beside ``dataframe_split``."""
    for name, write in _forms(rows).items():
        sheet = rows.sheet.take(rows.chosen)
        if name == "CSV":
            sheet = sheet.take(sheet.plain_in_csv())
            if not sheet.rows:
                continue
        base, other = sheet.split(), write(sheet)
        expected = _ask(wire, base, len(sheet.rows))
        answer = wire.ask(other)
        got = predictions(answer, len(sheet.rows))
        found = None if got is None else rows.same(expected, got)
        if found is not None and not found.count:
            continue
        stage, detail = "S1", f"they are refused: {message_of(answer)}"
        if found is not None:
            stage, detail = _stage_of_form(rows, wire, base, other)
            detail = detail or found.detail
        return Gate(
            name=NAME,
            result=GateResult.FAIL,
            fault="preprocessing.parse",
            stage=stage or "answer",
            detail=f"The same rows mean something else as {name}: {detail}",
        )
    return None


def _stage_of_form(rows: _Rows, wire: Wire, base: Request, other: Request) -> tuple[str, str]:
    one, two = wire.inspect([base]), wire.inspect([other])
    for stage in in_order(rows.contract.stages):
        a, b = one.stages.get(stage.name), two.stages.get(stage.name)
        if a is None or b is None:
            continue
        found = compare(stage, a, b, two.columns.get(stage.name, []))
        if found.count:
            return stage.name, found.detail
    return "", ""
