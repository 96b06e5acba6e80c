"""The Engine protocol: place, start, stop and list replicas, and nothing else.

Every engine passes the same conformance suite (``tests/integration/engine_conformance.py``). An
engine has no notion of weight, endpoint or rollout; the gateway dials replicas itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol

from serinus.entities import EnvironmentRef, ModelRef, Optimize, Reading

__all__ = [
    "Engine",
    "EngineHealth",
    "EngineUnreachable",
    "FenceError",
    "Lease",
    "NodeCapacity",
    "ReplicaPhase",
    "ReplicaSpec",
    "ReplicaStatus",
    "SpecChanged",
    "Stage",
    "StagePhase",
]


class EngineUnreachable(Exception):
    """The engine can't say what runs. Nothing may be concluded from that."""


class FenceError(Exception):
    """A controller with an older epoch tried to act; a newer one is in charge."""


class SpecChanged(Exception):
    """`Engine.ensure` was called twice for one replica id with two different specs."""


class ReplicaPhase(Enum):
    """How far a replica has come. The order of the members is the order of a healthy life."""

    STARTING = "STARTING"  # the process is being made
    LOADING = "LOADING"  # the process lives and loads its model
    READY = "READY"  # it listens and has answered its own example
    DRAINING = "DRAINING"  # it finishes what it has
    EXITED = "EXITED"  # the process is gone, or could not be made
    UNKNOWN = "UNKNOWN"  # the engine can't say


class StagePhase(Enum):
    """How far the preparation of a model and its environment has come."""

    STAGING = "STAGING"
    READY = "READY"
    FAILED = "FAILED"


class EngineHealth(Enum):
    """Whether the engine itself can be relied on."""

    UP = "UP"
    DEGRADED = "DEGRADED"  # replicas live, but none can be started or stopped now
    DOWN = "DOWN"


@dataclass(frozen=True, slots=True)
class Stage:
    """The answer of `Engine.stage`."""

    phase: StagePhase
    #: Set when READY.
    environment: EnvironmentRef | None = None
    #: One sentence for people: what is being done, or why it failed.
    message: str = ""
    #: Everything that the preparation printed so far (the resolver's own words).
    log: str = ""


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """All that an engine needs to run one replica. Equal ids mean equal specs, for ever."""

    replica_id: str
    #: Opaque to the engine; the controller groups replicas of one served entity by it.
    group: str
    model_digest: str
    environment: EnvironmentRef
    #: Added to the scrubbed environment of the process.
    env_vars: dict[str, str] = field(default_factory=dict)
    #: BLAS/OpenMP threads.
    threads: int = 1
    #: Most requests in one batch; 1 switches batching off.
    max_batch: int = 128
    #: Seconds that one batch should take, where smaller ones serve as many requests.
    batch_time_s: float = 0.05
    #: How requests are read.
    intake: Reading = Reading.STRICT
    #: What its model is to be converted into.
    optimize: Optimize = Optimize.NONE
    #: Seconds from start to READY, after which the replica is killed as failed.
    start_deadline_s: float = 120.0
    #: Epoch of the controller that asks; an older one than last seen is refused.
    fence_epoch: int = 0


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """What an engine knows of one replica."""

    spec: ReplicaSpec
    phase: ReplicaPhase
    #: Unix socket path; set from READY on.
    address: str = ""
    pid: int | None = None
    exit_code: int | None = None
    #: Why it failed, in words for people; the last lines of its log where that is all there is.
    message: str = ""
    #: True when requests are answered in batches; `batching` says why (not).
    batched: bool = False
    batching: str = ""
    #: How the model is asked, why, and what was found out on the way; see `Launch`'s `Status`.
    form: str = ""
    form_reason: str = ""
    form_report: tuple[str, ...] = ()
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """A controller's sign of life. Replicas end by themselves ``ttl_s`` after the last one."""

    epoch: int
    ttl_s: float = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class NodeCapacity:
    """One machine's room."""

    node: str
    cpus: float
    memory_bytes: int


class Engine(Protocol):
    """Where replicas run. Calls are synchronous and quick: what takes time goes on behind them."""

    name: str

    def stage(self, model: ModelRef, optimize: Optimize = Optimize.NONE) -> Stage:
        """Prepare a pinned model's files and environment. Idempotent; call again to see progress.

        After FAILED, the next call starts afresh. ``optimize``: with the packages that it needs,
        where they can be had.
        """
        ...

    def ensure(self, spec: ReplicaSpec) -> ReplicaStatus:
        """Have this replica run. Idempotent on the id; one that has EXITED stays so.

        Raises SpecChanged for a known id with another spec, FenceError for an old epoch.
        """
        ...

    def list(self) -> tuple[ReplicaStatus, ...]:
        """All replicas, orphans of an earlier controller included; EXITED ones until `stop`.

        Raises EngineUnreachable when the truth is not to be had: never an empty answer instead.
        """
        ...

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` from any thread when something may have changed. May miss or repeat."""
        ...

    def renew(self, lease: Lease) -> None:
        """Keep replicas alive; raises FenceError for an epoch older than the last."""
        ...

    def stop(self, replica_id: str, *, grace_s: float, fence_epoch: int) -> None:
        """Let it finish what it has, kill it and its descendants after ``grace_s``, forget it.

        Returns at once and is idempotent; an id that is not known is no error. Raises FenceError
        for an old epoch: a controller that was replaced must not end what its successor needs.
        """
        ...

    def logs(self, replica_id: str, *, tail_bytes: int = 1 << 20) -> str:
        """The end of what the replica printed; empty when there is none (any more)."""
        ...

    def capacity(self) -> tuple[NodeCapacity, ...]:
        """The machines and their room."""
        ...

    def health(self) -> EngineHealth:
        """Whether the engine can be relied on."""
        ...
