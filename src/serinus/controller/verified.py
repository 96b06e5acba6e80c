"""What a verification means for who waits for it: the report read by the endpoint's policy. Pure.

Where the policy requires one, no version counts as verified of which no golden row was answered.
"""

from serinus.controller.snapshot import RolloutView, Snapshot
from serinus.entities import ServedEntity
from serinus.parity.verification import Gate, GateResult, Result, Verification
from serinus.rollout.checks import Checks
from serinus.rollout.events import Verification as Standing
from serinus.store.verifications import Verified, key_of

__all__ = ["asked_by_config", "asked_by_rollout", "counts", "standing_of", "why_failed"]

_SHOWN = 400
_NO_ROW = (
    "no golden row could be held against an answer of training, because the model came without a "
    "captured contract; make one with: serinus contract capture"
)


def asked_by_rollout(view: RolloutView) -> str:
    """Who asks, when a rollout does: each attempt on its own."""
    return f"{view.state.id}#{view.state.attempt}"


def asked_by_config(endpoint_id: str, version: int) -> str:
    """Who asks, when an endpoint's config does."""
    return f"{endpoint_id}/{version}"


def counts(verified: Verified | None, asked_for: str) -> bool:
    """Whether it is an answer to this question: a pass is one to any, a failure to its own.

    What failed is tried again for whoever asks next: the cause may be gone.
    """
    if verified is None or verified.report is None:
        return False
    return verified.report.result is Result.PASS or verified.asked_for == asked_for


def standing_of(
    snapshot: Snapshot, endpoint_id: str, entity: ServedEntity, asked_for: str
) -> tuple[Standing, str]:
    """How far the verification of this entity is, and why it is so."""
    if snapshot.verifications is None:
        return Standing.WAIVED, "nothing verifies models here"
    checks = snapshot.checks.get(endpoint_id, Checks.WARN)
    if checks is Checks.OFF:
        return Standing.WAIVED, "the endpoint's policy says verification: off"
    verified = snapshot.verifications.get(key_of(entity))
    if verified is not None and verified.report is None:
        return Standing.RUNNING, ""
    if verified is None or verified.report is None or not counts(verified, asked_for):
        return Standing.NONE, ""
    report = verified.report
    reason = why_failed(report)
    if not reason and checks is Checks.REQUIRED and not report.rows:
        reason = _NO_ROW
    if not reason:
        return Standing.PASS, _summary(report)
    return (Standing.FAIL if checks is Checks.REQUIRED else Standing.WARNED), reason


def why_failed(report: Verification) -> str:
    """The first gate that failed, in a line; empty for a report that passed."""
    if report.result is not Result.FAIL:
        return ""
    gate = report.failed
    return "its report names no gate" if gate is None else _line(gate)


def _line(gate: Gate) -> str:
    parts = [gate.fault, f"first at {gate.stage}" if gate.stage else ""]
    where = ", ".join(filter(None, parts))
    detail = gate.detail if len(gate.detail) <= _SHOWN else f"{gate.detail[:_SHOWN]}…"
    return f"gate {gate.name}{f' ({where})' if where else ''}: {detail or 'no detail'}"


def _summary(report: Verification) -> str:
    passed = sum(gate.result is GateResult.PASS for gate in report.gates)
    return f"{passed} of {len(report.gates)} gates passed on {report.rows} golden rows, none failed"
