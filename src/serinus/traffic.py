"""Who answers a request: the RouteTable and the choice between served entities. Pure.

A RouteTable is an immutable snapshot of all routes. A gateway swaps it whole and acknowledges its
generation; nothing here reads a clock, a socket or a source of randomness.
"""

import hashlib
from bisect import bisect_right
from dataclasses import dataclass, field
from enum import Enum
from itertools import accumulate

from serinus.access import Grant
from serinus.entities import WHOLE, ConfigUpdate, RateLimit

__all__ = [
    "Acknowledge",
    "EndpointRoutes",
    "GatewayHello",
    "ReplicaAddress",
    "RouteTable",
    "ServedRoute",
    "Split",
    "StageRoute",
    "Unit",
    "UnitKind",
    "unit_point",
]


@dataclass(frozen=True, slots=True)
class ReplicaAddress:
    """Where one replica listens, and who it must prove to be."""

    replica_id: str
    #: Path of a unix socket.
    address: str
    model_digest: str


@dataclass(frozen=True, slots=True)
class ServedRoute:
    """One served entity as a gateway sees it."""

    name: str
    weight_bp: int
    replicas: tuple[ReplicaAddress, ...]
    #: Requests that may be in flight to this entity from one gateway; the next one gets 429.
    queue_limit: int = 1024
    #: Seconds until a request to this entity is answered with 504.
    deadline_s: float = 60.0
    #: Who callers are told has answered, where that is not `name` (a second pool of one version).
    shown_as: str = ""
    #: What the answers depend on besides the request; empty: nobody gives any of them again.
    edition: str = ""


class UnitKind(Enum):
    """Where the unit of randomisation is found in a request."""

    REQUEST = "request"  # each request is a unit of its own
    HEADER = "header"
    COOKIE = "cookie"
    JSON_PATH = "json_path"  # dot-separated keys into the JSON body, e.g. ``context.user_id``


@dataclass(frozen=True, slots=True)
class Unit:
    """What is randomised and analysed. ``key`` is the header, the cookie or the path."""

    kind: UnitKind = UnitKind.REQUEST
    key: str = ""


@dataclass(frozen=True, slots=True)
class StageRoute:
    """The span of a rollout that is under way: constant weights, one propensity.

    A unit's point in [0, 1) is ``unit_point(salt, unit)``: below ``candidate_bp`` it goes to the
    candidate, from the top ``control_bp`` down to the control, else to stable. The salt stays the
    same for a whole rollout, so a unit on the candidate stays there while the weight grows.
    """

    rollout_id: str
    stage: int
    salt: str
    stable: str
    candidate: str
    candidate_bp: int
    unit: Unit = Unit()
    #: Served name of the fresh pool of stable that latency is compared with; empty: none.
    control: str = ""
    control_bp: int = 0
    #: Share of stable's requests that the candidate is sent a copy of.
    shadow_bp: int = 0
    #: Requests before this many seconds after the stage began do not count as evidence.
    warmup_s: float = 0.0
    #: |score difference| above which two paired answers disagree.
    tolerance: float = 1e-6
    #: Requests a second, at most, of which it is noted who answered; 0: nobody will say how they
    #: turned out.
    exposures_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class EndpointRoutes:
    """All served entities of one endpoint, those with weight zero included (they can be pinned)."""

    name: str
    served: tuple[ServedRoute, ...]
    #: True when MLflow's own ``/invocations`` answers for this endpoint.
    default: bool = False
    #: Set while a rollout is under way; then it decides instead of the weights.
    stage: StageRoute | None = None
    #: Where a request says who sent it; None: where all endpoints look.
    caller: Unit | None = None
    #: How many predictions it may be asked for.
    limits: tuple[RateLimit, ...] = ()
    #: It is there and answers nobody, because somebody asked for that.
    stopped: bool = False
    #: Seconds for which an answer may be given again to identical requests; 0.0: never.
    cache_ttl_s: float = 0.0
    #: Set while no version of it has been ready: how its first update stands.
    unready: ConfigUpdate | None = None

    def route(self, served_name: str) -> ServedRoute | None:
        """The served entity of that name, or None."""
        return next((route for route in self.served if route.name == served_name), None)


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Every route there is, as of one generation."""

    generation: int = 0
    endpoints: tuple[EndpointRoutes, ...] = field(default=())
    #: Every token in force.
    grants: tuple[Grant, ...] = ()

    def replica_ids(self) -> frozenset[str]:
        """Ids of every replica that a request may reach under this table."""
        return frozenset(
            replica.replica_id
            for endpoint in self.endpoints
            for served in endpoint.served
            for replica in served.replicas
        )


def unit_point(salt: str, unit: bytes) -> float:
    """A unit's place in [0, 1): uniform over units, the same for ever for one salt.

    The first 53 bits of BLAKE2b, keyed by the salt, as the fraction of a double.
    """
    digest = hashlib.blake2b(unit, digest_size=8, key=salt.encode()[:64]).digest()
    return (int.from_bytes(digest, "big") >> 11) * 2.0**-53


class Split:
    """Chooses one of several names by weight: exact to the basis point, under 1 µs."""

    __slots__ = ("_bounds", "names")

    def __init__(self, weights_bp: dict[str, int]) -> None:
        """Take ``{name: basis points}``; raises ValueError unless they sum to `WHOLE`."""
        if sum(weights_bp.values()) != WHOLE or min(weights_bp.values()) < 0:
            raise ValueError(f"weights must be non-negative and sum to {WHOLE}: {weights_bp}")
        positive = {name: weight for name, weight in weights_bp.items() if weight}
        #: Those with a weight above zero.
        self.names = tuple(positive)
        self._bounds = tuple(accumulate(positive.values()))

    def choose(self, point: float) -> str:
        """The name at ``point``, a number in [0, 1) that the caller drew."""
        return self.names[bisect_right(self._bounds, point * WHOLE)]


@dataclass(frozen=True, slots=True)
class GatewayHello:
    """What a gateway tells the controller first, on each connection."""

    gateway_id: str
    #: New with every start of the process.
    incarnation: str
    pid: int
    #: The generation in force there; -1 for none.
    generation: int


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """A gateway serves by this generation and by nothing older."""

    generation: int
