"""Goes through a rollout's journal again and says which of its decisions stand. Pure.

Each decision is made twice: with the verdicts that were written down, and with those that the
evidence beside them gives now. It stands when both come to what the journal says was decided.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec

from serinus.errors import SerinusError
from serinus.rollout.asked import event_of
from serinus.rollout.events import Event, Facts, GuardrailVerdict, Observed
from serinus.rollout.judging import Kept, judge_kept
from serinus.rollout.machine import decide
from serinus.rollout.moves import next_exposure
from serinus.rollout.state import Decision, RolloutState, begin

__all__ = ["Entry", "Replayed", "facts_mapping", "replay", "verdicts_mapping"]

_OBSERVED = "observed"


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``rollout_decided`` of the journal."""

    id: int
    at: datetime
    actor: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Replayed:
    """One decision, looked at again."""

    entry: Entry
    #: What the kept evidence says; empty where nothing was judged.
    verdicts: tuple[GuardrailVerdict, ...] = ()
    #: True when the verdicts were computed from evidence, and not only read.
    judged: bool = False
    #: Why it does not stand, as sentences; empty when it does.
    against: tuple[str, ...] = field(default=())

    @property
    def stands(self) -> bool:
        """True when the same decision would be made again."""
        return not self.against


class _Unreadable(Exception):
    """An entry that lacks what a decision is made from."""


def facts_mapping(event: Observed) -> dict[str, Any]:
    """What was seen, as JSON values for the journal; the verdicts stand there on their own."""
    seen: dict[str, Any] = msgspec.to_builtins(replace(event.facts, verdicts=()))
    # The journal's own times are in milliseconds; a deadline can lie between two of them.
    return {"at": event.at.isoformat(), **seen}


def verdicts_mapping(verdicts: Iterable[GuardrailVerdict]) -> list[dict[str, Any]]:
    """What was said of each guardrail, as JSON values for the journal and whoever asks."""
    return [
        {
            "name": each.name,
            "verdict": each.verdict.value,
            "reason": each.reason,
            "safe_for_bp": each.safe_for_bp,
            "looks": each.looks,
            "smallest_p": each.smallest_p,
        }
        for each in verdicts
    ]


def replay(now: RolloutState, entries: Iterable[Entry]) -> tuple[Replayed, ...]:
    """Every decision of the rollout again, oldest first.

    ``now`` only says what the rollout was asked for; where it stood is computed from its beginning.
    """
    state = begin(
        id=now.id,
        endpoint=now.endpoint,
        spec=now.spec,
        stable=now.stable,
        candidate=now.candidate,
        candidate_digest=now.candidate_digest,
        config_version=now.config_version,
        actor=now.created_by,
        at=now.started_at,
        salt=now.salt,
    )
    found: list[Replayed] = []
    for entry in entries:
        state, replayed = _again(state, entry)
        found.append(replayed)
    return tuple(found)


def _again(state: RolloutState, entry: Entry) -> tuple[RolloutState, Replayed]:
    data, against = entry.data, []
    if data.get("from") != state.phase.value:
        against.append(
            f"The journal says that it was {data.get('from')}; by the decisions before, it was "
            f"{state.phase.value}."
        )
    try:
        event = _event(entry)
        written = decide(state, event)
    except (_Unreadable, SerinusError) as error:
        return state, Replayed(entry, against=(*against, str(error)))
    against += _differences(data, written, "what was written down")
    if not isinstance(event, Observed) or not data.get("evidence"):
        return written.state, Replayed(entry, _verdicts_in(event), against=tuple(against))
    try:
        verdicts = _judged(state, data)
        afresh = decide(state, replace(event, facts=replace(event.facts, verdicts=verdicts)))
    except (_Unreadable, SerinusError) as error:
        return written.state, Replayed(entry, against=(*against, str(error)))
    if data["next_bp"] != next_exposure(state):
        against.append(
            f"It was judged for {data['next_bp'] / 100:g}%; the next step takes "
            f"{next_exposure(state) / 100:g}%."
        )
    against += _changed(event.facts.verdicts, verdicts)
    against += _differences(data, afresh, "its evidence")
    return written.state, Replayed(entry, verdicts, judged=True, against=tuple(against))


def _event(entry: Entry) -> Event:
    data = entry.data
    try:
        if data["event"] != _OBSERVED:
            return event_of(data["event"], entry.actor, entry.at, data["asked"])
        seen = msgspec.convert(data["facts"], Facts)
        verdicts = msgspec.convert(data.get("verdicts", ()), tuple[GuardrailVerdict, ...])
        at = datetime.fromisoformat(data["facts"]["at"])
        return Observed(at, replace(seen, verdicts=verdicts))
    except (KeyError, TypeError, ValueError) as error:
        # msgspec's own ValidationError is a ValueError.
        raise _Unreadable(
            f"The entry does not hold what the decision was made from ({error})."
        ) from error


def _judged(state: RolloutState, data: Mapping[str, Any]) -> tuple[GuardrailVerdict, ...]:
    try:
        kept = msgspec.convert(data["evidence"], Kept, str_keys=True)
        return judge_kept(kept, state.evidence_key, state.spec, data["next_bp"])
    except (KeyError, TypeError, ValueError, ArithmeticError, IndexError) as error:
        raise _Unreadable(f"The evidence of the entry can't be judged ({error}).") from error


def _verdicts_in(event: Event) -> tuple[GuardrailVerdict, ...]:
    return event.facts.verdicts if isinstance(event, Observed) else ()


def _changed(
    written: tuple[GuardrailVerdict, ...], computed: tuple[GuardrailVerdict, ...]
) -> list[str]:
    was = {each.name: each for each in written}
    told = []
    for each in computed:
        before = was.pop(each.name, None)
        if before is None:
            told.append(f"{each.name} is {each.verdict.value}, and nothing was written of it.")
        elif (before.verdict, before.safe_for_bp) != (each.verdict, each.safe_for_bp):
            told.append(f"{each.name} was written down as {_shown(before)} and is {_shown(each)}.")
    told += [f"{name} was written down, and nothing asks for it." for name in was]
    return told


def _shown(each: GuardrailVerdict) -> str:
    return f"{each.verdict.value} (safe for {each.safe_for_bp / 100:g}%)"


def _differences(data: Mapping[str, Any], decision: Decision, basis: str) -> list[str]:
    state = decision.state
    decided = {
        "to": state.phase.value,
        "stage": state.stage,
        "candidate_bp": state.candidate_bp,
        "shadow_bp": state.shadow_bp,
        "cause": state.cause.value if state.cause else None,
        "effects": [type(each).__name__ for each in decision.effects],
    }
    written = {
        **data,
        "effects": [each.get("kind") for each in data.get("effects", ())],
    }
    return [
        f"By {basis}, {key} is {value!r}; the journal says {written.get(key)!r}."
        for key, value in decided.items()
        if written.get(key) != value
    ]
