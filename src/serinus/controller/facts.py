"""What a rollout is told of the world: a snapshot read with one rollout's eyes. Pure."""

from collections.abc import Mapping

from serinus.controller.groups import Group, group_of
from serinus.controller.routes import stage_of
from serinus.controller.snapshot import Crashes, RolloutView, Snapshot
from serinus.entities import Deployment, ServedEntity
from serinus.rollout.events import Facts, GuardrailVerdict, PoolState, Verification

__all__ = ["facts_of"]

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
    stage = _acknowledged_stage(snapshot, view)
    return Facts(
        candidate=candidate,
        candidate_reason=why,
        stable_ready=stable is PoolState.READY,
        control=control,
        acknowledged_stage=stage,
        acknowledged_at=snapshot.at if stage >= 0 else None,
        # Parity gates come with contracts; without them nothing was verified, and it says so.
        verification=Verification.WAIVED,
        verification_reason="this version of Serinus has no parity gates",
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


def _acknowledged_stage(snapshot: Snapshot, view: RolloutView) -> int:
    """The rollout's stage if every gateway that may be serving serves by it, else -1."""
    if snapshot.acknowledged < snapshot.published.generation:
        return -1
    for endpoint in snapshot.published.endpoints:
        if endpoint.name == view.state.endpoint and endpoint.stage == stage_of(view):
            return view.state.stage
    return -1
