"""The routes that configs and rollouts ask for, over the replicas that are ready. Pure."""

from collections.abc import Iterator

from serinus.controller.groups import Group, group_of
from serinus.controller.snapshot import RolloutView, Snapshot
from serinus.entities import WHOLE, Endpoint, EndpointConfig, ServedEntity
from serinus.evidence.exposure import per_second
from serinus.rollout.routing import routing
from serinus.rollout.spec import GuardrailKind
from serinus.traffic import EndpointRoutes, ReplicaAddress, ServedRoute, StageRoute, Unit, UnitKind

__all__ = ["routes_of", "stage_of", "weights_of"]


def routes_of(
    snapshot: Snapshot, groups: dict[str, Group], cutting: set[str]
) -> tuple[EndpointRoutes, ...]:
    """Routes of every endpoint; those in ``cutting`` by their pending config."""
    routes = []
    for endpoint in sorted(snapshot.endpoints, key=lambda endpoint: endpoint.name):
        config = endpoint.pending if endpoint.id in cutting else endpoint.active
        if endpoint.deleted:
            continue
        if config is None or endpoint.stopped:
            routes.append(_silent(endpoint))
            continue
        view = snapshot.governing(endpoint.id)
        weights = dict(config.weights) if view is None else weights_of(view)
        served = tuple(
            _served(
                snapshot,
                groups,
                endpoint,
                entity,
                weights.get(entity.name, 0),
                # A second pool of stable's version says so.
                shown_as=view.stable.name if view and entity.name in _twins(view) else "",
                config=config,
            )
            for entity in _entities(config, view)
            if entity.environment is not None
        )
        stage = None if view is None else stage_of(view)
        caller = _caller(endpoint)
        routes.append(
            EndpointRoutes(
                endpoint.name,
                served,
                endpoint.default,
                stage,
                caller,
                endpoint.rate_limits,
                cache_ttl_s=endpoint.cache_ttl_s,
            )
        )
    return tuple(routes)


def _silent(endpoint: Endpoint) -> EndpointRoutes:
    """Of one that answers nobody: its name is there, so that callers are told why."""
    unready = None if endpoint.stopped else endpoint.update
    return EndpointRoutes(
        endpoint.name, (), endpoint.default, stopped=endpoint.stopped, unready=unready
    )


def _caller(endpoint: Endpoint) -> Unit | None:
    kind, _, key = endpoint.caller.partition(":")
    return Unit(UnitKind(kind), key) if key else None


def stage_of(view: RolloutView) -> StageRoute:
    """What gateways must do for this rollout now."""
    state, wanted = view.state, routing(view.state)
    tolerances = [
        guardrail.tolerance
        for guardrail in state.spec.guardrails
        if guardrail.kind is GuardrailKind.PREDICTIONS
    ]
    windows = [
        guardrail.label_window_s
        for guardrail in state.spec.guardrails
        if guardrail.kind is GuardrailKind.QUALITY
    ]
    # Outcomes compare only where both arms have a share.
    split = windows and 0 < wanted.candidate_bp < WHOLE
    return StageRoute(
        rollout_id=state.evidence_key,
        stage=wanted.stage,
        salt=state.salt,
        stable=state.stable,
        candidate=state.candidate,
        candidate_bp=wanted.candidate_bp,
        unit=state.spec.unit,
        control=view.control_name if wanted.control_bp else "",
        control_bp=wanted.control_bp,
        shadow_bp=wanted.shadow_bp,
        warmup_s=state.spec.step.warmup_s,
        exposures_per_s=per_second(max(windows)) if split else 0.0,
        **({"tolerance": tolerances[0]} if tolerances else {}),
    )


def _twins(view: RolloutView) -> tuple[str, ...]:
    """Entities that are stable's version under another name."""
    self_test = view.state.spec.self_test
    return (view.control_name, *((view.candidate.name,) if self_test else ()))


def weights_of(view: RolloutView) -> dict[str, int]:
    """Who gets which share under this rollout now, by served name."""
    wanted = routing(view.state)
    return {
        view.state.stable: wanted.stable_bp,
        view.state.candidate: wanted.candidate_bp,
        view.control_name: wanted.control_bp,
    }


def _entities(config: EndpointConfig, view: RolloutView | None) -> Iterator[ServedEntity]:
    """The config's own, and those that only the rollout brings."""
    yield from config.entities
    if view is None:
        return
    known = {entity.name for entity in config.entities}
    own = [view.stable, view.candidate, *([view.control] if view.state.control_bp else [])]
    yield from (entity for entity in own if entity.name not in known)


def _served(
    snapshot: Snapshot,
    groups: dict[str, Group],
    endpoint: Endpoint,
    entity: ServedEntity,
    weight_bp: int,
    *,
    shown_as: str,
    config: EndpointConfig,
) -> ServedRoute:
    group_id = group_of(endpoint.id, entity)
    group = groups.get(group_id)
    addresses = (
        ReplicaAddress(r.spec.replica_id, r.address, r.spec.model_digest)
        for r in (group.ready if group is not None else ())
    )
    return ServedRoute(
        entity.name,
        weight_bp,
        tuple(sorted(addresses, key=lambda replica: replica.replica_id)),
        snapshot.policy.queue_limit,
        snapshot.policy.deadline_s,
        shown_as,
        # Another config, model, environment or reading gives answers of its own.
        f"{config.version}-{group_id}" if endpoint.cache_ttl_s else "",
    )
