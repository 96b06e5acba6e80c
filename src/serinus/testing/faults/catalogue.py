"""Every fault by name: where it sits, what it does, what it is a case of; and texts into faults."""

import difflib
from dataclasses import dataclass
from enum import Enum

from serinus.errors import InvalidParameterValue
from serinus.testing.faults.client import CHANGES, ClientFault
from serinus.testing.faults.endpoint import HOOKS, EndpointFault
from serinus.testing.faults.store import STORE, StoreFault

__all__ = ["KINDS", "FaultKind", "Where", "fault"]


class Where(Enum):
    """Where a fault sits."""

    CLIENT = "client"
    ENDPOINT = "endpoint"
    STORE = "store"


@dataclass(frozen=True)
class FaultKind:
    """One kind of fault."""

    name: str
    where: Where
    #: Names of its arguments; those in brackets may be left out.
    arguments: tuple[str, ...]
    what: str
    #: The class that a diagnosis should name.
    fault: str

    @property
    def usage(self) -> str:
        """How to write it."""
        return ":".join((self.name, *self.arguments))


def _client(name: str, arguments: str, what: str, fault: str = "schema.semantics") -> FaultKind:
    return FaultKind(name, Where.CLIENT, tuple(arguments.split()), what, fault)


def _endpoint(name: str, arguments: str, what: str, fault: str) -> FaultKind:
    return FaultKind(name, Where.ENDPOINT, tuple(arguments.split()), what, fault)


def _store(name: str, arguments: str, what: str, fault: str) -> FaultKind:
    return FaultKind(name, Where.STORE, tuple(arguments.split()), what, fault)


_ALL = (
    _client("unit", "FIELD FACTOR [OFFSET]", "a number in another unit"),
    _client("rounded-unit", "FIELD FACTOR", "a number in another unit, rounded"),
    _client("fahrenheit-as-celsius", "FIELD", "degrees Celsius where Fahrenheit is meant"),
    _client("casing", "FIELD", "texts in the other letter case"),
    _client("padding", "FIELD", "texts with a blank behind"),
    _client("unicode", "FIELD", "texts in another Unicode form"),
    _client("empty", "FIELD", "nulls as empty texts"),
    _client("shift", "FIELD BY PERIOD [BASE]", "a clock or weekday in another zone"),
    _client("base", "FIELD BY", "counted from another base"),
    _client("null-as", "VALUE FIELD", "nulls as a number, such as -1"),
    _client("missing", "FIELD", "the field is not sent", "schema.structure"),
    _client("as-text", "FIELD", "numbers or booleans sent as text", "schema.structure"),
    _client("comma", "FIELD", "numbers with a decimal comma, as text", "schema.structure"),
    _client("swap", "FIELD FIELD", "two fields mixed up", "schema.semantics"),
    _client("cut", "FIELD LENGTH", "texts cut off"),
    _client("code", "FIELD", "numbers in place of labels", "schema.structure"),
    _client("overflow", "FIELD BITS [SCALE]", "whole numbers that ran over their type"),
    _client("clip", "FIELD LIMIT", "numbers cut off at a limit"),
    _client("day-month", "FIELD", "day and month of a date mixed up"),
    _client("big-integer", "FIELD", "whole numbers beyond 2^53", "schema.structure"),
    _client("duplicate-key", "FIELD", "a JSON object that has a key twice", "schema.structure"),
    _endpoint("parse-celsius", "FIELD", "the endpoint converts degrees", "preprocessing.parse"),
    _endpoint("parse-clip", "FIELD LIMIT", "the endpoint clips a number", "preprocessing.parse"),
    _endpoint("parse-scale", "FIELD FACTOR", "the endpoint scales", "preprocessing.parse"),
    _endpoint("parse-shift", "FIELD BY PERIOD", "the endpoint's clock", "preprocessing.parse"),
    _endpoint("parse-lower", "FIELD", "the endpoint lowers the case", "preprocessing.parse"),
    _endpoint("impute", "FIELD VALUE", "another constant for nulls", "preprocessing.transform"),
    _endpoint("batch-mean", "FIELD", "nulls by the batch's mean", "preprocessing.transform"),
    _endpoint("scaler-refit", "", "the scaler was fitted again", "preprocessing.transform"),
    _endpoint("column-order", "", "two columns of the vector swapped", "preprocessing.transform"),
    _endpoint("half-precision", "", "the vector in 16 bits", "preprocessing.transform"),
    _endpoint("single-precision", "", "the vector in 32 bits: harmless", "healthy"),
    _endpoint("last-bits", "", "arithmetic that differs from call to call: harmless", "healthy"),
    _endpoint("library-transform", "", "another library transforms otherwise", "environment"),
    _endpoint("library-score", "", "another library scores otherwise", "environment"),
    _endpoint("class-order", "", "the columns of the score swapped", "model.bug"),
    _endpoint("corrupt-weights", "", "a damaged model", "model.artefact"),
    _endpoint("row-order", "", "answers in another order than rows", "model.bug"),
    _endpoint("threshold", "LIMIT", "another decision threshold", "preprocessing.decision"),
    _store("lookup-miss", "FIELD", "lookups find nothing, and say so", "availability.miss"),
    _store("lookup-null", "FIELD", "lookups find nothing", "availability.miss"),
    _store("lookup-default", "FIELD VALUE", "a constant for the value", "availability.default"),
    _store("lookup-stale", "FIELD", "an older value", "staleness.old_value"),
    _store("lookup-aged", "FIELD HOURS", "an older value, with its age", "staleness.age"),
    _store("lookup-unit", "FIELD FACTOR", "another unit in the store", "preprocessing.unit"),
    _store("lookup-wrong-key", "FIELD", "another row's value", "preprocessing.compute"),
)
#: Name → kind.
KINDS = {each.name: each for each in _ALL}


