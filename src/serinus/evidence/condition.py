"""How the whole server is doing at one moment, as plain data for whoever shows it. Pure.

It judges nothing, and nothing is decided by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from serinus.evidence.meter import Durations, Meter

__all__ = ["Batched", "Condition", "RolloutCondition", "ServedCondition"]


@dataclass(frozen=True, slots=True)
class Batched:
    """What the replicas of one served entity have counted, those that are gone included."""

    #: At place i the batches of at most 2**i requests (and more than the place before); the last
    #: place has all that are larger. Empty: nobody told.
    sizes: tuple[int, ...] = ()
    #: In all of them.
    requests: int = 0
    #: Of answers; each was written as null.
    nan: int = 0
    infinite: int = 0
    #: Live values: rows that found no room, slices that were given up to stay within the limit of
    #: memory, and requests that could not be counted.
    dropped: int = 0
    evicted: int = 0
    failed: int = 0

    def add(self, other: "Batched") -> "Batched":
        """Both together."""
        long, short = sorted((self.sizes, other.sizes), key=len, reverse=True)
        padded = short + (0,) * (len(long) - len(short))
        return Batched(
            tuple(mine + theirs for mine, theirs in zip(long, padded, strict=True)),
            self.requests + other.requests,
            self.nan + other.nan,
            self.infinite + other.infinite,
            self.dropped + other.dropped,
            self.evicted + other.evicted,
            self.failed + other.failed,
        )


@dataclass(frozen=True, slots=True)
class ServedCondition:
    """One served entity."""

    endpoint: str
    served: str
    #: Of the requests, in basis points.
    weight_bp: int = 0
    #: Replicas that should be there, and those that can answer.
    wanted: int = 0
    ready: int = 0
    #: Replicas that ended by themselves since the controller began.
    restarts: int = 0
    batched: Batched = field(default_factory=Batched)


@dataclass(frozen=True, slots=True)
class RolloutCondition:
    """The newest rollout of an endpoint."""

    endpoint: str
    phase: str
    candidate_bp: int
    #: Guardrail → what it says at this moment; empty once it is over.
    verdicts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Condition:
    """Everything at once."""

    #: Of each served entity, and of what was refused (served as ""), since the gateways began.
    meters: list[Meter] = field(default_factory=list)
    served: list[ServedCondition] = field(default_factory=list)
    rollouts: list[RolloutCondition] = field(default_factory=list)
    #: Generation of the routes that were published last; -1: none.
    newest: int = -1
    #: Connected gateway → the generation that it serves by.
    gateways: Mapping[str, int] = field(default_factory=dict)
    #: How long the turns of the control loop took.
    turns: Durations = field(default_factory=Durations)
