"""A rollout's stage as requests meet it: which arm answers, what is copied, what is recorded."""

from collections.abc import Callable, Iterable

from serinus.entities import WHOLE
from serinus.errors import SerinusError
from serinus.evidence.summary import Arm, ErrorClass, Exclusion
from serinus.gateway.cache import Shelf
from serinus.gateway.pool import Pool, ReplicaLink
from serinus.gateway.recorder import Recorder, fault_of
from serinus.gateway.shadow import Shadow
from serinus.gateway.units import finder
from serinus.replica.protocol import Format, Frame
from serinus.traffic import StageRoute, unit_point

__all__ = ["LiveStage"]

Headers = Iterable[tuple[bytes, bytes]]


#: An arm and the pool that answers for it.
Side = tuple[Arm, Pool]


class LiveStage:
    """One stage over the pools of one table. ``draw`` returns a number in [0, 1)."""

    def __init__(
        self,
        route: StageRoute,
        pools: dict[str, Pool],
        recorder: Recorder,
        shadow: Shadow,
        *,
        draw: Callable[[], float],
        clock: Callable[[], float],
        shelf: Shelf | None = None,
    ) -> None:
        self.route = route
        #: Set where answers are given again.
        self._shelf = shelf
        self.recorder = recorder
        self.shadow = shadow
        self._stable = (Arm.STABLE, pools[route.stable])
        # An arm whose pool is not in the table has no traffic, whatever its weight.
        candidate, control = pools.get(route.candidate), pools.get(route.control)
        self._candidate = self._stable if candidate is None else (Arm.CANDIDATE, candidate)
        self._control = self._stable if control is None else (Arm.CONTROL, control)
        self._below = route.candidate_bp / WHOLE if candidate else 0.0
        self._above = (WHOLE - route.control_bp) / WHOLE if control else 1.0
        self._shadow_below = route.shadow_bp / WHOLE if candidate else 0.0
        self._find = finder(route.unit)
        self._draw = draw
        self._clock = clock

    @property
    def carrying(self) -> list[Pool]:
        """The pools that have traffic."""
        shares = (
            (self._candidate, self._below),
            (self._control, 1.0 - self._above),
            (self._stable, self._above - self._below),
        )
        return [pool for (_, pool), share in shares if share > 0]

    def side(self, point: float) -> Side:
        """Who answers for the unit at that place in [0, 1)."""
        if point < self._below:
            return self._candidate
        return self._control if point >= self._above else self._stable

    def unit(self, headers: Headers, body: bytes, format_: Format) -> float | None:
        """The place of the request's sticky unit; None when it names none."""
        found = None if self._find is None else self._find(headers, body, format_)
        return None if found is None else unit_point(self.route.salt, found)

    async def invoke(
        self,
        headers: Headers,
        body: bytes,
        format_: Format,
        meta: bytes = b"",
        request_id: bytes = b"",
    ) -> tuple[Pool, Frame]:
        """Score the body on the arm that the request belongs to; raises what `Pool.call` raises."""
        began = self._clock()
        recorder = self.recorder
        # Before anything says who answers: what is picked must not depend on the arm.
        picked = request_id if recorder.picker.pick(began) else b""
        point = None if self._find is None else self.unit(headers, body, format_)
        arm, pool = self.side(self._draw() if point is None else point)
        evidence = self._find is None or point is not None
        if not evidence:
            recorder.exclude(arm, Exclusion.NO_UNIT)
        shelf = self._shelf
        if shelf is not None and shelf.repeated(body, format_) and evidence:
            evidence = False
            recorder.exclude(arm, Exclusion.REPEATED)
        recorder.in_flight += 1
        meter = pool.meter
        meter.in_flight += 1
        link: ReplicaLink | None
        try:
            if shelf is None:
                link, frame = await pool.call(body, format_, meta)
            else:
                # What is evidence is asked of its arm, whatever is known from before.
                link, frame = await shelf.ask(pool, body, format_, meta, anew=evidence)
        except SerinusError as error:
            ended = self._clock()
            meter.count(error.status, ended - began)
            if evidence:
                recorder.note(arm, point, began, ended, None, error, body)
            raise
        finally:
            recorder.in_flight -= 1
            meter.in_flight -= 1
        ended = self._clock()
        meter.count(frame.status, ended - began, frame.aux)
        if evidence:
            recorder.note(arm, point, began, ended, link, frame, body, picked)
        if self._shadow_below and arm is Arm.STABLE and link is not None:
            self._copy(body, format_, frame, ended - began, meta)
        return pool, frame

    def forced(self, served: str) -> None:
        """Count a request that was pinned to a served entity."""
        for arm, name in (
            (Arm.CANDIDATE, self.route.candidate),
            (Arm.CONTROL, self.route.control),
            (Arm.STABLE, self.route.stable),
        ):
            if name == served:
                self.recorder.exclude(arm, Exclusion.FORCED)
                return

    def _copy(self, body: bytes, format_: Format, frame: Frame, took: float, meta: bytes) -> None:
        # What the caller got wrong would be wrong for the candidate too.
        if self._draw() < self._shadow_below and fault_of(frame) is not ErrorClass.CLIENT:
            self.shadow.offer(self._candidate[1], body, format_, frame, took, meta)