def fault(
    spec: str, *, share: float = 1.0, seed: int = 0
) -> ClientFault | EndpointFault | StoreFault:
    """The fault that a text names, such as ``unit:distance:1.609``.

    ``share`` of the rows are touched, where it is not the endpoint's own. Raises
    InvalidParameterValue.
    """
    name, *arguments = spec.split(":")
    kind = KINDS.get(name)
    if kind is None:
        near = difflib.get_close_matches(name, KINDS, n=1)
        raise InvalidParameterValue(
            f"There is no fault '{name}'{f' (did you mean {near[0]!r}?)' if near else ''}; "
            "serinus fault list shows all."
        )
    least = sum(not each.startswith("[") for each in kind.arguments)
    if not least <= len(arguments) <= len(kind.arguments) or not all(arguments):
        raise InvalidParameterValue(f"'{spec}' is incomplete; write {kind.usage}.")
    if not 0.0 < share <= 1.0:
        raise InvalidParameterValue(
            f"A share of {share} makes no sense; give more than 0, up to 1."
        )
    try:
        return _made(kind, spec, tuple(arguments), share, seed)
    except ValueError as error:
        raise InvalidParameterValue(f"'{spec}' can't be read ({error}); write {kind.usage}.") from (
            error
        )


def _made(
    kind: FaultKind, spec: str, arguments: tuple[str, ...], share: float, seed: int
) -> ClientFault | EndpointFault | StoreFault:
    for each, text in zip(kind.arguments, arguments, strict=False):
        if each.strip("[]") not in ("FIELD", "VALUE"):
            float(text)
    if kind.where is Where.CLIENT:
        raw = kind.name == "duplicate-key"
        return ClientFault(spec, CHANGES[kind.name], arguments, share, seed, raw)
    if kind.where is Where.ENDPOINT:
        place, make = HOOKS[kind.name]
        return EndpointFault(spec, place, make(arguments))
    return StoreFault(spec, arguments[0], STORE[kind.name], arguments[1:], share, seed)
