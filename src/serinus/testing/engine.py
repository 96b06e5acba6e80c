"""An engine in memory, held to the same suite as the real ones. Never for production.

No threads, no files and no real time: what happens, a test or a simulation makes happen.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from serinus.engine.engine import (
    EngineHealth,
    EngineUnreachable,
    FenceError,
    Lease,
    NodeCapacity,
    ReplicaPhase,
    ReplicaSpec,
    ReplicaStatus,
    SpecChanged,
    Stage,
    StagePhase,
)
from serinus.entities import EnvironmentRef, ModelRef, Optimize

__all__ = ["Call", "FakeEngine", "Script"]

_START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Script:
    """How a fake replica behaves. Times are seconds; `math.inf` means never."""

    start_s: float = 0.1
    load_s: float = 0.4
    #: Why loading fails at its end; empty: it does not.
    fails: str = ""
    #: With which exit code it then ends.
    exit_code: int = 1
    #: From the wish to stop until it has gone by itself.
    drain_s: float = 0.1
    #: What it prints at its start.
    prints: str = ""
    batched: bool = True


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an engine's methods, for simulations to check the order of things."""

    at: datetime
    name: str
    #: Replica id or model digest; empty where there is none.
    subject: str = ""


@dataclass(slots=True)
class _Replica:
    spec: ReplicaSpec
    script: Script
    pid: int
    began: datetime
    exit_code: int | None = None
    #: Set when it is gone.
    ended: bool = False
    message: str = ""
    stop_at: datetime | None = None
    gone_at: datetime | None = None


@dataclass(slots=True)
class _World:
    """What outlives a controller: the machine."""

    clock: Callable[[], datetime]
    passed: timedelta = timedelta(0)
    unreachable: bool = False
    lease: Lease = field(default_factory=lambda: Lease(0))
    renewed_at: datetime | None = None
    replicas: dict[str, _Replica] = field(default_factory=dict)
    scripts: dict[str, Script] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    stage_failures: dict[str, str] = field(default_factory=dict)
    pids: int = 1000

    @property
    def now(self) -> datetime:
        return self.clock() + self.passed


