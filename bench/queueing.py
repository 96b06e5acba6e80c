"""Pools of batching replicas, simulated event by event, many runs at once, seeded.

The policy is the product's: a request goes to the replica with the least in flight; a replica that
is free takes all that has queued there, at most `max_batch`, and never waits for more. A batch of k
rows takes (fixed + per_row * k) times noise. Arms of a split are independent pools: thinning a
Poisson stream by a hash leaves independent Poisson streams.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.traces import Rng
from serinus.evidence.eprocess import Floats

__all__ = ["Answers", "Machine", "Pool", "serve"]

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Machine:
    """How fast a version answers."""

    fixed_s: float = 0.008
    per_row_s: float = 0.001
    max_batch: int = 128
    #: Spread (of the log) of a batch's time.
    noise: float = 0.25
    #: Share by which a batch takes longer on a replica that was idle for `idle_s` or more.
    cold: float = 0.0
    idle_s: float = 0.1
    #: Share of batches that stall (a collection, a page fault, a neighbour), and for how long.
    stalls: float = 0.0
    stall_s: float = 0.2

    def capacity(self) -> float:
        """Rows per second of one replica whose batches are full."""
        return self.max_batch / (self.fixed_s + self.per_row_s * self.max_batch)

    def slower(self, factor: float) -> "Machine":
        """The same, with every batch taking that much longer."""
        return replace(self, fixed_s=self.fixed_s * factor, per_row_s=self.per_row_s * factor)


@dataclass(frozen=True)
class Answers:
    """One run of one pool, one entry per batch, in the order in which they ended."""

    ended_s: Floats
    #: Of the request in it that waited longest, as the gateway sees it; of one that is timed, of
    #: those that were asked after the replica's last timed answer had come.
    longest_s: Floats
    model_s: Floats
    rows: Ints
    #: Whether an answer in it is timed (`serinus.gateway.timing`).
    timed: NDArray[np.bool_]


def serve(
    rng: Rng, machine: Machine, rates: Floats | float, seconds: float, replicas: int, runs: int
) -> list[Answers]:
    """What a pool answers in that time to a Poisson stream of so many requests per second."""
    rate = float(np.max(rates))
    most = int(rate * seconds + 6 * np.sqrt(rate * seconds) + 10)
    arrivals = np.cumsum(rng.exponential(1.0 / rate, (runs, most)), axis=1)
    arrivals[arrivals > seconds] = np.inf
    pool = Pool(rng, machine, arrivals, replicas)
    while pool.step():
        pass
    return pool.answers()


class Pool:
    """All runs of one pool; every step carries out one event of each run that still has one."""

    def __init__(self, rng: Rng, machine: Machine, arrivals: Floats, replicas: int) -> None:
        """``arrivals``: (run, request), ascending, padded with infinity."""
        runs, most = arrivals.shape
        self._rng, self._machine = rng, machine
        self._arrivals = np.append(arrivals, np.full((runs, 1), np.inf), axis=1)
        self._next = np.zeros(runs, np.int64)
        # A ring per replica would do; a slot per request is simpler, and runs are short.
        self._waiting = np.zeros((runs, replicas, most + 1))
        self._head = np.zeros((runs, replicas), np.int64)
        self._tail = np.zeros((runs, replicas), np.int64)
        self._busy_until = np.full((runs, replicas), np.inf)
        self._in_service = np.zeros((runs, replicas), np.int64)
        self._idle_since = np.zeros((runs, replicas))
        self._batches = np.zeros(runs, np.int64)
        #: How many had been asked of the replica when its last timed answer came.
        self._asked = np.zeros((runs, replicas), np.int64)
        self._timing = np.zeros((runs, replicas), bool)
        self._log = np.zeros((5, runs, most + 1))

    def step(self) -> bool:
        """False when nothing is left to happen."""
        runs = np.arange(len(self._next))
        arrival = self._arrivals[runs, self._next]
        replica = self._busy_until.argmin(axis=1)
        end = self._busy_until[runs, replica]
        arrives = arrival <= end
        alive = np.minimum(arrival, end) < np.inf
        come, done = np.flatnonzero(arrives & alive), np.flatnonzero(~arrives & alive)
        if len(come):
            self._arrive(come, arrival[come])
        if len(done):
            self._finish(done, replica[done], end[done])
        return bool(len(come) or len(done))

    def answers(self) -> list[Answers]:
        """The batches of each run."""
        result = []
        for run, count in enumerate(self._batches):
            first, end, took, rows, timed = self._log[:, run, :count]
            order = np.argsort(end, kind="stable")
            result.append(
                Answers(
                    end[order],
                    (end - first)[order],
                    took[order],
                    rows[order].astype(np.int64),
                    timed[order] > 0,
                )
            )
        return result

    def _arrive(self, runs: Ints, at: Floats) -> None:
        self._next[runs] += 1
        in_flight = self._in_service[runs] + self._tail[runs] - self._head[runs]
        replica = in_flight.argmin(axis=1)
        self._waiting[runs, replica, self._tail[runs, replica]] = at
        self._tail[runs, replica] += 1
        free = self._in_service[runs, replica] == 0
        if free.any():
            self._take(runs[free], replica[free], at[free])

    def _finish(self, runs: Ints, replica: Ints, at: Floats) -> None:
        self._in_service[runs, replica] = 0
        self._busy_until[runs, replica] = np.inf
        self._idle_since[runs, replica] = at
        timed = self._timing[runs, replica]
        self._asked[runs[timed], replica[timed]] = self._tail[runs[timed], replica[timed]]
        queued = self._tail[runs, replica] > self._head[runs, replica]
        if queued.any():
            self._take(runs[queued], replica[queued], at[queued])

    def _take(self, runs: Ints, replica: Ints, at: Floats) -> None:
        machine, head = self._machine, self._head[runs, replica]
        rows = np.minimum(self._tail[runs, replica] - head, machine.max_batch)
        took = (machine.fixed_s + machine.per_row_s * rows) * self._rng.lognormal(
            0.0, machine.noise, len(runs)
        )
        if machine.cold:
            took *= 1.0 + machine.cold * (at - self._idle_since[runs, replica] >= machine.idle_s)
        if machine.stalls:
            took += machine.stall_s * (self._rng.random(len(runs)) < machine.stalls)
        asked = self._asked[runs, replica]
        timed = asked < head + rows
        self._timing[runs, replica] = timed
        first = self._waiting[runs, replica, np.where(timed, np.maximum(head, asked), head)]
        place = self._batches[runs]
        self._log[:, runs, place] = first, at + took, took, rows, timed
        self._batches[runs] += 1
        self._head[runs, replica] += rows
        self._in_service[runs, replica] = rows
        self._busy_until[runs, replica] = at + took
