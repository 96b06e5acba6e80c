"""Decides: one snapshot in, a list of actions out. Pure; it reads no clock and touches nothing.

A replica runs because a config wants its *group* (same endpoint, name, model, environment and
variables). Configs that agree on an entity share its group: a change of weights restarts nothing.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from serinus.controller.form import told_form
from serinus.controller.groups import Group, group_of, groups_of
from serinus.controller.routes import routes_of
from serinus.controller.snapshot import (
    Action,
    Activate,
    Crashes,
    EnsureReplica,
    Fail,
    ForgetReplica,
    NoteCrash,
    Publish,
    Purge,
    Resolve,
    RetireReplica,
    SaveEntity,
    Snapshot,
)
from serinus.controller.verified import asked_by_config, standing_of
from serinus.engine.engine import ReplicaPhase, ReplicaSpec, ReplicaStatus, StagePhase
from serinus.engine.optimize import stage_key
from serinus.entities import (
    ConfigUpdate,
    Deployment,
    Endpoint,
    EndpointConfig,
    ServedEntity,
)
from serinus.rollout.checks import Checks
from serinus.rollout.events import Verification
from serinus.store.verifications import key_of

__all__ = ["backoff", "reconcile"]

_BACKOFF_LIMIT = timedelta(seconds=60)
#: A replica that lasted this long ends a row of crashes.
_SETTLED = timedelta(seconds=60)


def backoff(count: int) -> timedelta:
    """How long after the ``count``-th crash in a row the next start waits: 0, 1, 2, 4 … 60 s."""
    if count <= 1:
        return timedelta(0)
    return min(timedelta(seconds=2.0 ** min(count - 2, 6)), _BACKOFF_LIMIT)


def reconcile(snapshot: Snapshot) -> list[Action]:
    """All that should be done now, in the order in which to do it."""
    if snapshot.replicas is None:
        # An engine that can't say must not cost anybody their routes, nor keep a token in force.
        return _regrant(snapshot)
    groups = groups_of(snapshot)
    actions: list[Action] = []
    cutting: set[str] = set()
    for endpoint in snapshot.endpoints:
        if endpoint.deleted:
            continue
        if endpoint.pending is not None and endpoint.update is ConfigUpdate.IN_PROGRESS:
            steps, ready = _pending(snapshot, endpoint, endpoint.pending, groups)
            actions += steps
            # Under a rollout the rollout decides who gets traffic, and when the config is active.
            if ready and not _governed(snapshot, endpoint, endpoint.pending):
                cutting.add(endpoint.id)
        if endpoint.active is not None and not endpoint.stopped:
            actions += _report_active(endpoint, endpoint.active, groups)
    failed = {
        action.endpoint_id for action in actions if isinstance(action, Fail) and not action.governed
    }
    groups = groups_of(_without_pending(snapshot, failed)) if failed else groups
    for group in groups.values():
        actions += _run(snapshot, group)
    actions += _retire(snapshot, groups)
    routing = _route(snapshot, groups, cutting)
    if any(isinstance(action, Publish) for action in routing):
        return routing + actions  # a way back must not wait until replicas are started
    return actions + routing


def _route(snapshot: Snapshot, groups: dict[str, Group], cutting: set[str]) -> list[Action]:
    """New routes if any are due; else what waits until every gateway serves by the last ones.

    A config whose entities are all ready routes first and becomes active when that is
    acknowledged: whoever waited for the update finds it served.
    """
    routes = routes_of(snapshot, groups, cutting)
    if routes != snapshot.published.endpoints or snapshot.grants != snapshot.published.grants:
        return [Publish(routes, snapshot.grants)]
    if snapshot.acknowledged < snapshot.published.generation:
        return []
    settled: list[Action] = []
    for endpoint in snapshot.endpoints:
        if endpoint.deleted:
            settled.append(Purge(endpoint.id))
        elif endpoint.id in cutting and endpoint.pending is not None:
            settled.append(Activate(endpoint.id, endpoint.pending.version))
    return settled


def _regrant(snapshot: Snapshot) -> list[Action]:
    """The routes as they are, with the tokens that are in force now."""
    published = snapshot.published
    if snapshot.grants == published.grants:
        return []
    return [Publish(published.endpoints, snapshot.grants)]


def _governed(snapshot: Snapshot, endpoint: Endpoint, config: EndpointConfig) -> bool:
    view = snapshot.governing(endpoint.id)
    return view is not None and view.rollout.target_version == config.version


def _without_pending(snapshot: Snapshot, endpoint_ids: set[str]) -> Snapshot:
    """The snapshot after these endpoints' updates have failed."""
    endpoints = tuple(
        replace(each, update=ConfigUpdate.UPDATE_FAILED) if each.id in endpoint_ids else each
        for each in snapshot.endpoints
    )
    return replace(snapshot, endpoints=endpoints)


