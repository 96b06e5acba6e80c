"""Reads everything once, so that a decision looks at one moment and not at several."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from serinus.controller.rollouts import views
from serinus.controller.snapshot import Crashes, Fetched, Policy, Snapshot
from serinus.controller.verifier import Verifier
from serinus.engine.engine import Engine, EngineUnreachable, ReplicaStatus, Stage
from serinus.engine.optimize import stage_key
from serinus.entities import ConfigUpdate, Endpoint, ModelRef, Optimize
from serinus.rollout.checks import checks_in
from serinus.store.repository import Store

__all__ = ["observe"]


def observe(
    at: datetime,
    store: Store,
    engine: Engine,
    *,
    acknowledged: int,
    policy: Policy,
    fetched: Mapping[tuple[str, int, str], Fetched],
    crashes: Mapping[str, Crashes],
    hung: frozenset[str],
    verifier: Verifier | None = None,
) -> Snapshot:
    """The snapshot of now; raises what the store raises."""
    endpoints = store.endpoints(include_deleted=True)
    replicas: tuple[ReplicaStatus, ...] | None
    stages: dict[str, Stage] = {}
    try:
        for model, optimize in _to_stage(endpoints):
            stages[stage_key(model, optimize)] = engine.stage(model, optimize)
        replicas = engine.list()
    except EngineUnreachable:
        replicas = None
    snapshot = Snapshot(
        at=at,
        endpoints=endpoints,
        replicas=replicas,
        stages=stages,
        fetched=dict(fetched),
        published=store.routes(),
        acknowledged=acknowledged,
        policy=policy,
        crashes=dict(crashes),
        hung=hung,
        rollouts=views(store, endpoints, at),
        grants=store.tokens.grants(),
    )
    if verifier is None:
        return snapshot
    checks = {
        endpoint.id: checks_in(store.rollouts.policy(endpoint.id))
        for endpoint in endpoints
        if endpoint.update is ConfigUpdate.IN_PROGRESS
    }
    return replace(snapshot, verifications=verifier.look(snapshot), checks=checks)


def _to_stage(endpoints: tuple[Endpoint, ...]) -> list[tuple[ModelRef, Optimize]]:
    """Models that are fetched and whose environment is not known to be there yet.

    Asking the engine for them is what starts the work: `Engine.stage` is idempotent.
    """
    return [
        (entity.model, entity.optimize)
        for endpoint in endpoints
        if endpoint.pending is not None
        and endpoint.update is ConfigUpdate.IN_PROGRESS
        and not endpoint.deleted
        for entity in endpoint.pending.entities
        if entity.model is not None and entity.environment is None
    ]
