"""Requests that are wrong on purpose: each must be refused, never turned into something else."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from serinus.parity.contract import Contract, Field, Kind, Stage
from serinus.parity.folder import Bundle
from serinus.parity.gates.comparing import as_columns, compare, message_of, predictions
from serinus.parity.gates.golden import Replay
from serinus.parity.gates.sheet import Sheet, sheet_of
from serinus.parity.stages import tolerance_of
from serinus.parity.verification import Gate, GateResult
from serinus.parity.wire import Answer, Request, Running, Wire

__all__ = ["NAME", "Probe", "probes", "probes_gate"]

NAME = "negative_probes"

#: Fields that are probed; what holds for these holds for more.
_FIELDS = 40
#: Kinds of wrong requests that a report names.
_SHOWN = 8
_EXACT = 2**53 + 1
_UNKNOWN = "serinus-unknown"
_WRONG: dict[Kind, Sequence[object]] = {
    Kind.FLAG: ("false", "yes", 0, 7, None),
    Kind.WHOLE: ("7", 100.7, 2**63, True, None),
    Kind.NUMBER: ("12", "502,0", True),
    Kind.TEXT: (3, True),
    Kind.INSTANT: (1356998400000, 1356998400, "31/01/2013", True),
}


class Probe(NamedTuple):
    """One wrong request and what is wrong with it."""

    what: str
    request: Request


def probes_gate(bundle: Bundle, wire: Wire, running: Running, replayed: Replay) -> Gate:
    """Send every probe; raises WireLost."""
    if not running.strict:
        why = "Requests are read as MLflow reads them, as asked: wrong ones are let through."
        return Gate(name=NAME, result=GateResult.SKIPPED, detail=why)
    base = _base(replayed)
    if base is None:
        return Gate(
            name=NAME,
            result=GateResult.SKIPPED,
            detail="No request of the contract with named fields is answered, so there is none to "
            "make wrong.",
        )
    some = list(probes(bundle.contract, base))
    answers = wire.ask_many([each.request for each in some])
    bad = [
        _told(each, answer)
        for each, answer in zip(some, answers, strict=True)
        if not 400 <= answer.status < 500
    ]
    bad += _exactness(bundle.contract, wire, base)
    bad += _extra(wire, base)
    if not bad:
        detail = f"{len(some)} wrong requests are refused."
        return Gate(name=NAME, result=GateResult.PASS, detail=detail)
    kinds = {each.partition(" for the ")[0]: each for each in reversed(bad)}
    few = list(reversed(kinds.values()))[:_SHOWN]
    more = f"; and {len(bad) - len(few)} more" if len(bad) > len(few) else ""
    return Gate(
        name=NAME,
        result=GateResult.FAIL,
        fault="schema.structure",
        stage="S1",
        detail=f"{len(bad)} of {len(some) + 2} wrong requests are not refused: "
        f"{'; '.join(few)}{more}.",
    )


def _told(probe: Probe, answer: Answer) -> str:
    if answer.status == 200:
        return f"{probe.what} is answered"
    return f"{probe.what} ends in status {answer.status} ({message_of(answer)})"


def _base(replayed: Replay) -> Sheet | None:
    """One good row, as full as there is one."""
    pairs = zip(replayed.requests, replayed.answers, strict=True)
    sheet = sheet_of([request for request, answer in pairs if answer.status == 200])
    if sheet is None or not sheet.names or not sheet.rows:
        return None
    fullest = min(range(len(sheet.rows)), key=lambda at: sum(c is None for c in sheet.rows[at]))
    return sheet.take([fullest])


def probes(contract: Contract, base: Sheet) -> Iterator[Probe]:
    """Every wrong request for this contract; ``base`` is one row that is right."""
    fields = [each for each in contract.fields if each.name in base.names][:_FIELDS]
    for each in fields:
        yield from _of_field(each, base)
    yield from _of_request(fields, base)


def _of_field(field: Field, base: Sheet) -> Iterator[Probe]:
    for value in _WRONG.get(field.type.logical, ()):
        if value is None and field.null.allowed:
            continue
        shown = "null" if value is None else msgspec.json.encode(value).decode()
        said = f"{shown} for the {field.type.logical.value} '{field.name}'"
        yield Probe(said, base.with_cell(0, field.name, value).split())
    if field.type.physical == "integer":
        said = f"2^31 for the integer '{field.name}'"
        yield Probe(said, base.with_cell(0, field.name, 2**31).split())
    if field.unknown_category == "reject" and field.type.logical is Kind.TEXT:
        said = f"an unknown '{field.name}'"
        yield Probe(said, base.with_cell(0, field.name, _UNKNOWN).split())


def _of_request(fields: Sequence[Field], base: Sheet) -> Iterator[Probe]:
    for each in fields:
        if each.required and len(base.names) > 1:
            yield Probe(f"a request without '{each.name}'", _without(base, each.name).split())
    record = base.records()[0]
    text = msgspec.json.encode(record).decode()
    name = base.names[0]
    twice = f"{{{_pair(name, record[name])},{text[1:]}"
    yield Probe(
        f"a row that names '{name}' twice",
        Request(f'{{"dataframe_records":[{twice}]}}'.encode()),
    )
    numbers = [each.name for each in fields if each.type.logical is Kind.NUMBER]
    for literal in ("NaN", "Infinity") if numbers else ():
        cells = ",".join(
            literal if key == numbers[0] else msgspec.json.encode(value).decode()
            for key, value in record.items()
        )
        names = msgspec.json.encode(base.names).decode()
        body = f'{{"dataframe_split":{{"columns":{names},"data":[[{cells}]]}}}}'
        yield Probe(f"the literal {literal}", Request(body.encode()))
    whole = base.split().body
    yield Probe("half a request", Request(whole[: len(whole) // 2]))
    yield Probe("JSON called text/plain", Request(whole, "text/plain"))


def _pair(name: str, value: object) -> str:
    return f"{msgspec.json.encode(name).decode()}:{msgspec.json.encode(value).decode()}"


def _without(base: Sheet, name: str) -> Sheet:
    at = base.names.index(name)
    rows = tuple((*row[:at], *row[at + 1 :]) for row in base.rows)
    return Sheet((*base.names[:at], *base.names[at + 1 :]), rows)


def _exactness(contract: Contract, wire: Wire, base: Sheet) -> list[str]:
    """A whole number beyond 2^53 must arrive as it was sent, or be refused."""
    for field in contract.fields:
        if field.type.physical != "long" or field.name not in base.names:
            continue
        seen = wire.inspect([base.with_cell(0, field.name, _EXACT).split()])
        names, values = seen.columns.get("S1", []), seen.stages.get("S1", [])
        if field.name in names:
            got = int(np.asarray(values[names.index(field.name)])[0])
            if got != _EXACT:
                return [f"{_EXACT} for '{field.name}' arrives as {got}"]
        break
    return []


def _extra(wire: Wire, base: Sheet) -> list[str]:
    """A field that nobody asked for must change nothing, or be refused."""
    more = Sheet((*base.names, "serinus_extra"), tuple((*row, 1.0) for row in base.rows))
    plain, extra = wire.ask_many([base.split(), more.split()])
    one, other = predictions(plain, 1), predictions(extra, 1)
    if one is None or other is None:
        return [] if 400 <= extra.status < 500 else ["a request with an unknown field fails"]
    stage = Stage(name="answer", tolerance=tolerance_of("answer"))
    if compare(stage, as_columns(one), as_columns(other), []).count:
        return ["a field that the model doesn't know changes the answer"]
    return []
