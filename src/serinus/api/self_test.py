"""What a self-test says about the gate: stable was compared with itself, so any alarm is false.

From the rollout's state and its last verdicts; it decides nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from serinus.evidence.ratio import MISMATCH_ALPHA
from serinus.rollout.events import Verdict
from serinus.rollout.state import Phase, RolloutState

__all__ = ["self_test_resource"]


def self_test_resource(
    state: RolloutState, guardrails: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """How each guardrail came out, how near it came to an alarm, and whether there was one."""
    alpha = state.spec.confidence.false_rollback / max(len(state.spec.guardrails), 1)
    found = [_guardrail(each, alpha) for each in guardrails]
    over = state.phase in (Phase.SUCCEEDED, Phase.ROLLED_BACK)
    return {
        "over": over,
        "passed": state.phase is Phase.SUCCEEDED and not any(each["alarm"] for each in found),
        "false_alarms": [each["name"] for each in found if each["alarm"]],
        "looks": max((each["looks"] for each in found), default=0),
        "false_rollback": state.spec.confidence.false_rollback,
        "guardrails": found,
        "said": _said(found, over=over),
    }


def _guardrail(said: Mapping[str, Any], alpha: float) -> dict[str, Any]:
    smallest = float(said.get("smallest_p", 1.0))
    torn = said["verdict"] == Verdict.INVALID.value
    return {
        "name": said["name"],
        "verdict": said["verdict"],
        "looks": int(said.get("looks", 0)),
        "smallest_p": smallest,
        # A p at or below this is REGRESSED; a split that is called broken, INVALID.
        "alarm_at_p": MISMATCH_ALPHA if torn else alpha,
        "alarm": torn or smallest <= alpha or said["verdict"] == Verdict.REGRESSED.value,
    }


def _said(found: list[dict[str, Any]], *, over: bool) -> str:
    alarms = [each for each in found if each["alarm"]]
    looks = max((each["looks"] for each in found), default=0)
    if alarms:
        names = " and ".join(
            f"{each['name']} ({each['verdict']}, smallest p {each['smallest_p']:.2g})"
            for each in alarms
        )
        return (
            f"A false alarm: stable was called different from itself by {names}. A rollback for "
            "that would have been wrong."
        )
    if not looks:
        return "Nothing could be compared yet; a self-test needs traffic."
    nearest = min(found, key=lambda each: float(each["smallest_p"]))
    so_far = "" if over else " so far"
    return (
        f"No false alarm{so_far} in {looks:,} looks: the smallest p was "
        f"{nearest['smallest_p']:.2g} ({nearest['name']}); {nearest['alarm_at_p']:.2g} would have "
        "been an alarm."
    )
