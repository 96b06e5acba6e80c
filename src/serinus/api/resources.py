"""From a stored rollout and its journal to the JSON of our own calls. It decides nothing."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from serinus.api.self_test import self_test_resource
from serinus.rollout.events import Verdict
from serinus.rollout.machine import why
from serinus.rollout.moves import steps_of
from serinus.rollout.render import to_mapping
from serinus.rollout.state import RolloutState
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store
from serinus.store.rollouts import StoredRollout

__all__ = [
    "entry_resource",
    "evidence_resource",
    "journal_of",
    "rfc3339",
    "rollout_resource",
    "settles_verdicts",
]

_PAGE = 1000


def rollout_resource(
    rollout: StoredRollout,
    journal: Iterable[JournalEntry],
    judged: Sequence[Mapping[str, Any]],
    at: datetime,
) -> dict[str, Any]:
    """A rollout as it is now. Fields may be added; these stay.

    ``judged`` is what its guardrails say now; without it, the journal's last word stands.
    """
    state = rollout.state
    spec = to_mapping(state.spec)
    steps = to_mapping(replace(state.spec, steps=steps_of(state)))["steps"]
    guardrails = _guardrails(state, journal, judged)
    tested = {"self_test": self_test_resource(state, guardrails)} if state.spec.self_test else {}
    return {
        "id": state.id,
        "endpoint": state.endpoint,
        "strategy": state.spec.strategy.value,
        "phase": state.phase.value,
        "reason": state.reason,
        "cause": state.cause.value if state.cause else None,
        "stable": state.stable,
        "candidate": state.candidate,
        "weight_bp": state.candidate_bp,
        "shadow_bp": state.shadow_bp,
        "control_bp": state.control_bp,
        "stage": state.stage,
        "step": state.step,
        "steps": steps,
        "position": state.position.value,
        "unit": spec["unit"],
        "guardrails": guardrails,
        **tested,
        "waiting_for": state.waiting_for,
        "why": why(state),
        "config_version": state.config_version,
        "attempt": state.attempt,
        "created_by": state.created_by,
        "started_at": rfc3339(state.started_at),
        "updated_at": rfc3339(state.updated_at),
        "ended_at": rfc3339(state.ended_at) if state.ended_at else None,
        "stage_at": rfc3339(state.stage_at) if state.stage_at else None,
        "stage_age_s": _age(state.stage_at, state.ended_at or at),
        "waiting_age_s": _age(state.waiting_since, state.ended_at or at),
        "spec": spec,
    }


def entry_resource(entry: JournalEntry) -> dict[str, Any]:
    """One journal entry."""
    return {
        "id": entry.id,
        "at": rfc3339(entry.at),
        "actor": entry.actor,
        "kind": entry.kind,
        "rollout": entry.rollout_id,
        "data": entry.data,
    }


def settles_verdicts(entry: JournalEntry) -> bool:
    """Whether nothing older can say what the verdicts are now."""
    decided = entry.kind == "rollout_decided"
    return decided and ("verdicts" in entry.data or entry.data.get("event") == "retry")


def evidence_resource(
    rollout: StoredRollout, journal: Iterable[JournalEntry], judged: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What the verdicts say: those of now, and the last ones of each stage."""
    entries = list(journal)
    stages: dict[int, dict[str, Any]] = {}
    for entry in entries:
        if entry.kind != "rollout_decided":
            continue
        data = entry.data
        stage = stages.setdefault(
            data["stage"],
            {
                "stage": data["stage"],
                "weight_bp": data["candidate_bp"],
                "shadow_bp": data["shadow_bp"],
                "from": rfc3339(entry.at),
                "guardrails": [],
            },
        )
        stage["guardrails"] = data.get("verdicts", stage["guardrails"])
    if judged and rollout.state.stage in stages:
        stages[rollout.state.stage]["guardrails"] = list(judged)
    return {
        "guardrails": _guardrails(rollout.state, entries, judged),
        "stages": list(stages.values()),
    }


def journal_of(store: Store, rollout_id: str) -> Iterator[JournalEntry]:
    """Every entry that speaks of the rollout, oldest first."""
    after = 0
    while page := store.rollouts.journal(rollout_id, after=after, limit=_PAGE):
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].id


def rfc3339(at: datetime) -> str:
    """``2026-03-01T12:00:00Z``, in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _age(since: datetime | None, at: datetime) -> float | None:
    return None if since is None else max(0.0, (at - since).total_seconds())


def _guardrails(
    state: RolloutState, journal: Iterable[JournalEntry], judged: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The newest verdicts of this attempt; a guardrail of which nothing was said is NO_DATA."""
    said: list[dict[str, Any]] = []
    for entry in journal:
        if entry.kind == "rollout_decided":
            said = [] if entry.data.get("event") == "retry" else entry.data.get("verdicts", said)
    said = [dict(each) for each in judged] or said
    silent = [
        guardrail.name
        for guardrail in state.spec.guardrails
        if not any(f"{each['name']}.".startswith(f"{guardrail.name}.") for each in said)
    ]
    nothing = {"verdict": Verdict.NO_DATA.value, "reason": "nothing was measured yet"}
    return said + [{"name": name, **nothing} for name in silent]
