"""Units of a rollout that changed sides while no weight did, told by sampled requests.

It knows a unit that a body names, or that is the caller; a header is not kept. Judges nothing.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from serinus.api.starting import live_rollout
from serinus.entities import Endpoint
from serinus.parity.live import Record
from serinus.parity.sketch import OTHER_CALLER
from serinus.rollout.state import RolloutState
from serinus.store.repository import Store
from serinus.store.samples import Sampled
from serinus.traffic import Unit, UnitKind

__all__ = ["changed_sides", "switched_units"]

#: A request's unit; empty: it names none.
UnitOf = Callable[[Record], str]
#: Where a request says who sent it, unless an endpoint has a place of its own.
_CALLER = "header:x-caller"


def switched_units(store: Store, endpoint: Endpoint) -> tuple[int, int]:
    """Units that were answered by both sides since the last change of weights, and all of them.

    (0, 0) without a rollout, and while copies of requests go to the candidate: a copy is no choice.
    """
    rollout = live_rollout(store, endpoint.id)
    state = rollout.state if rollout is not None else None
    if state is None or state.stage_at is None or state.shadow_bp:
        return 0, 0
    unit_of = _finder(state.spec.unit, endpoint.caller or _CALLER)
    return (0, 0) if unit_of is None else changed_sides(_since(store, endpoint, state), unit_of)


def changed_sides(some: Iterable[Sampled], unit_of: UnitOf) -> tuple[int, int]:
    """(units that changed sides, units). Requests of one unit, the oldest first.

    Who asks a version by its name goes back and forth, or always to the same one. Where the
    assignment changed, units go once, and some of them each way.
    """
    sides: dict[str, list[str]] = {}
    for each in sorted(some, key=lambda each: each.record.at):
        unit = "" if each.record.violation else unit_of(each.record)
        if unit:
            way = sides.setdefault(unit, [])
            if not way or way[-1] != each.served_name:
                way.append(each.served_name)
    ways = [tuple(way) for way in sides.values() if len(way) == 2]
    both = any(way[::-1] in ways for way in set(ways))
    return (len(ways) if both else 0), len(sides)


def _since(store: Store, endpoint: Endpoint, state: RolloutState) -> list[Sampled]:
    if state.stage_at is None:
        return []
    since_us = int(state.stage_at.timestamp() * 1e6)
    names = (state.stable, state.candidate)
    return [
        each for name in names for each in store.samples.read(endpoint.id, name, since_us=since_us)
    ]


def _finder(unit: Unit, caller: str) -> UnitOf | None:
    if unit.kind is UnitKind.JSON_PATH:
        return lambda record: _at(record.body, unit.key.split("."))
    if f"{unit.kind.value}:{unit.key.lower()}" == caller.lower():
        return lambda record: "" if record.caller == OTHER_CALLER else record.caller
    return None


def _at(body: bytes | None, path: list[str]) -> str:
    """What is there in a JSON body; empty where it holds no text or whole number."""
    try:
        found: Any = msgspec.json.decode(body or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""
