"""Who answers a request: the RouteTable and the choice between served entities. Pure.

A RouteTable is an immutable snapshot of all routes. A gateway swaps it whole and acknowledges its
generation; nothing here reads a clock, a socket or a source of randomness.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate

from serinus.entities import WHOLE

__all__ = [
    "Acknowledge",
    "EndpointRoutes",
    "GatewayHello",
    "ReplicaAddress",
    "RouteTable",
    "ServedRoute",
    "Split",
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


@dataclass(frozen=True, slots=True)
class EndpointRoutes:
    """All served entities of one endpoint, those with weight zero included (they can be pinned)."""

    name: str
    served: tuple[ServedRoute, ...]
    #: True when MLflow's own ``/invocations`` answers for this endpoint.
    default: bool = False

    def route(self, served_name: str) -> ServedRoute | None:
        """The served entity of that name, or None."""
        return next((route for route in self.served if route.name == served_name), None)


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Every route there is, as of one generation."""

    generation: int = 0
    endpoints: tuple[EndpointRoutes, ...] = field(default=())

    def replica_ids(self) -> frozenset[str]:
        """Ids of every replica that a request may reach under this table."""
        return frozenset(
            replica.replica_id
            for endpoint in self.endpoints
            for served in endpoint.served
            for replica in served.replicas
        )


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
