"""Counters of the requests to one served entity, as a gateway keeps them and the controller adds
them up. Pure: it reads no clock. What it counts judges nobody; that is for `summary`.
"""

from bisect import bisect_left
from dataclasses import dataclass, field

from serinus.evidence.routed import Routed

__all__ = ["EDGES_S", "Counts", "Durations", "Meter", "Vitals"]

#: Upper edges of the buckets, in seconds; what is longer than the last is in one more.
EDGES_S = (
    *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)


def _buckets() -> list[int]:
    return [0] * (len(EDGES_S) + 1)


@dataclass(slots=True)
class Durations:
    """How long something took."""

    #: One count for each of `EDGES_S`, and one for what is longer.
    buckets: list[int] = field(default_factory=_buckets)
    seconds: float = 0.0

    def add(self, other: "Durations", sign: int = 1) -> "Durations":
        """Both together, or (``sign`` -1) what this one has beyond the other."""
        pairs = zip(self.buckets, other.buckets, strict=True)
        return Durations(
            [max(0, mine + sign * theirs) for mine, theirs in pairs],
            max(0.0, self.seconds + sign * other.seconds),
        )


@dataclass(slots=True)
class Meter:
    """Of one served entity at one gateway, since the gateway started."""

    endpoint: str
    #: Empty: requests that were refused before anybody was chosen.
    served: str
    #: HTTP status → requests.
    statuses: dict[int, int] = field(default_factory=dict)
    #: From the choice of a served entity to its answer.
    latency: Durations = field(default_factory=Durations)
    #: Inside the model, for the batch that the request was in.
    model: Durations = field(default_factory=Durations)
    #: The rest of `latency`: waiting for the model, and the way there and back.
    queue: Durations = field(default_factory=Durations)
    #: Sent to a replica and not answered yet.
    in_flight: int = 0
    #: What became of requests where answers are given again: hit, joined, miss, passed; and how
    #: many answers had to go (evicted). Empty where they are not.
    cached: dict[str, int] = field(default_factory=dict)
    #: Bytes of the answers that are kept.
    cached_bytes: int = 0

    @property
    def requests(self) -> int:
        """Every request that was answered or refused."""
        return sum(self.statuses.values())

    def count(self, status: int, took_s: float, model_us: int = 0) -> None:
        """One request that had its answer; every request runs through here."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        latency = self.latency
        latency.buckets[bisect_left(EDGES_S, took_s)] += 1
        latency.seconds += took_s
        if model_us:
            model_s = model_us * 1e-6
            model, queue = self.model, self.queue
            model.buckets[bisect_left(EDGES_S, model_s)] += 1
            model.seconds += model_s
            waited_s = took_s - model_s
            if waited_s < 0.0:
                waited_s = 0.0
            queue.buckets[bisect_left(EDGES_S, waited_s)] += 1
            queue.seconds += waited_s

    def note_cache(self, what: str) -> None:
        """One more of `cached`."""
        self.cached[what] = self.cached.get(what, 0) + 1

    def refuse(self, status: int) -> None:
        """One request that nobody was asked about."""
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def add(self, other: "Meter", sign: int = 1) -> "Meter":
        """Both together, or (``sign`` -1) what happened since ``other``, as a new value."""
        statuses = dict(self.statuses)
        for status, count in other.statuses.items():
            statuses[status] = max(0, statuses.get(status, 0) + sign * count)
        cached = dict(self.cached)
        for what, count in other.cached.items():
            cached[what] = max(0, cached.get(what, 0) + sign * count)
        return Meter(
            self.endpoint,
            self.served,
            {status: count for status, count in statuses.items() if count},
            self.latency.add(other.latency, sign),
            self.model.add(other.model, sign),
            self.queue.add(other.queue, sign),
            self.in_flight + other.in_flight if sign > 0 else self.in_flight,
            {what: count for what, count in cached.items() if count},
            self.cached_bytes + other.cached_bytes if sign > 0 else self.cached_bytes,
        )


@dataclass(slots=True)
class Counts:
    """What a gateway tells of its meters: cumulative, so that twice is harmless."""

    gateway_id: str
    incarnation: str
    #: All that there are, as it tells first on a connection; else those that have changed.
    whole: bool
    meters: list[Meter] = field(default_factory=list)
    #: How it divides requests now, endpoint by endpoint.
    routed: list[Routed] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Vitals:
    """How one endpoint is doing."""

    #: Of the last minute, all served entities and all gateways together.
    minute: Meter
    #: Replicas that can answer.
    replicas: int = 0
    #: Of all cores of the machine, over the time since it was asked before; None: nobody knows.
    cpu_percent: float | None = None
    #: Of the machine's memory; None: nobody knows.
    memory_percent: float | None = None
