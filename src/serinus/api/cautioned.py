"""What the last diagnosis says against giving a rollout's candidate more traffic. Decides nothing.

For people, suspicions too: that a proved fault holds the rollout is said by its machine.
"""

from datetime import datetime
from typing import Any

from serinus.parity.diagnosis.finding import Verdict
from serinus.rollout.state import RolloutState
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store

__all__ = ["CAUTIONED", "caution_entry", "caution_of"]

#: Kind of the journal.
CAUTIONED = "rollout_cautioned"
#: Kind of the journal, as `serinus.api.diagnosis` writes it.
_DIAGNOSED = "diagnosed"
_FINE = (Verdict.HEALTHY.value, Verdict.DRIFT.value, Verdict.INCONCLUSIVE.value)


def caution_of(store: Store, endpoint_id: str, state: RolloutState) -> dict[str, Any] | None:
    """The diagnosis of the candidate when it found a fault since the rollout began, else None."""
    last = store.last_entry(endpoint_id, _DIAGNOSED, version=state.candidate)
    if last is None or last.at < state.started_at or state.phase.terminal:
        return None
    said = last.data
    if said["verdict"] in _FINE:
        return None
    where = f" in {', '.join(said['features'][:5])}" if said["features"] else ""
    return {
        "detail": said["detail"],
        "confidence": said["confidence"],
        "at": said["at"],
        "why": f"The last diagnosis of {state.candidate} is {said['detail']}{where} "
        f"({said['confidence']}): settle that before it gets more traffic.",
    }


def caution_entry(
    store: Store, endpoint_id: str, state: RolloutState, actor: str, verb: str, at: datetime
) -> list[JournalEntry]:
    """What the journal keeps when somebody goes on all the same; nothing when nothing is wrong."""
    caution = caution_of(store, endpoint_id, state)
    if caution is None:
        return []
    data = {"verb": verb, **caution}
    return [JournalEntry(actor, CAUTIONED, at, endpoint_id, data, rollout_id=state.id)]
