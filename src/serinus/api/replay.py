"""A rollout's decisions looked at again, as the JSON of our own calls. It decides nothing."""

from collections.abc import Iterable
from typing import Any

from serinus.api.resources import rfc3339
from serinus.rollout.replay import Entry, Replayed, replay
from serinus.store.journal import JournalEntry
from serinus.store.rollouts import StoredRollout

__all__ = ["replay_resource"]


def replay_resource(rollout: StoredRollout, journal: Iterable[JournalEntry]) -> dict[str, Any]:
    """Each decision of the rollout, and whether it stands."""
    state = rollout.state
    decided = (
        Entry(each.id, each.at, each.actor, each.data)
        for each in journal
        if each.kind == "rollout_decided"
    )
    found = replay(state, decided)
    return {
        "rollout": state.id,
        "endpoint": state.endpoint,
        "stands": all(each.stands for each in found),
        "judged": sum(each.judged for each in found),
        "decisions": [_decision(each) for each in found],
    }


def _decision(each: Replayed) -> dict[str, Any]:
    data = each.entry.data
    return {
        "entry": each.entry.id,
        "at": rfc3339(each.entry.at),
        "actor": each.entry.actor,
        **{key: data.get(key) for key in ("event", "from", "to", "stage", "candidate_bp")},
        "next_bp": data.get("next_bp"),
        "judged": each.judged,
        "stands": each.stands,
        "against": list(each.against),
        "verdicts": [
            {
                "name": verdict.name,
                "verdict": verdict.verdict.value,
                "reason": verdict.reason,
                "safe_for_bp": verdict.safe_for_bp,
            }
            for verdict in each.verdicts
        ],
    }
