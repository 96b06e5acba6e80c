"""The data plane without HTTP: routes in force, the choice of served entity, the call to its pool.

A RouteTable is swapped whole: a request sees one generation from choice to answer.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import MappingProxyType

from serinus.entities import ConfigUpdate
from serinus.errors import (
    InvalidState,
    ResourceDoesNotExist,
    SerinusError,
    TemporarilyUnavailable,
)
from serinus.evidence.meter import Meter
from serinus.evidence.routed import Routed
from serinus.gateway.access import Guard
from serinus.gateway.book import Book
from serinus.gateway.cache import Cache, CacheLimits, Shelf
from serinus.gateway.caller import Callers
from serinus.gateway.metrics import Meters
from serinus.gateway.pool import Pool, ReplicaLink
from serinus.gateway.quarantine import Quarantine, Quarantines
from serinus.gateway.shadow import Shadow
from serinus.gateway.stage import LiveStage
from serinus.replica.protocol import SEPARATOR, Format, Frame
from serinus.traffic import (
    EndpointRoutes,
    ReplicaAddress,
    RouteTable,
    ServedRoute,
    Split,
    StageRoute,
)

__all__ = ["DataPlane", "EndpointState"]


_CALLERS = Callers(None)


@dataclass(frozen=True, slots=True)
class EndpointState:
    """One endpoint as requests see it."""

    name: str
    split: Split | None
    pools: MappingProxyType[str, Pool]
    #: Set while a rollout is under way; then it decides and not the split.
    stage: LiveStage | None = None
    #: Who is counted as whom.
    callers: Callers = _CALLERS
    #: Answers nobody, because somebody asked for that.
    stopped: bool = False
    #: Set while no version of it has been ready: how its first update stands.
    unready: ConfigUpdate | None = None
    #: Where requests are counted that were refused before anybody was chosen.
    meter: Meter = field(default_factory=lambda: Meter("", ""))
    #: Where the split has sent requests.
    routed: Routed = field(default_factory=lambda: Routed("", {}))
    #: Set where answers are given again.
    shelf: Shelf | None = None

    @property
    def ready(self) -> bool:
        """True when each entity that carries traffic has a replica to carry it."""
        if self.stage is not None:
            return all(pool.ready() for pool in self.stage.carrying)
        return self.split is not None and all(self.pools[name].ready() for name in self.split.names)


class DataPlane:
    """Answers requests by the table that was applied last.

    ``draw`` returns a number in [0, 1); ``on_reject`` is told (replica id, reason) when something
    at a replica's address is not that replica. ``clock`` is monotonic and fine enough for
    latencies; ``wall`` gives seconds since the epoch.
    """

    def __init__(
        self,
        draw: Callable[[], float],
        on_reject: Callable[[str, str], None],
        dial_s: float = 2.0,
        *,
        clock: Callable[[], float] = time.perf_counter,
        # Only orders errors that several gateways saw; nothing is decided by the time of day.
        wall: Callable[[], float] = time.time,  # noqa: TID251
        guard: Guard | None = None,
        cache: CacheLimits | None = None,
    ) -> None:
        self.generation = -1
        #: Who may come in; it goes by the same tables.
        self.guard = guard
        self.default: EndpointState | None = None
        self.meters = Meters()
        self._endpoints: MappingProxyType[str, EndpointState] = MappingProxyType({})
        self._links: dict[ReplicaAddress, ReplicaLink] = {}
        self._draw = draw
        self._on_reject = on_reject
        self._dial_s = dial_s
        self._clock = clock
        #: What was seen of each rollout.
        self.book = Book(clock, wall)
        self.cache = Cache(cache)
        self._shelves: dict[str, Shelf] = {}
        self._shadows: dict[tuple[str, int], Shadow] = {}
        self.quarantines = Quarantines()
        self._applying = asyncio.Lock()

    async def apply(self, table: RouteTable) -> bool:
        """Swap to ``table`` once its new replicas are connected, or after ``dial_s``.

        Only ever moves to a higher generation; returns whether the table is now in force.
        """
        async with self._applying:
            if table.generation <= self.generation:
                return table.generation == self.generation
            if self.guard is not None:
                # At once: who must not come in any more does not wait for replicas to be dialled.
                self.guard.learn(table)
            wanted = {
                replica
                for endpoint in table.endpoints
                for served in endpoint.served
                for replica in served.replicas
            }
            for replica in wanted - self._links.keys():
                self._links[replica] = ReplicaLink(replica, self._on_reject, self._clock)
            await self._connected([self._links[replica] for replica in wanted])
            self._shelve(table.endpoints)
            states = [self._state(endpoint) for endpoint in table.endpoints]
            self._endpoints = MappingProxyType({state.name: state for state in states})
            self.default = next(
                (s for s, e in zip(states, table.endpoints, strict=True) if e.default), None
            )
            self.generation = table.generation
            self.meters.keep(table.endpoints)
            self.quarantines.keep(
                {(each.name, one.name) for each in table.endpoints for one in each.served}
            )
            self._end_stages([state.stage.route for state in states if state.stage is not None])
            for replica in self._links.keys() - wanted:
                self._links.pop(replica).retire()
            return True

    def endpoint(self, name: str) -> EndpointState:
        """The endpoint of that name; raises ResourceDoesNotExist."""
        state = self._endpoints.get(name)
        if state is None:
            raise ResourceDoesNotExist(f"Endpoint with name '{name}' does not exist.")
        return state

    def turned_away(self, path: str, status: int) -> None:
        """Count a request that was refused before anybody looked for its endpoint."""
        match path.split("/"):
            case ["", "serving-endpoints", name, *_, "invocations"] if name in self._endpoints:
                self._endpoints[name].meter.refuse(status)

    async def invoke(
        self,
        state: EndpointState,
        served: str | None,
        body: bytes,
        format_: Format,
        headers: Iterable[tuple[bytes, bytes]] = (),
        request_id: bytes = b"",
        trace: bytes = b"",
    ) -> tuple[Pool, Frame]:
        """Score ``body`` on the entity that the stage or the split chooses, or on the one pinned.

        ``headers`` have lower-case names; ``trace`` is as `tracing.carried` has it. Raises
        ResourceDoesNotExist for an entity that is not there, and what `Pool.call` raises.
        """
        meta = state.callers.meta(headers, body, format_, request_id)
        if trace:
            meta += SEPARATOR + trace
        shelf = state.shelf
        if served is None:
            if state.stage is not None:
                return await state.stage.invoke(headers, body, format_, meta, request_id)
            if state.split is None:
                nothing = f"Endpoint '{state.name}' has nothing to serve yet."
                raise _refused(state, TemporarilyUnavailable(nothing, retry_after=1))
            served = state.split.choose(self._draw())
            chosen = state.routed.chosen
            chosen[served] = chosen.get(served, 0) + 1
        else:
            shelf = None  # who pins a version wants its answer
            if state.stage is not None:
                state.stage.forced(served)
        pool = state.pools.get(served)
        if pool is None:
            unknown = (
                f"Endpoint '{state.name}' has no served entity '{served}'; "
                f"it has {', '.join(state.pools) or 'none'}."
            )
            raise _refused(state, ResourceDoesNotExist(unknown))
        meter, began = pool.meter, self._clock()
        meter.in_flight += 1
        try:
            if shelf is None:
                _, frame = await pool.call(body, format_, meta)
            else:
                _, frame = await shelf.ask(pool, body, format_, meta)
        except SerinusError as error:
            meter.count(error.status, self._clock() - began)
            raise
        finally:
            meter.in_flight -= 1
        meter.count(frame.status, self._clock() - began, frame.aux)
        return pool, frame

    def close(self) -> None:
        """Retire every link; requests in flight still get their answers."""
        self._end_stages([])
        for link in self._links.values():
            link.retire()

    def _shelve(self, endpoints: tuple[EndpointRoutes, ...]) -> None:
        """A shelf for each endpoint whose answers are given again; all others are forgotten."""
        before, self._shelves = self._shelves, {}
        for each in endpoints:
            if each.cache_ttl_s:
                shelf = before.get(each.name)
                if shelf is None or shelf.ttl_s != each.cache_ttl_s:
                    shelf = Shelf(self.cache, each.cache_ttl_s, self._clock)
                self._shelves[each.name] = shelf
        if before or self._shelves:
            self.cache.keep({one.edition for each in endpoints for one in each.served})

    async def _connected(self, links: list[ReplicaLink]) -> None:
        waiting = [asyncio.ensure_future(link.ready.wait()) for link in links]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=self._dial_s)
            for task in late:
                task.cancel()

    def _state(self, endpoint: EndpointRoutes) -> EndpointState:
        pools = {
            served.name: Pool(
                served,
                [self._links[replica] for replica in served.replicas],
                self.meters.of(endpoint.name, served.shown_as or served.name),
                self._quarantine(endpoint.name, served),
            )
            for served in endpoint.served
        }
        weights = {served.name: served.weight_bp for served in endpoint.served}
        split = Split(weights) if any(weights.values()) else None
        stage = None
        if endpoint.stage is not None and endpoint.stage.stable in pools:
            stage = self._stage(endpoint.stage, pools, self._shelves.get(endpoint.name))
        callers = (
            Callers(endpoint.caller)
            if self.guard is None
            else Callers(endpoint.caller, self.guard.token_name)
        )
        return EndpointState(
            endpoint.name,
            split,
            MappingProxyType(pools),
            stage,
            callers,
            endpoint.stopped,
            endpoint.unready,
            self.meters.of(endpoint.name),
            self._routed(endpoint.name, weights),
            self._shelves.get(endpoint.name),
        )

    def routed(self) -> list[Routed]:
        """How requests were divided since the weights of now are in force."""
        return [state.routed for state in self._endpoints.values() if state.split is not None]

    def _routed(self, endpoint: str, weights: dict[str, int]) -> Routed:
        """The counts of before where the weights are those of before."""
        state = self._endpoints.get(endpoint)
        if state is not None and state.routed.weights == weights:
            return state.routed
        return Routed(endpoint, weights)

    def _quarantine(self, endpoint: str, served: ServedRoute) -> Quarantine:
        model = served.replicas[0].model_digest if served.replicas else ""
        return self.quarantines.of(endpoint, served.name, model)

    def _stage(self, route: StageRoute, pools: dict[str, Pool], shelf: Shelf | None) -> LiveStage:
        recorder = self.book.recorder(route)
        key = (route.rollout_id, route.stage)
        shadow = self._shadows.get(key)
        if shadow is None:
            shadow = self._shadows[key] = Shadow(recorder, route.tolerance, self._clock)
        return LiveStage(
            route, pools, recorder, shadow, draw=self._draw, clock=self._clock, shelf=shelf
        )

    def _end_stages(self, staying: list[StageRoute]) -> None:
        self.book.end_all_but(staying)
        for key in self._shadows.keys() - {(route.rollout_id, route.stage) for route in staying}:
            self._shadows.pop(key).stop()


def _refused(state: EndpointState, error: SerinusError) -> SerinusError:
    """What to raise where nobody can be asked: for an endpoint that can't answer yet, or is
    stopped, that it is so.
    """
    if state.stopped:
        error = InvalidState(
            f"Endpoint '{state.name}' is stopped and answers nobody; start it again with POST "
            f"/api/2.0/serving-endpoints/{state.name}/config:start."
        )
    elif state.unready is ConfigUpdate.IN_PROGRESS:
        error = TemporarilyUnavailable(_why_not(state.name, state.unready), retry_after=1)
    elif state.unready is not None:
        # Clients try a 503 again for minutes, and this does not end by waiting.
        error = InvalidState(_why_not(state.name, state.unready))
    state.meter.refuse(error.status)
    return error


def _why_not(name: str, update: ConfigUpdate) -> str:
    """How the first update of an endpoint stands that has never answered."""
    where = f"GET /api/2.0/serving-endpoints/{name}"
    match update:
        case ConfigUpdate.IN_PROGRESS:
            said = f"its first version is being prepared; {where} says how far it is"
        case ConfigUpdate.NOT_UPDATING:
            said = f"it has nothing to serve; give it a config with PUT {where[4:]}/config"
        case _:
            said = f"its first update did not succeed; {where} says why, under pending_config"
    return f"Endpoint '{name}' is not ready ({update.value}): {said}."
