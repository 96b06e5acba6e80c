"""What the controller knows at one moment, and what it may decide to do about it. Plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from serinus.access import Grant
from serinus.engine.engine import ReplicaSpec, ReplicaStatus, Stage
from serinus.entities import Endpoint, ModelRef, ServedEntity
from serinus.rollout.checks import Checks
from serinus.rollout.routing import pools
from serinus.rollout.state import Phase, RolloutState
from serinus.store.rollouts import StoredRollout, Wish
from serinus.store.verifications import Verified
from serinus.traffic import EndpointRoutes, RouteTable

__all__ = [
    "Action",
    "Activate",
    "Crashes",
    "EnsureReplica",
    "Fail",
    "Fetched",
    "ForgetReplica",
    "NoteCrash",
    "Policy",
    "Publish",
    "Purge",
    "Resolve",
    "RetireReplica",
    "RolloutView",
    "SaveEntity",
    "Snapshot",
]


@dataclass(frozen=True, slots=True)
class Policy:
    """Settings that decisions depend on."""

    epoch: int
    max_batch: int
    threads: int
    start_deadline_s: float
    queue_limit: int
    deadline_s: float
    #: See `ReplicaSpec`.
    batch_time_s: float = 0.05


@dataclass(frozen=True, slots=True)
class Crashes:
    """How often replicas of one group ended by themselves, in a row, and when last."""

    count: int
    last_at: datetime
    message: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """The outcome of resolving one model URI: a pinned model, or the reason why not."""

    model: ModelRef | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class RolloutView:
    """A rollout, and its two versions as their configs have them now."""

    rollout: StoredRollout
    stable: ServedEntity
    candidate: ServedEntity
    #: Why this candidate must not be rolled out; empty when nothing speaks against it.
    objection: str = ""
    #: What people have asked of it and nobody has heard yet, in their order.
    wishes: tuple[Wish, ...] = ()

    @property
    def state(self) -> RolloutState:
        """Where the rollout stands."""
        return self.rollout.state

    @property
    def routes(self) -> bool:
        """True while gateways must do as the rollout says."""
        return self.state.phase not in (Phase.SUCCEEDED, Phase.ROLLED_BACK)

    @property
    def control_name(self) -> str:
        """What `control` is called, whether there is one or not."""
        return f"{self.stable.name}-control"

    @property
    def control(self) -> ServedEntity:
        """The fresh pool of stable that latency and errors are compared with."""
        return replace(self.stable, name=self.control_name)

    def pools(self, at: datetime) -> tuple[ServedEntity, ...]:
        """Those of its entities that must run at ``at``."""
        wanted = pools(self.state, at)
        if not self.routes:
            # Who won runs because its config is active, and only for as long as it is.
            wanted -= {"candidate" if self.state.candidate_bp else "stable"}
        return tuple(getattr(self, name) for name in sorted(wanted))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that one decision may look at."""

    at: datetime
    endpoints: tuple[Endpoint, ...]
    #: None when the engine could not say; nothing is then concluded about replicas.
    replicas: tuple[ReplicaStatus, ...] | None
    #: Preparation of models, by model digest.
    stages: Mapping[str, Stage]
    #: Resolutions that have ended, by (endpoint id, config version, served name).
    fetched: Mapping[tuple[str, int, str], Fetched]
    published: RouteTable
    #: Every gateway that may be serving serves by this generation or a later one.
    acknowledged: int
    policy: Policy
    crashes: Mapping[str, Crashes] = field(default_factory=dict)
    #: Ids of replicas that live but give no sign of life.
    hung: frozenset[str] = frozenset()
    #: Rollouts under way and those that ended lately, oldest first.
    rollouts: tuple["RolloutView", ...] = ()
    #: What is known of each version that was verified, by `key_of`; None when nobody verifies.
    verifications: Mapping[str, Verified] | None = None
    #: What the policies of endpoints that are updating ask of it.
    checks: Mapping[str, Checks] = field(default_factory=dict)
    #: Every token in force.
    grants: tuple[Grant, ...] = ()
    _by_endpoint: Mapping[str, list["RolloutView"]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_endpoint: dict[str, list[RolloutView]] = {}
        for view in self.rollouts:
            by_endpoint.setdefault(view.rollout.endpoint_id, []).append(view)
        object.__setattr__(self, "_by_endpoint", by_endpoint)

    def rollouts_of(self, endpoint_id: str) -> Sequence["RolloutView"]:
        """This endpoint's share of `rollouts`."""
        return self._by_endpoint.get(endpoint_id, ())

    def governing(self, endpoint_id: str) -> "RolloutView | None":
        """The rollout that decides this endpoint's routes now; None when its config does."""
        views = self.rollouts_of(endpoint_id)
        for view in reversed(views):
            if view.routes and view.state.phase is not Phase.FAILED:
                return view
        # One that FAILED goes on routing until a person has looked, or starts the next one.
        return views[-1] if views and views[-1].state.phase is Phase.FAILED else None


# Actions: what the executor can do. Each is idempotent.


@dataclass(frozen=True, slots=True)
class Resolve:
    """Fetch the model that a pending entity names, in the background."""

    endpoint_id: str
    config_version: int
    entity: ServedEntity


@dataclass(frozen=True, slots=True)
class SaveEntity:
    """Store how far an entity has come."""

    endpoint_id: str
    config_version: int
    entity: ServedEntity


@dataclass(frozen=True, slots=True)
class EnsureReplica:
    """Have a replica run."""

    spec: ReplicaSpec


@dataclass(frozen=True, slots=True)
class RetireReplica:
    """Let a replica that no gateway knows any more finish and end."""

    replica_id: str


@dataclass(frozen=True, slots=True)
class ForgetReplica:
    """Clear away what is left of a replica that has ended."""

    replica_id: str


@dataclass(frozen=True, slots=True)
class NoteCrash:
    """Remember that a replica of this group ended by itself, so that restarts back off."""

    group: str
    crashes: Crashes


@dataclass(frozen=True, slots=True)
class Publish:
    """Give the gateways new routes, and the tokens in force."""

    endpoints: tuple[EndpointRoutes, ...]
    grants: tuple[Grant, ...] = ()


@dataclass(frozen=True, slots=True)
class Activate:
    """The pending config becomes the active one: a pointer change, no restart."""

    endpoint_id: str
    config_version: int


@dataclass(frozen=True, slots=True)
class Fail:
    """The pending config can't be served; the active one stays."""

    endpoint_id: str
    config_version: int
    served_name: str
    message: str
    #: All that the failed preparation printed.
    log: str = ""
    #: The replica that ended, whose output says more.
    replica_id: str = ""
    #: A rollout ends the update; only the entity is marked as failed.
    governed: bool = False


@dataclass(frozen=True, slots=True)
class Purge:
    """Forget a deleted endpoint of which nothing runs or routes any more."""

    endpoint_id: str


Action = (
    Resolve
    | SaveEntity
    | EnsureReplica
    | RetireReplica
    | ForgetReplica
    | NoteCrash
    | Publish
    | Activate
    | Fail
    | Purge
)