class FakeEngine:
    """An engine in memory whose time moves only by `advance`, or by the ``clock`` that it is given.

    `script` says how one replica will behave, ``default`` how all others do. `successor` is the
    engine that a restarted controller would make: the same replicas, nothing else remembered.
    """

    name = "fake"

    def __init__(
        self,
        *,
        clock: Callable[[], datetime] | None = None,
        default: Script = Script(),
        stage_s: float = 0.0,
    ) -> None:
        self._world = _World(clock or (lambda: _START))
        self._default = default
        self._stage_s = stage_s
        self._stages: dict[str, tuple[datetime, str | None]] = {}
        self._wakes: list[Callable[[], None]] = []
        #: All calls so far, oldest first.
        self.calls: list[Call] = []

    # --- what a simulation does -----------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass; wakes the watchers when that changed something."""
        before = self._picture()
        self._world.passed += timedelta(seconds=seconds)
        self._settle()
        if self._picture() != before:
            self._wake()

    def script(self, replica_id: str, script: Script) -> None:
        """How this replica will behave when it is started."""
        self._world.scripts[replica_id] = script

    def crash(self, replica_id: str, *, exit_code: int = -9, message: str = "It crashed.") -> None:
        """End a replica as if its process had died now."""
        self._settle()
        self._end(self._world.replicas[replica_id], exit_code, message)
        self._settle()
        self._wake()

    def fail_stage(self, digest: str, message: str) -> None:
        """Let the preparation of this model fail until `mend_stage`."""
        self._world.stage_failures[digest] = message

    def mend_stage(self, digest: str) -> None:
        """Let it work again."""
        self._world.stage_failures.pop(digest, None)

    def unreachable(self, yes: bool) -> None:
        """Make the engine lose (or find again) its knowledge; replicas go on meanwhile."""
        self._world.unreachable = yes
        self._wake()

    def print(self, replica_id: str, text: str) -> None:
        """Let a replica print something."""
        self._world.logs[replica_id] = self._world.logs.get(replica_id, "") + text

    def successor(self) -> "FakeEngine":
        """Another engine over the same machine."""
        other = FakeEngine(clock=self._world.clock, default=self._default, stage_s=self._stage_s)
        other._world = self._world
        return other

    def copy(self, clock: Callable[[], datetime]) -> "FakeEngine":
        """Another machine that begins as this one is now; what happens to one is nothing to it."""
        other = FakeEngine(clock=clock, default=self._default, stage_s=self._stage_s)
        other._world = replace(
            self._world,
            clock=clock,
            replicas={id_: replace(each) for id_, each in self._world.replicas.items()},
            scripts=dict(self._world.scripts),
            logs=dict(self._world.logs),
            stage_failures=dict(self._world.stage_failures),
        )
        return other

    def truth(self) -> tuple[ReplicaStatus, ...]:
        """What really runs now, whether the engine can be reached or not."""
        self._settle()
        now = self._world.now
        return tuple(self._status(each, now) for each in self._world.replicas.values())

    @property
    def epoch(self) -> int:
        """That of the newest controller it has heard of."""
        return self._world.lease.epoch

    @property
    def renewed_at(self) -> datetime | None:
        """The last sign of life of a controller."""
        return self._world.renewed_at

    # --- the Engine protocol --------------------------------------------------------------------

    def stage(self, model: ModelRef, optimize: Optimize = Optimize.NONE) -> Stage:
        """See `Engine.stage`."""
        self._note("stage", model.digest)
        began, told = self._stages.get(model.digest, (None, None))
        if began is None or told is not None:
            began = self._world.now
            self._stages[model.digest] = (began, None)
        if (self._world.now - began).total_seconds() < self._stage_s:
            return Stage(StagePhase.STAGING, message="The model is being prepared.")
        failure = self._world.stage_failures.get(model.digest)
        if failure is not None:
            self._stages[model.digest] = (began, failure)
            return Stage(StagePhase.FAILED, message=failure, log=failure)
        environment = EnvironmentRef(f"environment-of-{model.digest}", "/fake/python", "current")
        return Stage(StagePhase.READY, environment, "The model is ready to start.", "ready")

    def ensure(self, spec: ReplicaSpec) -> ReplicaStatus:
        """See `Engine.ensure`."""
        self._note("ensure", spec.replica_id)
        self._reach()
        self._admit(Lease(spec.fence_epoch, self._world.lease.ttl_s))
        self._settle()
        known = self._world.replicas.get(spec.replica_id)
        if known is None:
            known = self._start(spec)
        if replace(known.spec, fence_epoch=0) != replace(spec, fence_epoch=0):
            raise SpecChanged(
                f"Replica {spec.replica_id} exists with another spec; ask for a new id."
            )
        return self._status(known, self._world.now)

    def list(self) -> tuple[ReplicaStatus, ...]:
        """See `Engine.list`."""
        self._note("list")
        self._reach()
        self._settle()
        now = self._world.now
        return tuple(self._status(each, now) for each in self._world.replicas.values())

    def watch(self, wake: Callable[[], None]) -> None:
        """See `Engine.watch`."""
        self._wakes.append(wake)

    def renew(self, lease: Lease) -> None:
        """See `Engine.renew`."""
        self._note("renew")
        self._reach()
        self._admit(lease)

    def stop(self, replica_id: str, *, grace_s: float, fence_epoch: int) -> None:
        """See `Engine.stop`."""
        self._note("stop", replica_id)
        self._reach()
        self._admit(Lease(fence_epoch, self._world.lease.ttl_s))
        self._settle()
        replica = self._world.replicas.get(replica_id)
        if replica is None:
            return
        now = self._world.now
        replica.stop_at = replica.stop_at or now
        killed_at = now + timedelta(seconds=grace_s)
        drained_at = replica.stop_at + timedelta(seconds=min(replica.script.drain_s, 1e9))
        replica.gone_at = min(replica.gone_at or killed_at, killed_at, drained_at)
        self._settle()
        self._wake()

    def logs(self, replica_id: str, *, tail_bytes: int = 1 << 20) -> str:
        """See `Engine.logs`."""
        self._note("logs", replica_id)
        self._reach()
        content = self._world.logs.get(replica_id, "").encode()
        return content[max(0, len(content) - tail_bytes) :].decode(errors="replace")

    def capacity(self) -> tuple[NodeCapacity, ...]:
        """See `Engine.capacity`."""
        return (NodeCapacity("fake", 4.0, 16 << 30),)

    def health(self) -> EngineHealth:
        """See `Engine.health`."""
        return EngineHealth.DOWN if self._world.unreachable else EngineHealth.UP

    # --- inside ---------------------------------------------------------------------------------

    def _start(self, spec: ReplicaSpec) -> _Replica:
        self._world.pids += 1
        script = self._world.scripts.get(spec.replica_id, self._default)
        replica = _Replica(spec, script, self._world.pids, self._world.now)
        self._world.replicas[spec.replica_id] = replica
        self._world.logs[spec.replica_id] = script.prints
        return replica

    def _settle(self) -> None:
        """Let everything happen whose time has come."""
        now = self._world.now
        for replica in tuple(self._world.replicas.values()):
            if replica.stop_at is not None:
                if replica.ended or (replica.gone_at is not None and now >= replica.gone_at):
                    del self._world.replicas[replica.spec.replica_id]
                continue
            ready_s = replica.script.start_s + replica.script.load_s
            deadline_s = replica.spec.start_deadline_s
            if replica.ended or (ready_s <= deadline_s and not replica.script.fails):
                continue
            age = (now - replica.began).total_seconds()
            if ready_s > deadline_s and age >= deadline_s:
                words = f"The model was not ready {deadline_s:g} s after the start and was killed."
                self._end(replica, -9, words)
            elif replica.script.fails and age >= ready_s:
                self._end(replica, replica.script.exit_code, replica.script.fails)

    @staticmethod
    def _end(replica: _Replica, code: int, message: str) -> None:
        replica.ended, replica.exit_code, replica.message = True, code, message

    def _status(self, replica: _Replica, now: datetime) -> ReplicaStatus:
        phase = self._phase(replica, now)
        listening = phase is ReplicaPhase.READY
        return ReplicaStatus(
            spec=replica.spec,
            phase=phase,
            address=f"/fake/{replica.spec.replica_id}.sock" if listening else "",
            pid=None if replica.ended else replica.pid,
            exit_code=replica.exit_code,
            message=replica.message,
            batched=listening and replica.script.batched,
            started_at=replica.began,
        )

    @staticmethod
    def _phase(replica: _Replica, now: datetime) -> ReplicaPhase:
        if replica.ended:
            return ReplicaPhase.EXITED
        if replica.stop_at is not None:
            return ReplicaPhase.DRAINING
        age = (now - replica.began).total_seconds()
        if age < replica.script.start_s:
            return ReplicaPhase.STARTING
        ready = age >= replica.script.start_s + replica.script.load_s != math.inf
        return ReplicaPhase.READY if ready else ReplicaPhase.LOADING

    def _admit(self, lease: Lease) -> None:
        last = self._world.lease.epoch
        if lease.epoch < last:
            raise FenceError(
                f"A controller with epoch {last} is in charge; this one has {lease.epoch} and "
                "must not act any more."
            )
        self._world.lease = lease
        self._world.renewed_at = self._world.now

    def _reach(self) -> None:
        if self._world.unreachable:
            raise EngineUnreachable("The fake engine was made unreachable.")

    def _picture(self) -> dict[str, ReplicaPhase]:
        now = self._world.now
        return {key: self._phase(each, now) for key, each in self._world.replicas.items()}

    def _note(self, name: str, subject: str = "") -> None:
        self.calls.append(Call(self._world.now, name, subject))

    def _wake(self) -> None:
        for wake in tuple(self._wakes):
            wake()