def _pending(
    snapshot: Snapshot, endpoint: Endpoint, config: EndpointConfig, groups: dict[str, Group]
) -> tuple[list[Action], bool]:
    """Bring a pending config forward, or fail it; and whether all of its entities are ready."""
    actions: list[Action] = []
    ready = True
    governed = _governed(snapshot, endpoint, config)
    for entity in config.entities:
        if governed and entity.deployment is Deployment.FAILED:
            ready = False  # the rollout has been told and decides
            continue
        step = _advance(snapshot, endpoint, config, entity, groups, governed=governed)
        if not governed and isinstance(step, ServedEntity):
            step = _let_in(snapshot, endpoint, config, step)
        if isinstance(step, Fail):
            return [replace(step, governed=governed)], False
        if isinstance(step, Resolve):
            actions.append(step)
            ready = False
            continue
        if step != entity:
            actions.append(SaveEntity(endpoint.id, config.version, step))
        ready = ready and step.deployment is Deployment.READY
    return actions, ready


def _advance(
    snapshot: Snapshot,
    endpoint: Endpoint,
    config: EndpointConfig,
    entity: ServedEntity,
    groups: dict[str, Group],
    *,
    governed: bool,
) -> ServedEntity | Resolve | Fail:
    """What the entity is to be next: fetched, then staged, then started and ready."""
    if entity.model is None:
        return _fetch(snapshot, endpoint, config, entity)
    if entity.environment is None:
        stage = snapshot.stages.get(stage_key(entity.model, entity.optimize))
        if stage is None:
            return entity
        if stage.phase is StagePhase.FAILED:
            return Fail(endpoint.id, config.version, entity.name, stage.message, stage.log)
        return replace(
            entity,
            environment=stage.environment,
            deployment_message=stage.message,
            build_log=stage.log,
        )
    group = groups[group_of(endpoint.id, entity)]
    if len(group.ready) >= entity.replicas:
        first = group.ready[0]
        return replace(
            told_form(entity, first),
            deployment=Deployment.READY,
            deployment_message=first.batching,
        )
    served_once = governed and entity.deployment in (Deployment.READY, Deployment.RECOVERING)
    if not served_once:
        for replica in group.ended:
            if replica.started_at is not None and replica.started_at >= config.created_at:
                return _failed(endpoint, config, entity, replica)
    message = f"Loading the model ({len(group.ready)} of {entity.replicas} replicas ready)."
    deployment = Deployment.RECOVERING if served_once else Deployment.CREATING
    return replace(entity, deployment=deployment, deployment_message=message)


def _let_in(
    snapshot: Snapshot, endpoint: Endpoint, config: EndpointConfig, entity: ServedEntity
) -> ServedEntity | Fail:
    """Where the policy requires verification, nobody is sent to what has not passed it.

    What has traffic already keeps it, whatever a later policy says.
    """
    required = snapshot.checks.get(endpoint.id) is Checks.REQUIRED
    if not required or entity.deployment is not Deployment.READY or _has_traffic(endpoint, entity):
        return entity
    asked_for = asked_by_config(endpoint.id, config.version)
    standing, reason = standing_of(snapshot, endpoint.id, entity, asked_for)
    if standing in (Verification.PASS, Verification.WAIVED):
        return entity
    if standing is Verification.FAIL:
        message = (
            f"Verification before any traffic failed: {reason.rstrip('.')}. Mend the model, or say "
            f"why it may serve all the same: serinus rollout start {endpoint.name} --candidate "
            f"{entity.model_uri} --waive-verification REASON"
        )
        return Fail(endpoint.id, config.version, entity.name, message)
    waiting = "Its replicas are ready; it is being verified before any traffic."
    return replace(entity, deployment=Deployment.CREATING, deployment_message=waiting)


def _has_traffic(endpoint: Endpoint, entity: ServedEntity) -> bool:
    active = endpoint.active
    return active is not None and any(
        key_of(each) == key_of(entity) and active.weights.get(each.name) for each in active.entities
    )


def _failed(
    endpoint: Endpoint, config: EndpointConfig, entity: ServedEntity, replica: ReplicaStatus
) -> Fail:
    reason = replica.message or f"its replica ended with code {replica.exit_code}"
    id_ = replica.spec.replica_id
    return Fail(endpoint.id, config.version, entity.name, reason, replica_id=id_)


