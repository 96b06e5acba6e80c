"""The decisions of the controller, one snapshot at a time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from serinus.access import Grant
from serinus.controller.groups import group_of
from serinus.controller.reconcile import backoff, reconcile
from serinus.controller.snapshot import (
    Activate,
    Crashes,
    EnsureReplica,
    Fail,
    Fetched,
    ForgetReplica,
    NoteCrash,
    Policy,
    Publish,
    Purge,
    Resolve,
    RetireReplica,
    SaveEntity,
    Snapshot,
)
from serinus.engine.engine import ReplicaPhase, ReplicaSpec, ReplicaStatus, Stage, StagePhase
from serinus.entities import (
    WHOLE,
    ConfigUpdate,
    Deployment,
    Endpoint,
    EndpointConfig,
    EnvironmentRef,
    ModelRef,
    Optimize,
    Reading,
    ServedEntity,
)
from serinus.traffic import EndpointRoutes, RouteTable

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
ENVIRONMENT = EnvironmentRef("e" * 64, "/usr/bin/python3", "current")
POLICY = Policy(1, 128, 1, 120.0, 1024, 60.0)


def entity(name: str = "m-1", **changes: Any) -> ServedEntity:
    model = ModelRef(f"digest-of-{name}", f"models:/m/{name[-1]}", "models:/m/1")
    made = ServedEntity(name, "m", name[-1], model=model, environment=ENVIRONMENT)
    return replace(made, **changes)


def config(version: int, *entities: ServedEntity) -> EndpointConfig:
    weights = {each.name: WHOLE // len(entities) for each in entities}
    return EndpointConfig(version, entities, weights, AT)


def endpoint(**changes: Any) -> Endpoint:
    return replace(Endpoint("e1", "demo", "me", AT, AT), **changes)


def updating(pending: EndpointConfig, active: EndpointConfig | None = None) -> Endpoint:
    return endpoint(pending=pending, active=active, update=ConfigUpdate.IN_PROGRESS)


def replica(
    of: ServedEntity, phase: ReplicaPhase, id_: str = "r1", **changes: Any
) -> ReplicaStatus:
    assert of.model is not None
    spec = ReplicaSpec(id_, group_of("e1", of), of.model.digest, ENVIRONMENT)
    status = ReplicaStatus(spec, phase, f"/run/{id_}", 1, batching="batched", started_at=AT)
    return replace(status, **changes)


def snapshot(*endpoints: Endpoint, replicas: Any = (), **changes: Any) -> Snapshot:
    # As after the first turn: gateways know of endpoints that serve nothing yet.
    silent = [each for each in endpoints if each.active is None and not each.deleted]
    routes = tuple(EndpointRoutes(each.name, (), unready=each.update) for each in silent)
    made = Snapshot(AT, endpoints, tuple(replicas), {}, {}, RouteTable(0, routes), 0, POLICY)
    return replace(made, **changes)


def only(actions: list[Any], kind: type) -> list[Any]:
    return [action for action in actions if isinstance(action, kind)]


# --- an update, step by step ------------------------------------------------------------------


def test_gateways_know_an_endpoint_before_any_version_of_it_is_ready() -> None:
    """So that its callers are told to wait, and not that there is no such thing."""
    new = updating(config(1, entity()))
    [known] = only(reconcile(snapshot(new, published=RouteTable())), Publish)
    assert known.endpoints == (EndpointRoutes("demo", (), unready=ConfigUpdate.IN_PROGRESS),)
    failed = replace(new, update=ConfigUpdate.UPDATE_FAILED, default=True)
    [known] = only(reconcile(snapshot(failed, published=RouteTable())), Publish)
    [routes] = known.endpoints
    assert (routes.default, routes.unready) == (True, ConfigUpdate.UPDATE_FAILED)
    # With a version that serves, an update that fails is nobody's business but the API's.
    serving = replace(failed, active=config(1, entity()))
    [known] = only(reconcile(snapshot(serving)), Publish)
    assert known.endpoints[0].unready is None
    # One that was deleted before it ever served leaves the routes before it is forgotten.
    gone = snapshot(replace(failed, deleted=True), published=RouteTable(1, (routes,)))
    assert reconcile(gone) == [Publish(())]
    assert reconcile(replace(gone, published=RouteTable(2), acknowledged=1)) == []
    assert reconcile(replace(gone, published=RouteTable(2), acknowledged=2)) == [Purge("e1")]


def test_a_new_entity_is_fetched_first() -> None:
    new = entity(model=None, environment=None)
    assert reconcile(snapshot(updating(config(1, new)))) == [Resolve("e1", 1, new)]


def test_what_was_fetched_is_kept_and_then_staged() -> None:
    new = entity(model=None, environment=None)
    model = ModelRef("d1", "models:/m/1", "models:/m/1")
    [saved] = reconcile(
        snapshot(updating(config(1, new)), fetched={("e1", 1, "m-1"): Fetched(model)})
    )
    assert isinstance(saved, SaveEntity)
    assert saved.entity.model == model

    staged = replace(saved.entity)
    stage = Stage(StagePhase.READY, ENVIRONMENT, "The environment is ready.", "log")
    [saved] = reconcile(snapshot(updating(config(1, staged)), stages={"d1": stage}))
    assert isinstance(saved, SaveEntity)
    assert saved.entity.environment == ENVIRONMENT
    assert saved.entity.build_log == "log"


def test_a_version_that_serves_already_is_not_fetched_again() -> None:
    active = config(1, entity())
    new = entity(model=None, environment=None)
    endpoint_ = updating(config(2, new), active)
    running = replica(entity(), ReplicaPhase.READY)
    actions = reconcile(snapshot(endpoint_, replicas=[running]))
    assert only(actions, Resolve) == []
    assert [a.entity.model for a in only(actions, SaveEntity) if a.config_version == 2] == [
        entity().model
    ]


def test_replicas_that_read_otherwise_are_others() -> None:
    lenient = entity(intake=Reading.MLFLOW)
    strict = replica(entity(), ReplicaPhase.READY)
    actions = reconcile(snapshot(updating(config(1, lenient)), replicas=[strict]))
    (spec,) = (action.spec for action in only(actions, EnsureReplica))
    assert spec.intake is Reading.MLFLOW
    assert spec.group == group_of("e1", lenient) != group_of("e1", entity())


def test_replicas_of_a_converted_model_are_others() -> None:
    fast = entity(optimize=Optimize.ONNX)
    actions = reconcile(
        snapshot(updating(config(1, fast)), replicas=[replica(entity(), ReplicaPhase.READY)])
    )
    (spec,) = (action.spec for action in only(actions, EnsureReplica))
    assert spec.optimize is Optimize.ONNX
    assert spec.group == group_of("e1", fast) != group_of("e1", entity())


def test_a_ready_replica_says_in_which_form_it_serves_and_the_log_keeps_why() -> None:
    ready = replica(
        entity(),
        ReplicaPhase.READY,
        form="direct",
        form_reason="no conversion agrees",
        form_report=("numbers as float32: 2 of 309 rows differ",),
    )
    new = entity(build_log="built", deployment=Deployment.CREATING)
    [saved] = only(reconcile(snapshot(updating(config(1, new)), replicas=[ready])), SaveEntity)
    assert (saved.entity.form, saved.entity.form_reason) == ("direct", "no conversion agrees")
    assert saved.entity.build_log.splitlines() == [
        "built",
        "numbers as float32: 2 of 309 rows differ",
        "it serves as direct: no conversion agrees",
    ]
    # Said once.
    again = reconcile(snapshot(updating(config(1, saved.entity)), replicas=[ready]))
    assert only(again, SaveEntity) == []


def test_a_prepared_entity_gets_its_replicas() -> None:
    actions = reconcile(snapshot(updating(config(1, entity(replicas=2)))))
    specs = [action.spec for action in only(actions, EnsureReplica)]
    assert len({spec.replica_id for spec in specs}) == 2
    assert {spec.group for spec in specs} == {group_of("e1", entity())}
    assert only(actions, Activate) == only(actions, Publish) == []


def test_the_config_is_activated_only_when_every_replica_of_every_entity_is_ready() -> None:
    one, two = entity("m-1"), entity("m-2", replicas=2)
    almost = [
        replica(one, ReplicaPhase.READY, "a"),
        replica(two, ReplicaPhase.READY, "b"),
        replica(two, ReplicaPhase.LOADING, "c"),
    ]
    waiting = snapshot(updating(config(1, one, two)), replicas=almost)
    assert only(reconcile(waiting), Activate) == []
    assert only(reconcile(waiting), Publish) == []
    all_ready = (*almost[:2], replace(almost[2], phase=ReplicaPhase.READY))
    ready = replace(waiting, replicas=all_ready)
    [published] = only(reconcile(ready), Publish)
    assert only(reconcile(ready), Activate) == []
    routed = replace(ready, published=RouteTable(4, published.endpoints), acknowledged=3)
    assert only(reconcile(routed), Activate) == []
    assert only(reconcile(replace(routed, acknowledged=4)), Activate) == [Activate("e1", 1)]


def test_a_cut_over_whose_replica_dies_before_it_is_acknowledged_goes_back() -> None:
    old, new = entity("m-1"), entity("m-2")
    serving = replica(old, ReplicaPhase.READY, "a")
    state = snapshot(
        updating(config(2, new), config(1, old)),
        replicas=[serving, replica(new, ReplicaPhase.READY, "b")],
    )
    [forward] = only(reconcile(state), Publish)
    assert [served.name for served in forward.endpoints[0].served] == ["m-2"]
    died = replace(
        state,
        published=RouteTable(2, forward.endpoints),
        replicas=(serving, replica(new, ReplicaPhase.EXITED, "b", message="gone")),
    )
    actions = reconcile(died)
    assert [action.message for action in only(actions, Fail)] == ["gone"]
    [back] = only(actions, Publish)
    assert [served.name for served in back.endpoints[0].served] == ["m-1"]


@pytest.mark.parametrize(
    ("new", "seen", "why"),
    [
        (
            entity(model=None, environment=None),
            {"fetched": {("e1", 2, "m-1"): Fetched(error="no such model")}},
            "no such model",
        ),
        (
            entity(environment=None),
            {"stages": {"digest-of-m-1": Stage(StagePhase.FAILED, None, "unsatisfiable", "words")}},
            "unsatisfiable",
        ),
        (
            entity(),
            {"replicas": (replica(entity(), ReplicaPhase.EXITED, message="ImportError: x"),)},
            "ImportError: x",
        ),
    ],
)
def test_what_can_not_be_served_fails_the_update_and_starts_nothing(new, seen, why) -> None:
    serving = entity("m-9")
    routes = reconcile_routes(serving)
    actions = reconcile(
        replace(
            snapshot(updating(config(2, new), config(1, serving)), **seen),
            replicas=(replica(serving, ReplicaPhase.READY, "s"), *seen.get("replicas", ())),
            published=RouteTable(1, routes),
            acknowledged=1,
        )
    )
    assert [(a.config_version, a.message) for a in only(actions, Fail)] == [(2, why)]
    assert only(actions, EnsureReplica) == only(actions, Publish) == only(actions, Activate) == []


def reconcile_routes(serving: ServedEntity) -> tuple[EndpointRoutes, ...]:
    state = snapshot(
        endpoint(active=config(1, serving)), replicas=[replica(serving, ReplicaPhase.READY, "s")]
    )
    [published] = only(reconcile(state), Publish)
    routes: tuple[EndpointRoutes, ...] = published.endpoints
    return routes


def test_an_old_failure_of_the_same_model_does_not_fail_a_new_try() -> None:
    old = replica(
        entity(), ReplicaPhase.EXITED, started_at=AT - timedelta(seconds=1), message="old"
    )
    actions = reconcile(snapshot(updating(config(2, entity())), replicas=[old]))
    assert only(actions, Fail) == []
    assert len(only(actions, EnsureReplica)) == 1


# --- routes and retirement --------------------------------------------------------------------


def test_routes_follow_the_active_config_and_only_ready_replicas() -> None:
    one, two = entity("m-1"), entity("m-2")
    state = snapshot(
        endpoint(active=config(1, one, two)),
        replicas=[replica(one, ReplicaPhase.READY, "a"), replica(two, ReplicaPhase.LOADING, "b")],
    )
    [published] = only(reconcile(state), Publish)
    [routes] = published.endpoints
    assert {(r.name, r.weight_bp, len(r.replicas)) for r in routes.served} == {
        ("m-1", 5000, 1),
        ("m-2", 5000, 0),
    }


def test_pending_entities_get_no_traffic() -> None:
    state = snapshot(
        updating(config(2, entity("m-2")), config(1, entity("m-1"))),
        replicas=[
            replica(entity("m-1"), ReplicaPhase.READY, "a"),
            replica(entity("m-2"), ReplicaPhase.LOADING, "b"),
        ],
    )
    [published] = only(reconcile(state), Publish)
    assert [served.name for served in published.endpoints[0].served] == ["m-1"]


def _after_cutover(acknowledged: int) -> Snapshot:
    new, old = entity("m-2"), entity("m-1")
    state = snapshot(
        endpoint(active=config(2, new)),
        replicas=[
            replica(new, ReplicaPhase.READY, "new"),
            replica(old, ReplicaPhase.READY, "old"),
        ],
    )
    [published] = only(reconcile(state), Publish)
    return replace(state, published=RouteTable(7, published.endpoints), acknowledged=acknowledged)


def test_a_replica_is_retired_only_after_every_gateway_let_go_of_it() -> None:
    assert only(reconcile(_after_cutover(acknowledged=6)), RetireReplica) == []
    assert only(reconcile(_after_cutover(acknowledged=7)), RetireReplica) == [RetireReplica("old")]


def test_a_replica_that_is_still_routed_is_never_retired() -> None:
    state = snapshot(
        endpoint(active=config(2, entity("m-2"))),
        replicas=[replica(entity("m-1"), ReplicaPhase.READY, "old")],
        published=RouteTable(1, reconcile_routes(entity("m-1"))),
        acknowledged=1,
    )
    published = replace(
        state,
        published=replace(
            state.published,
            endpoints=tuple(
                replace(
                    e,
                    served=tuple(
                        replace(s, replicas=tuple(replace(r, replica_id="old") for r in s.replicas))
                        for s in e.served
                    ),
                )
                for e in state.published.endpoints
            ),
        ),
    )
    assert only(reconcile(published), RetireReplica) == []


def test_surplus_replicas_leave_the_routes_first() -> None:
    ready = [replica(entity(), ReplicaPhase.READY, id_) for id_ in ("a", "b")]
    state = snapshot(endpoint(active=config(1, entity())), replicas=ready)
    [published] = only(reconcile(state), Publish)
    assert [r.replica_id for r in published.endpoints[0].served[0].replicas] == ["a"]
    settled = replace(state, published=RouteTable(1, published.endpoints), acknowledged=1)
    assert only(reconcile(settled), RetireReplica) == [RetireReplica("b")]


def test_a_silent_engine_changes_nothing() -> None:
    state = snapshot(
        endpoint(active=config(1, entity())),
        published=RouteTable(1, reconcile_routes(entity())),
        acknowledged=1,
    )
    assert reconcile(replace(state, replicas=None)) == []


# --- replicas that end ------------------------------------------------------------------------


def test_a_crashed_replica_of_what_serves_is_replaced_and_its_rest_cleared_away() -> None:
    state = snapshot(
        endpoint(active=config(1, entity())),
        replicas=[replica(entity(), ReplicaPhase.EXITED, message="exit code 3")],
    )
    actions = reconcile(state)
    assert only(actions, ForgetReplica) == [ForgetReplica("r1")]
    assert [a.crashes.count for a in only(actions, NoteCrash)] == [1]
    assert len(only(actions, EnsureReplica)) == 1
    [saved] = only(actions, SaveEntity)
    assert saved.entity.deployment is Deployment.RECOVERING
    assert "exit code 3" in saved.entity.deployment_message


def test_a_crash_loop_slows_down_and_ends_when_a_replica_settles() -> None:
    group = group_of("e1", entity())
    state = snapshot(endpoint(active=config(1, entity())))
    looping = replace(state, crashes={group: Crashes(4, AT - timedelta(seconds=3.9), "x")})
    assert only(reconcile(looping), EnsureReplica) == []
    due = replace(state, crashes={group: Crashes(4, AT - timedelta(seconds=4), "x")})
    assert len(only(reconcile(due), EnsureReplica)) == 1

    settled = replica(entity(), ReplicaPhase.READY, "a", started_at=AT - timedelta(minutes=2))
    dead = replica(entity(), ReplicaPhase.EXITED, "b")
    [noted] = only(reconcile(replace(due, replicas=(settled, dead))), NoteCrash)
    assert noted.crashes.count == 1


def test_backoff_starts_at_once_and_ends_at_a_minute() -> None:
    assert [backoff(n).total_seconds() for n in (0, 1, 2, 3, 4, 7, 8, 9, 100)] == [
        *(0, 0, 1, 2, 4, 32, 60, 60, 60)
    ]


def test_a_deleted_endpoint_leaves_routes_then_replicas_then_the_store() -> None:
    gone = endpoint(active=config(1, entity()), deleted=True)
    running = [replica(entity(), ReplicaPhase.READY)]
    state = snapshot(gone, replicas=running, published=RouteTable(1, reconcile_routes(entity())))
    assert reconcile(state) == [Publish(())]
    unrouted = replace(state, published=RouteTable(2, ()), acknowledged=1)
    assert reconcile(unrouted) == []
    acknowledged = replace(unrouted, acknowledged=2)
    assert reconcile(acknowledged) == [RetireReplica("r1"), Purge("e1")]


def test_changed_weights_restart_nothing() -> None:
    one, two = entity("m-1"), entity("m-2")
    running = [replica(one, ReplicaPhase.READY, "a"), replica(two, ReplicaPhase.READY, "b")]
    active = config(1, one, two)
    moved = replace(config(2, one, two), weights={"m-1": 1000, "m-2": 9000})
    actions = reconcile(snapshot(updating(moved, active), replicas=running))
    [published] = only(actions, Publish)
    assert [served.weight_bp for served in published.endpoints[0].served] == [1000, 9000]
    assert only(actions, EnsureReplica) == only(actions, RetireReplica) == []


def test_a_replica_that_hangs_is_killed_counted_and_replaced() -> None:
    state = snapshot(
        endpoint(active=config(1, entity())),
        replicas=[replica(entity(), ReplicaPhase.READY)],
        hung=frozenset({"r1"}),
    )
    actions = reconcile(state)
    assert only(actions, ForgetReplica) == [ForgetReplica("r1")]
    assert [a.crashes.message for a in only(actions, NoteCrash)] == ["It gave no sign of life."]
    assert len(only(actions, EnsureReplica)) == 1
    assert only(actions, Publish)[0].endpoints[0].served[0].replicas == ()


def test_tokens_reach_the_gateways_also_when_the_engine_says_nothing() -> None:
    grants = (Grant("i", "ann", "d"),)
    routes = reconcile_routes(entity())
    published = RouteTable(3, routes, grants)
    state = Snapshot(AT, (), None, {}, {}, published, 3, POLICY, grants=grants)
    assert reconcile(state) == []
    assert reconcile(replace(state, grants=())) == [Publish(routes, ())]
    told = replace(state, replicas=(), published=RouteTable(3, (), grants))
    assert reconcile(told) == []
    assert reconcile(replace(told, grants=())) == [Publish((), ())]
