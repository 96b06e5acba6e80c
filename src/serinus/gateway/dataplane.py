"""The data plane without HTTP: routes in force, the choice of served entity, the call to its pool.

A RouteTable is swapped whole: a request sees one generation from choice to answer.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import MappingProxyType

from serinus.errors import ResourceDoesNotExist, TemporarilyUnavailable
from serinus.gateway.book import Book
from serinus.gateway.caller import Callers
from serinus.gateway.pool import Pool, ReplicaLink
from serinus.gateway.shadow import Shadow
from serinus.gateway.stage import LiveStage
from serinus.replica.protocol import Format, Frame
from serinus.traffic import EndpointRoutes, ReplicaAddress, RouteTable, Split, StageRoute

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
    ) -> None:
        self.generation = -1
        self.default: EndpointState | None = None
        self._endpoints: MappingProxyType[str, EndpointState] = MappingProxyType({})
        self._links: dict[ReplicaAddress, ReplicaLink] = {}
        self._draw = draw
        self._on_reject = on_reject
        self._dial_s = dial_s
        self._clock = clock
        #: What was seen of each rollout.
        self.book = Book(clock, wall)
        self._shadows: dict[tuple[str, int], Shadow] = {}
        self._applying = asyncio.Lock()

    async def apply(self, table: RouteTable) -> bool:
        """Swap to ``table`` once its new replicas are connected, or after ``dial_s``.

        Only ever moves to a higher generation; returns whether the table is now in force.
        """
        async with self._applying:
            if table.generation <= self.generation:
                return table.generation == self.generation
            wanted = {
                replica
                for endpoint in table.endpoints
                for served in endpoint.served
                for replica in served.replicas
            }
            for replica in wanted - self._links.keys():
                self._links[replica] = ReplicaLink(replica, self._on_reject, self._clock)
            await self._connected([self._links[replica] for replica in wanted])
            states = [self._state(endpoint) for endpoint in table.endpoints]
            self._endpoints = MappingProxyType({state.name: state for state in states})
            self.default = next(
                (s for s, e in zip(states, table.endpoints, strict=True) if e.default), None
            )
            self.generation = table.generation
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

    async def invoke(
        self,
        state: EndpointState,
        served: str | None,
        body: bytes,
        format_: Format,
        headers: Iterable[tuple[bytes, bytes]] = (),
        request_id: bytes = b"",
    ) -> tuple[Pool, Frame]:
        """Score ``body`` on the entity that the stage or the split chooses, or on the one pinned.

        ``headers`` have lower-case names. Raises ResourceDoesNotExist for an entity that is not
        there, and what `Pool.call` raises.
        """
        meta = state.callers.meta(headers, body, format_, request_id)
        if served is None:
            if state.stage is not None:
                return await state.stage.invoke(headers, body, format_, meta, request_id)
            if state.split is None:
                raise TemporarilyUnavailable(
                    f"Endpoint '{state.name}' has nothing to serve yet.", retry_after=1
                )
            served = state.split.choose(self._draw())
        elif state.stage is not None:
            state.stage.forced(served)
        pool = state.pools.get(served)
        if pool is None:
            raise ResourceDoesNotExist(
                f"Endpoint '{state.name}' has no served entity '{served}'; "
                f"it has {', '.join(state.pools) or 'none'}."
            )
        _, frame = await pool.call(body, format_, meta)
        return pool, frame

    def close(self) -> None:
        """Retire every link; requests in flight still get their answers."""
        self._end_stages([])
        for link in self._links.values():
            link.retire()

    async def _connected(self, links: list[ReplicaLink]) -> None:
        waiting = [asyncio.ensure_future(link.ready.wait()) for link in links]
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=self._dial_s)
            for task in late:
                task.cancel()

    def _state(self, endpoint: EndpointRoutes) -> EndpointState:
        pools = {
            served.name: Pool(served, [self._links[replica] for replica in served.replicas])
            for served in endpoint.served
        }
        weights = {served.name: served.weight_bp for served in endpoint.served}
        split = Split(weights) if any(weights.values()) else None
        stage = None
        if endpoint.stage is not None and endpoint.stage.stable in pools:
            stage = self._stage(endpoint.stage, pools)
        callers = Callers(endpoint.caller)
        return EndpointState(endpoint.name, split, MappingProxyType(pools), stage, callers)

    def _stage(self, route: StageRoute, pools: dict[str, Pool]) -> LiveStage:
        recorder = self.book.recorder(route)
        key = (route.rollout_id, route.stage)
        shadow = self._shadows.get(key)
        if shadow is None:
            shadow = self._shadows[key] = Shadow(recorder, route.tolerance, self._clock)
        return LiveStage(route, pools, recorder, shadow, draw=self._draw, clock=self._clock)

    def _end_stages(self, staying: list[StageRoute]) -> None:
        self.book.end_all_but(staying)
        for key in self._shadows.keys() - {(route.rollout_id, route.stage) for route in staying}:
            self._shadows.pop(key).stop()
