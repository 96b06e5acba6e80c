"""The nouns of Serinus as plain frozen values. No behaviour beyond reading them, no IO, ever."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from hashlib import sha256

__all__ = [
    "WHOLE",
    "ConfigUpdate",
    "Deployment",
    "Endpoint",
    "EndpointConfig",
    "EnvironmentRef",
    "ModelRef",
    "Optimize",
    "RateLimit",
    "Reading",
    "ServedEntity",
]

#: Basis points in a whole split: weights of an endpoint sum to this.
WHOLE = 10_000


class ConfigUpdate(Enum):
    """What an endpoint's config is doing, in the words that wait loops of clients poll for."""

    IN_PROGRESS = "IN_PROGRESS"
    NOT_UPDATING = "NOT_UPDATING"
    UPDATE_FAILED = "UPDATE_FAILED"
    UPDATE_CANCELED = "UPDATE_CANCELED"


class Deployment(Enum):
    """How far one served entity has come."""

    CREATING = "DEPLOYMENT_CREATING"
    READY = "DEPLOYMENT_READY"
    FAILED = "DEPLOYMENT_FAILED"
    RECOVERING = "DEPLOYMENT_RECOVERING"
    ABORTED = "DEPLOYMENT_ABORTED"


class Reading(Enum):
    """How the requests to a served entity are read."""

    #: By the signature's types, and no value is turned into another one.
    STRICT = "strict"
    #: As MLflow's own server does it; what it changes is counted.
    MLFLOW = "mlflow"


class Optimize(Enum):
    """Into what a served entity's model is to be converted, if its answers stay what they are."""

    NONE = "none"
    #: ONNX, for ONNX Runtime.
    ONNX = "onnx"


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model that was fetched and pinned: the same digest is the same bytes."""

    digest: str
    #: The URI as it was asked for, e.g. ``models:/flight-delay@champion``.
    uri: str
    #: Where the URI led when it was resolved, e.g. ``models:/flight-delay/3``.
    resolved: str
    #: Requirement lines as logged with the model, e.g. ``scikit-learn==1.6.1``.
    requirements: tuple[str, ...] = ()
    #: ``3.11.7`` as logged with the model; empty when the model does not say.
    python_version: str = ""


@dataclass(frozen=True, slots=True)
class EnvironmentRef:
    """A Python environment in which a replica can run."""

    digest: str
    #: The interpreter inside it.
    python: str
    #: ``current`` (the server's own) or ``built`` (by uv, from the model's requirements).
    kind: str


@dataclass(frozen=True, slots=True)
class ServedEntity:
    """One model version inside an endpoint, with how far its deployment has come."""

    name: str
    entity_name: str
    entity_version: str
    replicas: int = 1
    environment_vars: dict[str, str] = field(default_factory=dict)
    #: Fields of the client's request that Serinus only keeps and echoes (``workload_size`` …).
    echo: dict[str, object] = field(default_factory=dict)
    #: Set once the model is fetched.
    model: ModelRef | None = None
    environment: EnvironmentRef | None = None
    deployment: Deployment = Deployment.CREATING
    deployment_message: str = ""
    #: Lines of fetching the model and building its environment, for ``build-logs``.
    build_log: str = ""
    creator: str = ""
    created_at: datetime | None = None
    #: How requests are read; replicas that read otherwise are others.
    intake: Reading = Reading.STRICT
    #: What its model is to be converted into; replicas of another form are others.
    optimize: Optimize = Optimize.NONE
    #: How its replicas ask the model, and why: ``pyfunc``, ``direct`` or ``onnx``; empty: not yet
    #: known.
    form: str = ""
    form_reason: str = ""

    @property
    def model_uri(self) -> str:
        """The URI that names this entity's model.

        A bare registered name needs its version; an ``entity_name`` that is a URI or a path
        already stands for itself.
        """
        if not self.entity_version:
            return self.entity_name
        return f"models:/{self.entity_name}/{self.entity_version}"

    @property
    def served_digest(self) -> str:
        """What is served, as one digest: the model's, or another one for its converted form."""
        if self.model is None:
            return ""
        if self.optimize is Optimize.NONE:
            return self.model.digest
        return sha256(f"{self.model.digest}+{self.optimize.value}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """Served entities and the split between them; every change makes a new ``version``."""

    version: int
    entities: tuple[ServedEntity, ...]
    #: Served-entity name → basis points; sums to `WHOLE`.
    weights: dict[str, int]
    created_at: datetime
    #: The client's ``auto_capture_config``, kept and echoed.
    auto_capture: dict[str, object] | None = None

    def entity(self, name: str) -> ServedEntity | None:
        """The served entity of that name, or None."""
        return next((each for each in self.entities if each.name == name), None)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Most predictions in a minute, of the whole endpoint or of each user."""

    calls: int
    #: ``endpoint`` or ``user``.
    key: str = "endpoint"
    #: The one user that it is for; empty: each user that has none of its own.
    principal: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What clients call by name: an active config, and perhaps one that is being prepared."""

    id: str
    name: str
    creator: str
    created_at: datetime
    updated_at: datetime
    #: What serves now; None until the first config is ready.
    active: EndpointConfig | None = None
    #: What is being deployed, or the last one that failed.
    pending: EndpointConfig | None = None
    update: ConfigUpdate = ConfigUpdate.NOT_UPDATING
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    route_optimized: bool = False
    #: True when MLflow's own ``/invocations`` answers for this endpoint.
    default: bool = False
    #: Asked to go; its routes are already gone, its replicas are being retired.
    deleted: bool = False
    #: Verifications that began before it do not count; somebody asked for new ones.
    verify_after: datetime | None = None
    #: Where requests say who sent them, ``kind:key`` as in a unit; empty: where all endpoints look.
    caller: str = ""
    #: Answers nobody and runs nothing until it is started again; what it served is kept.
    stopped: bool = False
    #: Fields of clients' requests that Serinus only keeps and echoes (``ai_gateway`` …).
    echo: dict[str, object] = field(default_factory=dict)
    #: How many predictions it may be asked for.
    rate_limits: tuple[RateLimit, ...] = ()
    #: Seconds for which an answer may be given again to identical requests; 0.0: never.
    cache_ttl_s: float = 0.0
