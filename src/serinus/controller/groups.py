"""Groups: the replicas that can answer for one entity, and what runs of each. Pure.

Two configs that agree on an entity share its group, so a change of weights restarts nothing.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache

import msgspec

from serinus.controller.snapshot import Snapshot
from serinus.engine.engine import ReplicaPhase, ReplicaStatus
from serinus.entities import ConfigUpdate, Endpoint, Optimize, Reading, ServedEntity

__all__ = ["Group", "group_of", "groups_of"]


def group_of(endpoint_id: str, entity: ServedEntity) -> str:
    """The group whose replicas can answer for this entity; needs its model and environment."""
    if entity.model is None or entity.environment is None:
        raise ValueError(f"'{entity.name}' is not prepared yet")
    variables = tuple(sorted(entity.environment_vars.items()))
    # What ran before there was a choice reads strictly.
    reading = () if entity.intake is Reading.STRICT else (entity.intake.value,)
    environment = entity.environment.digest
    form = () if entity.optimize is Optimize.NONE else (f"optimize {entity.optimize.value}",)
    model = entity.model.digest
    return _digest(endpoint_id, entity.name, model, environment, variables, *reading, *form)


@lru_cache(maxsize=1 << 14)  # asked several times a turn for every entity there is
def _digest(*identity: object) -> str:
    return hashlib.sha256(msgspec.json.encode(identity)).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Group:
    """A group that some config wants, and what runs of it."""

    id: str
    entity: ServedEntity
    wanted: int
    #: Not ended, in the order in which they are kept.
    living: tuple[ReplicaStatus, ...]
    ended: tuple[ReplicaStatus, ...]
    #: Those of the living that stay.
    kept: tuple[ReplicaStatus, ...] = field(init=False)
    #: Those of the kept that can answer.
    ready: tuple[ReplicaStatus, ...] = field(init=False)

    def __post_init__(self) -> None:
        kept = self.living[: self.wanted]
        ready = tuple(r for r in kept if r.phase is ReplicaPhase.READY)
        object.__setattr__(self, "kept", kept)
        object.__setattr__(self, "ready", ready)


def groups_of(snapshot: Snapshot) -> dict[str, Group]:
    """Every group that some config or rollout wants, by id."""
    by_group: defaultdict[str, list[ReplicaStatus]] = defaultdict(list)
    for replica in sorted(snapshot.replicas or (), key=_keep_first):
        by_group[replica.spec.group].append(_as_ended(replica, snapshot.hung))
    groups: dict[str, Group] = {}
    for endpoint in snapshot.endpoints:
        for entity in _wanted(snapshot, endpoint):
            if entity.model is None or entity.environment is None:
                continue
            id_ = group_of(endpoint.id, entity)
            wanted = max(entity.replicas, groups[id_].wanted if id_ in groups else 0)
            all_ = by_group.get(id_, [])
            living = tuple(r for r in all_ if r.phase is not ReplicaPhase.EXITED)
            ended = tuple(r for r in all_ if r.phase is ReplicaPhase.EXITED)
            groups[id_] = Group(id_, entity, wanted, living, ended)
    return groups


def _wanted(snapshot: Snapshot, endpoint: Endpoint) -> Iterator[ServedEntity]:
    if endpoint.deleted or endpoint.stopped:
        return
    if endpoint.active is not None:
        yield from endpoint.active.entities
    if endpoint.pending is not None and endpoint.update is ConfigUpdate.IN_PROGRESS:
        yield from endpoint.pending.entities
    for view in snapshot.rollouts_of(endpoint.id):
        yield from view.pools(snapshot.at)


def _as_ended(replica: ReplicaStatus, hung: frozenset[str]) -> ReplicaStatus:
    """A replica that hangs is as good as ended: it is killed, counted and replaced like one."""
    if replica.spec.replica_id not in hung or replica.phase is not ReplicaPhase.READY:
        return replica
    return replace(replica, phase=ReplicaPhase.EXITED, message="It gave no sign of life.")


def _keep_first(replica: ReplicaStatus) -> tuple[bool, str]:
    return (replica.phase is not ReplicaPhase.READY, replica.spec.replica_id)
