"""What gateways counted of a rollout, as JSON: also what was left out, and why. Judges nothing."""

from typing import Any

import msgspec

from serinus.evidence.outcomes import OutcomeLine
from serinus.evidence.summary import Arm, StageSummary
from serinus.rollout.judging import Kept
from serinus.rollout.state import RolloutState
from serinus.store.repository import Store

__all__ = ["counts_resource", "kept_of"]


def counts_resource(store: Store, state: RolloutState) -> dict[str, Any]:
    """By stage and arm what was counted, and by guardrail the outcomes; as last kept."""
    kept = kept_of(store, state)
    return {
        "counts": [_stage(total) for total in kept.ledger.stages(state.evidence_key)],
        "outcomes": [_outcomes(name, line) for name, line in sorted(kept.outcomes.items())],
    }


def kept_of(store: Store, state: RolloutState) -> Kept:
    """The rollout's evidence as it was last kept."""
    stored = store.rollouts.evidence(state.evidence_key)
    return Kept() if stored is None else msgspec.convert(stored, Kept, str_keys=True)


def _stage(total: StageSummary) -> dict[str, Any]:
    return {
        "stage": total.stage,
        "weight_bp": total.candidate_bp,
        "control_bp": total.control_bp,
        "arms": {arm.value: _arm(total, arm) for arm in Arm},
        "shadow": {"pairs": total.shadow.pairs, "not_compared": total.shadow.not_compared},
        "keys_dropped": total.keys_dropped,
        "exposures_dropped": total.exposures_dropped,
    }


def _arm(total: StageSummary, arm: Arm) -> dict[str, Any]:
    side = total.arm(arm)
    return {
        "requests": side.requests,
        "units": side.units,
        "errors": {each.value: count for each, count in side.errors.items()},
        # Those at the model's fault, one per cause.
        "error_events": total.error_events(arm),
        "excluded": {each.value: count for each, count in side.excluded.items()},
    }


def _outcomes(name: str, line: OutcomeLine) -> dict[str, Any]:
    missing, stable_missing = line.missing()
    mine = sum(sum(window.candidate.values()) for window in line.windows)
    return {
        "name": name,
        "candidate": {"outcomes": mine, "missing": missing},
        "stable": {"outcomes": line.labelled - mine, "missing": stable_missing},
    }
