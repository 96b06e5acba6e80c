"""A server under one load: what came of it, what it cost, and how disturbed the machine was."""

import time
from dataclasses import dataclass

from bench.latency import LoadResult
from bench.load import Job, measure
from bench.machine import machine_busy_seconds, noise_ms
from bench.processes import ProcessTree

__all__ = ["Measurement", "measured"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One load on one server, once."""

    load: LoadResult
    #: A fixed loop of Python, before and after: the machine's own speed.
    noise_ms: tuple[float, float]
    #: CPU seconds of the server while it was loaded, by role.
    cpu_s: dict[str, float]
    #: Cores used by neither server nor generator.
    foreign_cores: float


def measured(tree: ProcessTree, job: Job) -> Measurement:
    """Load a server that runs, and weigh it meanwhile."""
    before, roles = noise_ms(), tree.roles()
    began, busy, cpu = time.perf_counter(), machine_busy_seconds(), tree.cpu_seconds()
    load = measure(job)
    took, busy = time.perf_counter() - began, machine_busy_seconds() - busy
    used: dict[str, float] = {}
    for pid, seconds in tree.cpu_seconds().items():
        role = roles.get(pid, "child")
        used[role] = used.get(role, 0.0) + seconds - cpu.get(pid, 0.0)
    # The generator's share is measured in its window and was much the same before it.
    foreign = max(busy - sum(used.values()), 0.0) / took - load.generator_cpu
    return Measurement(load, (before, noise_ms()), used, max(foreign, 0.0))
