"""How good sampled answers were in parts of the traffic, now and before: by caller and by word.

Only parts with enough outcomes on both sides; the figures of all of the traffic are others'. It
judges nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from serinus.parity.contract import Contract, Kind, Privacy
from serinus.parity.diagnosis.values import Measured
from serinus.store.samples import Sampled

__all__ = ["Answered", "Earlier", "parts_of"]

#: A request of one row, and its answer as a number or a text.
Answered = tuple[Sampled, Any]
#: Outcomes of a part on either side, and the share of its requests that must have one.
_FEWEST, _TOLD = 200, 0.5
#: A part that is nearly all of the traffic is no part; fields with more words make no parts.
_NEARLY_ALL, _WORDS = 0.9, 50
_MOST = 20


@dataclass(frozen=True)
class Earlier:
    """What came before, to compare with."""

    rows: Sequence[Answered]
    #: The version that answered; empty: the same.
    version: str = ""


def parts_of(
    rows: Sequence[Answered],
    earlier: Earlier,
    contract: Contract,
    outcome: str,
    figure: Callable[[Sequence[tuple[float, Any]]], tuple[str, float]],
) -> Iterator[Measured]:
    """One for each part that can be compared, the worst first."""
    now, then = _parted(rows, contract), _parted(earlier.rows, contract)
    found = []
    for part in now.keys() & then.keys():
        told, before = _told(now[part], outcome), _told(then[part], outcome)
        enough = min(len(told), len(before)) >= _FEWEST and len(told) >= _TOLD * len(now[part])
        if not enough or len(now[part]) > _NEARLY_ALL * len(rows):
            continue
        metric, value = figure(told)
        found.append(
            Measured(
                metric=metric,
                value=value,
                labels=len(told),
                due=len(now[part]),
                part=part,
                before=figure(before)[1],
                before_labels=len(before),
                before_version=earlier.version,
            )
        )
    found.sort(key=lambda each: (each.value - (each.before or 0.0), each.part))
    yield from found[:_MOST]


def _told(rows: Iterable[Answered], outcome: str) -> list[tuple[float, Any]]:
    return [(s.outcomes[outcome], answer) for s, answer in rows if outcome in s.outcomes]


def _parted(rows: Iterable[Answered], contract: Contract) -> dict[str, list[Answered]]:
    """Part → its rows, as ``caller=web`` or ``origin=JFK``."""
    names = [
        each.name
        for each in contract.fields
        if each.type.logical in (Kind.TEXT, Kind.FLAG)
        and each.privacy is Privacy.PLAIN
        and (each.observed.distinct or 0) <= _WORDS
    ]
    found: dict[str, list[Answered]] = {}
    for each in rows:
        record = each[0].record
        if record.caller:
            found.setdefault(f"caller={record.caller}", []).append(each)
        row = record.rows[0] if record.rows else {}
        for name in names:
            if row.get(name) is not None:
                found.setdefault(f"{name}={str(row[name])[:60]}", []).append(each)
    return found
