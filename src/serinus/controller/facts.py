"""What a rollout is told of the world: a snapshot read with one rollout's eyes. Pure."""

from collections.abc import Mapping

from serinus.controller.groups import Group, group_of
from serinus.controller.routes import stage_of
from serinus.controller.snapshot import Crashes, RolloutView, Snapshot
from serinus.controller.verified import asked_by_rollout, standing_of
from serinus.entities import Deployment, ServedEntity
from serinus.rollout.events import Facts, GuardrailVerdict, PoolState, Verification
from serinus.rollout.state import Position

__all__ = ["acknowledged_stage", "facts_of"]

#: Ends in a row after which a version counts as unable to run.
_CRASH_LOOP = 3


def facts_of(
    snapshot: Snapshot,
    view: RolloutView,
    groups: Mapping[str, Group],
    *,
    verdicts: tuple[GuardrailVerdict, ...],
    shadow_requests: int,
) -> Facts:
    """The facts of this moment; ``verdicts`` and ``shadow_requests`` come from the evidence."""
    candidate, why = _pool(snapshot, view, groups, view.candidate)
    control = PoolState.READY
    if view.state.spec.control:
        control, _ = _pool(snapshot, view, groups, view.control)
    stable, _ = _pool(snapshot, view, groups, view.stable)
    stage = acknowledged_stage(snapshot, view)
    verification, verification_reason = _verification(snapshot, view)
    return Facts(
        candidate=candidate,
        candidate_reason=why,
        stable_ready=stable is PoolState.READY,
        control=control,
        acknowledged_stage=stage,
        acknowledged_at=snapshot.at if stage >= 0 else None,
        verification=verification,
        verification_reason=verification_reason,
        shadow_requests=shadow_requests,
        verdicts=verdicts,
    )


def _pool(
    snapshot: Snapshot, view: RolloutView, groups: Mapping[str, Group], entity: ServedEntity
) -> tuple[PoolState, str]:
    if entity.name == view.state.candidate:
        if entity.deployment is Deployment.FAILED:
            return PoolState.FAILED, entity.deployment_message
        if view.objection:
            return PoolState.FAILED, view.objection
    if entity.model is None or entity.environment is None:
        return PoolState.STARTING, ""
    group = groups.get(group_of(view.rollout.endpoint_id, entity))
    if group is None:
        return PoolState.STARTING, ""
    crashes: Crashes | None = snapshot.crashes.get(group.id)
    if group.ready and len(group.ready) >= entity.replicas:
        return PoolState.READY, ""
    if crashes is not None and crashes.count >= _CRASH_LOOP:
        return (
            PoolState.FAILED,
            f"its replicas ended {crashes.count} times in a row, last: {crashes.message}",
        )
    return PoolState.STARTING, ""


def _verification(snapshot: Snapshot, view: RolloutView) -> tuple[Verification, str]:
    """How far the gates before traffic are; nobody asks later on."""
    if view.state.position not in (Position.START, Position.VERIFY):
        return Verification.NONE, ""
    if view.state.waived:
        return Verification.WAIVED, f"waived by {view.state.waived}"
    if view.state.spec.self_test:
        return Verification.WAIVED, "it is the version that serves already"
    asked_for = asked_by_rollout(view)
    return standing_of(snapshot, view.rollout.endpoint_id, view.candidate, asked_for)


def acknowledged_stage(snapshot: Snapshot, view: RolloutView) -> int:
    """The rollout's stage if every gateway that may be serving serves by it, else -1."""
    if snapshot.acknowledged < snapshot.published.generation:
        return -1
    for endpoint in snapshot.published.endpoints:
        if endpoint.name == view.state.endpoint and endpoint.stage == stage_of(view):
            return view.state.stage
    return -1
