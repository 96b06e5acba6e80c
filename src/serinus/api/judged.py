"""What a rollout's guardrails say now, from the evidence that was kept last. It decides nothing.

The journal has the verdicts of each decision, and between two of them hours may pass.
"""

from typing import Any

from serinus.api.counts import kept_of
from serinus.rollout.judging import judge_kept
from serinus.rollout.moves import next_exposure
from serinus.rollout.replay import verdicts_mapping
from serinus.rollout.state import Position, RolloutState
from serinus.store.repository import Store

__all__ = ["judged_now"]


def judged_now(store: Store, state: RolloutState) -> list[dict[str, Any]]:
    """Its verdicts as the next look will see them; none where the journal has the last word.

    That is: once it goes back or is over, since what was decided by must stay to be read; while
    nothing is kept; and when the evidence can't be judged, which the controller journals itself.
    """
    if state.position in (Position.BACK, Position.END):
        return []
    kept = kept_of(store, state)
    if not kept.ledger.entries and not kept.outcomes:
        return []
    try:
        said = judge_kept(kept, state.evidence_key, state.spec, next_exposure(state))
    except (KeyError, TypeError, ValueError, ArithmeticError, IndexError):
        return []
    return verdicts_mapping(said)