def _fetch(
    snapshot: Snapshot, endpoint: Endpoint, config: EndpointConfig, entity: ServedEntity
) -> ServedEntity | Resolve | Fail:
    known = _same_version(endpoint.active, entity)
    if known is not None:
        return replace(entity, model=known.model)
    fetched = snapshot.fetched.get((endpoint.id, config.version, entity.name))
    if fetched is None:
        return Resolve(endpoint.id, config.version, entity)
    if fetched.model is None:
        return Fail(endpoint.id, config.version, entity.name, fetched.error)
    return replace(entity, model=fetched.model, deployment_message="Preparing its environment.")


def _same_version(active: EndpointConfig | None, entity: ServedEntity) -> ServedEntity | None:
    """The active entity of the same registered version: that name can only mean those bytes."""
    if active is None or not entity.entity_version:
        return None
    for known in active.entities:
        if (known.entity_name, known.entity_version) == (
            entity.entity_name,
            entity.entity_version,
        ):
            return known
    return None


def _report_active(
    endpoint: Endpoint, config: EndpointConfig, groups: dict[str, Group]
) -> Iterator[SaveEntity]:
    """Say RECOVERING while replicas of what serves are missing, and READY again after."""
    for entity in config.entities:
        group = groups[group_of(endpoint.id, entity)]
        if len(group.ready) >= entity.replicas:
            message = group.ready[0].batching
            if entity.deployment is Deployment.READY and entity.deployment_message == message:
                continue
            now = replace(entity, deployment=Deployment.READY, deployment_message=message)
        else:
            missing = entity.replicas - len(group.ready)
            why = next((f" The last one ended: {r.message}" for r in group.ended), "")
            if not why and entity.deployment is Deployment.RECOVERING:
                continue  # keep the message that says why
            now = replace(
                entity,
                deployment=Deployment.RECOVERING,
                deployment_message=f"Starting {missing} of {entity.replicas} replicas.{why}",
            )
        if now != entity:
            yield SaveEntity(endpoint.id, config.version, now)


def _run(snapshot: Snapshot, group: Group) -> Iterator[Action]:
    """Replace what has ended, slower each time in a row."""
    crashes = snapshot.crashes.get(group.id)
    if crashes is not None and any(_settled(snapshot, replica) for replica in group.living):
        crashes = None
    for replica in group.ended:
        count = 1 if crashes is None else crashes.count + 1
        crashes = Crashes(count, snapshot.at, replica.message)
        yield NoteCrash(group.id, crashes)
        yield ForgetReplica(replica.spec.replica_id)
    if crashes is not None and snapshot.at < crashes.last_at + backoff(crashes.count):
        return
    for number in range(group.wanted - len(group.living)):
        yield EnsureReplica(_spec(snapshot, group, number))


def _settled(snapshot: Snapshot, replica: ReplicaStatus) -> bool:
    return (
        replica.phase is ReplicaPhase.READY
        and replica.started_at is not None
        and snapshot.at - replica.started_at > _SETTLED
    )


def _spec(snapshot: Snapshot, group: Group, number: int) -> ReplicaSpec:
    entity, policy = group.entity, snapshot.policy
    if entity.model is None or entity.environment is None:
        raise ValueError(f"'{entity.name}' is not prepared yet")
    # The moment makes the id new for ever: a replica that ended never comes back under its name.
    moment = f"{int(snapshot.at.timestamp() * 1000):x}"
    return ReplicaSpec(
        replica_id=f"{entity.name[:40]}-{group.id[:8]}-{moment}-{number}",
        group=group.id,
        model_digest=entity.model.digest,
        environment=entity.environment,
        env_vars=entity.environment_vars,
        threads=policy.threads,
        max_batch=policy.max_batch,
        batch_time_s=policy.batch_time_s,
        intake=entity.intake,
        optimize=entity.optimize,
        start_deadline_s=policy.start_deadline_s,
        fence_epoch=policy.epoch,
    )


def _retire(snapshot: Snapshot, groups: dict[str, Group]) -> Iterator[Action]:
    """End what nobody wants, once no gateway can still send it a request."""
    kept = {r.spec.replica_id for group in groups.values() for r in group.kept}
    routed = snapshot.published.replica_ids()
    settled = snapshot.acknowledged >= snapshot.published.generation
    for replica in snapshot.replicas or ():
        id_ = replica.spec.replica_id
        if id_ in kept or (replica.spec.group in groups and replica.phase is ReplicaPhase.EXITED):
            continue
        if replica.phase is ReplicaPhase.EXITED:
            yield ForgetReplica(id_)
        elif replica.phase is not ReplicaPhase.DRAINING and id_ not in routed and settled:
            yield RetireReplica(id_)
