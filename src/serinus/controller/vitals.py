"""How one endpoint is doing now: its last minute, its replicas, what they use. It only looks."""

import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from serinus.controller.counting import Counting
from serinus.controller.groups import group_of
from serinus.engine.engine import Engine, EngineUnreachable, ReplicaPhase
from serinus.entities import Endpoint
from serinus.evidence.meter import Vitals

__all__ = ["VitalSigns"]


class VitalSigns:
    """Looks at endpoints. ``clock`` is monotonic seconds, as CPU time is measured by it."""

    def __init__(
        self, engine: Engine, counting: Counting, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._counting = counting
        self._clock = clock
        self._cores = psutil.cpu_count() or 1
        #: Process → when it was looked at last, and its CPU seconds by then.
        self._seen: dict[psutil.Process, tuple[float, float]] = {}

    def of(self, endpoint: Endpoint) -> Vitals:
        """The endpoint's vitals."""
        minute = self._counting.minute(endpoint.name)
        config = endpoint.active
        groups = {
            group_of(endpoint.id, entity)
            for entity in (config.entities if config is not None else ())
            if entity.model is not None and entity.environment is not None
        }
        try:
            replicas = self._engine.list()
        except EngineUnreachable:
            return Vitals(minute)
        mine = [r for r in replicas if r.spec.group in groups and r.phase is ReplicaPhase.READY]
        cpu = memory = 0.0
        for replica in mine:
            # One that has just ended uses nothing.
            with suppress(psutil.Error):
                process = psutil.Process(replica.pid)
                cpu += self._cpu(process)
                memory += process.memory_percent()
        return Vitals(minute, len(mine), cpu, memory)

    def _cpu(self, process: psutil.Process) -> float:
        """Percent of all cores since the process was looked at last, or since it began."""
        times, now = process.cpu_times(), self._clock()
        used = times.user + times.system
        for gone in [each for each in self._seen if not each.is_running()]:
            del self._seen[gone]
        age = time.time() - process.create_time()  # noqa: TID251 - as the kernel counts it
        at, before = self._seen.get(process, (now - age, 0.0))
        self._seen[process] = (now, used)
        return 100.0 * (used - before) / max(now - at, 1e-3) / self._cores
