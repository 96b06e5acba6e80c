"""The engine of one machine: each replica is a process of its own, known by files under the home.

Replicas outlive it: a new engine over the same home finds them again. It must never conclude from a
file that it can't read that a replica is gone.
"""

import contextlib
import os
import platform
import re
import select
import shutil
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import msgspec
import psutil
import structlog

from serinus.engine.artifacts import ModelStore
from serinus.engine.engine import (
    EngineHealth,
    EngineUnreachable,
    Lease,
    NodeCapacity,
    ReplicaPhase,
    ReplicaSpec,
    ReplicaStatus,
    SpecChanged,
    Stage,
)
from serinus.engine.fence import Fence
from serinus.engine.forms import Forms
from serinus.engine.limits import Limits
from serinus.engine.optimize import Builder
from serinus.engine.output import ReplicaLogs
from serinus.engine.places import Places
from serinus.engine.process import replica_environ
from serinus.engine.record import Replica, create_directory
from serinus.engine.remote import remote_url
from serinus.engine.staging import Staging
from serinus.entities import ModelRef, Optimize
from serinus.errors import SerinusError, described
from serinus.replica.launch import Launch

__all__ = ["LocalEngine"]

_REPLICA_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_BUSY_S, _CALM_S = 0.05, 0.5
_PASSING = frozenset({ReplicaPhase.STARTING, ReplicaPhase.LOADING, ReplicaPhase.DRAINING})

_log = structlog.get_logger(__name__)


class LocalEngine:
    """Runs replicas as processes under ``home``, their sockets in ``run_dir``.

    ``run_dir`` is made with mode 0700 and must be short. ``environ`` is the server's own
    environment, of which replicas get an allow-list. ``lifeline_fd`` is the read end of a pipe
    whose write end only the supervisor holds. ``replica_command`` follows the interpreter of the
    replica's environment. ``remote_hosts`` are the hosts that remote endpoints may be at.
    ``resolved`` puts secrets in the place of references to them, as a replica starts.
    """

    name = "local"

    def __init__(
        self,
        home: Path,
        run_dir: Path,
        *,
        store: ModelStore,
        builder: Builder,
        clock: Callable[[], datetime],
        environ: Mapping[str, str],
        lifeline_fd: int | None = None,
        replica_command: tuple[str, ...] = ("-m", "serinus.replica.main"),
        drain_s: float = 30.0,
        keep_logs: int = 32,
        log_json: bool = False,
        limits: Limits | None = None,
        remote_hosts: Collection[str] = (),
        resolved: Callable[[Mapping[str, str]], Mapping[str, str]] = dict,
    ) -> None:
        self._store = store
        self._resolved = resolved
        self._clock = clock
        self._environ = dict(environ)
        self._lifeline_fd = lifeline_fd
        self._command = replica_command
        self._drain_s = drain_s
        self._log_json = log_json
        self._limits = limits or Limits()
        self._remote_hosts = ",".join(remote_hosts)
        self._places = Places(home, run_dir)
        self._root = self._places.replicas
        self._logs = ReplicaLogs(self._places.home, keep=keep_logs)
        self._forms = Forms(self._places.home, clock)
        self._fence = Fence(self._places.home / "run")
        self._lock = threading.RLock()
        self._replicas: dict[str, Replica] = {}
        self._wakes: list[Callable[[], None]] = []
        self._trouble = False
        self._news = False
        self._closed = False
        self._staging = Staging(store, builder, self._notify)
        self._bell_out, self._bell_in = os.pipe()
        os.set_blocking(self._bell_in, False)
        self._watcher = threading.Thread(target=self._run, name="engine-watch", daemon=True)
        self._watcher.start()

    def close(self) -> None:
        """Stop watching. The replicas go on; another engine over the same home finds them."""
        self._closed = True
        self._ring()
        self._watcher.join()
        with self._lock:
            for each in self._replicas.values():
                if each.process is not None:
                    each.process.ended()  # reaps it if it has
        os.close(self._bell_in)
        os.close(self._bell_out)

    def stage(self, model: ModelRef, optimize: Optimize = Optimize.NONE) -> Stage:
        """See `Engine.stage`."""
        return self._staging.stage(model, optimize)

    def ensure(self, spec: ReplicaSpec) -> ReplicaStatus:
        """See `Engine.ensure`. Raises ValueError for an id that can't be a file name, too."""
        self._check_id(spec.replica_id)
        try:
            lease = self._fence.admit(spec.fence_epoch)
            with self._lock:
                self._adopt(spec.replica_id)
                known = self._replicas.get(spec.replica_id) or self._start(spec, lease)
                if replace(known.spec, fence_epoch=0) != replace(spec, fence_epoch=0):
                    raise SpecChanged(
                        f"Replica {spec.replica_id} exists with another spec; ask for a new id."
                    )
                self._ring()
                return known.status()
        except (OSError, msgspec.DecodeError) as error:
            raise self._unreachable(error) from error

    def list(self) -> tuple[ReplicaStatus, ...]:
        """See `Engine.list`."""
        try:
            with self._lock:
                self._look_around()
                now = time.monotonic()
                for each in self._replicas.values():
                    self._news |= each.refresh(now)
                if self._news:  # others wait for it, and the watcher can't see it any more
                    self._ring()
                return tuple(each.status() for each in self._replicas.values())
        except (OSError, msgspec.DecodeError) as error:
            raise self._unreachable(error) from error

    def watch(self, wake: Callable[[], None]) -> None:
        """See `Engine.watch`."""
        self._wakes.append(wake)

    def renew(self, lease: Lease) -> None:
        """See `Engine.renew`."""
        try:
            self._fence.admit(lease.epoch, ttl_s=lease.ttl_s)
        except OSError as error:
            raise self._unreachable(error) from error

    def stop(self, replica_id: str, *, grace_s: float, fence_epoch: int) -> None:
        """See `Engine.stop`."""
        if not _REPLICA_ID.fullmatch(replica_id):
            return
        try:
            self._fence.admit(fence_epoch)
            with self._lock:
                self._adopt(replica_id)
                if replica := self._replicas.get(replica_id):
                    replica.request_stop(grace_s, now=time.monotonic(), at=self._clock())
        except (OSError, msgspec.DecodeError) as error:
            raise self._unreachable(error) from error
        self._ring()

    def logs(self, replica_id: str, *, tail_bytes: int = 1 << 20) -> str:
        """See `Engine.logs`."""
        if not _REPLICA_ID.fullmatch(replica_id):
            return ""
        try:
            return self._logs.tail(replica_id, tail_bytes)
        except OSError as error:
            raise self._unreachable(error) from error

    def capacity(self) -> tuple[NodeCapacity, ...]:
        """See `Engine.capacity`."""
        cpus = getattr(os, "sched_getaffinity", lambda _: ())(0) or range(psutil.cpu_count() or 1)
        return (NodeCapacity(platform.node(), float(len(cpus)), psutil.virtual_memory().total),)

    def health(self) -> EngineHealth:
        """See `Engine.health`."""
        if not self._watcher.is_alive() or not os.access(self._root, os.R_OK | os.X_OK):
            return EngineHealth.DOWN
        usable = os.access(self._root, os.W_OK) and os.access(self._places.sockets, os.W_OK)
        return EngineHealth.UP if usable and not self._trouble else EngineHealth.DEGRADED

    # --- starting -------------------------------------------------------------------------------

    def _start(self, spec: ReplicaSpec, lease: Lease) -> Replica:
        directory = self._root / spec.replica_id
        launch = Launch(
            replica_id=spec.replica_id,
            model_digest=spec.model_digest,
            model_path=str(self._store.root / spec.model_digest),
            socket_path=str(self._places.socket(spec.replica_id)),
            status_path=str(directory / "status.json"),
            log_path=str(self._logs.path(spec.replica_id)),
            max_batch=spec.max_batch,
            batch_time_s=spec.batch_time_s,
            intake=spec.intake,
            optimize=spec.optimize,
            forms_path=str(self._forms.place(spec, [r.spec for r in self._replicas.values()])),
            convert_s=spec.start_deadline_s / 2,
            threads=spec.threads,
            lifeline_fd=self._lifeline_fd,
            lease_path=str(self._fence.lease_path),
            lease_ttl_s=lease.ttl_s,
            drain_s=self._drain_s,
            log_json=self._log_json,
        )
        Path(launch.socket_path).unlink(missing_ok=True)
        made = create_directory(directory, spec, launch)
        replica = Replica(directory, self._logs, now=time.monotonic(), at=self._clock())
        self._replicas[spec.replica_id] = replica
        if made:
            python = spec.environment.python
            try:
                environ = replica_environ(
                    self._environ,
                    python=python,
                    runtime=self._places.runtime(),
                    threads=spec.threads,
                    env_vars=self._resolved(spec.env_vars),
                )
            except SerinusError as error:
                replica.not_started(error.message)
                return replica
            command = [python, *self._command_for(launch), str(directory)]
            replica.start(command, environ, self._limits, at=self._clock())
        return replica

    def _command_for(self, launch: Launch) -> tuple[str, ...]:
        """What to run: the model, or what passes requests on to the endpoint in its place."""
        if remote_url(Path(launch.model_path)) is None:
            return self._command
        return "-m", "serinus.engine.relay", self._remote_hosts

    @staticmethod
    def _check_id(replica_id: str) -> None:
        if not _REPLICA_ID.fullmatch(replica_id):
            raise ValueError(
                f"{replica_id[:120]!r} can't be the id of a replica: use letters, digits, '.', '_' "
                "and '-', at most 100 of them."
            )

    # --- knowing what runs ----------------------------------------------------------------------

    def _look_around(self) -> None:
        """Take in what the directories tell; raises OSError. Needs the lock."""
        names = {each.name for each in os.scandir(self._root) if not each.name.startswith(".")}
        for name in names:
            self._adopt(name)
        for name in self._replicas.keys() - names:
            # Another engine has stopped and forgotten it, unless its process says otherwise.
            process = self._replicas[name].process
            if process is None or process.ended():
                del self._replicas[name]

    def _adopt(self, name: str) -> None:
        """Know a replica that somebody else started. Needs the lock."""
        directory = self._root / name
        if name not in self._replicas and directory.is_dir():
            with contextlib.suppress(FileNotFoundError):  # being removed at this moment
                self._replicas[name] = Replica(
                    directory, self._logs, now=time.monotonic(), at=self._clock()
                )

    def _forget(self, replica_id: str) -> None:
        """Remove what a stopped replica leaves, except its log. Needs the lock."""
        replica = self._replicas.pop(replica_id)
        Path(replica.launch.socket_path).unlink(missing_ok=True)
        gone = self._root / f".gone-{replica_id}"
        shutil.rmtree(gone, ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            replica.directory.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
        self._logs.prune(set(self._replicas))

    def _unreachable(self, error: Exception) -> EngineUnreachable:
        return EngineUnreachable(
            f"The state of the replicas in {self._root} can't be read or written ({error}); "
            "nothing is known of them until it can."
        )

    # --- watching -------------------------------------------------------------------------------

    def _run(self) -> None:
        """Notice ends and changes, enforce deadlines, finish stops, until closed."""
        adopted = False
        while not self._closed:
            try:
                with self._lock:
                    changed = self._tick()
                    if not adopted:
                        self._look_around()  # stops that an earlier controller began go on
                        adopted = True
                self._trouble = False
            except Exception as error:  # noqa: BLE001 - see below
                # Whatever it is: a watcher that dies would leave replicas nobody looks after.
                # Logged without a traceback, whose locals would show values of env_vars.
                if not self._trouble:
                    _log.error("engine_watch_failed", error=described(error))
                self._trouble, changed = True, False
            if changed:
                self._notify()
            self._wait()

    def _tick(self) -> bool:
        now, changed = time.monotonic(), self._news
        self._news = False
        for replica_id, replica in tuple(self._replicas.items()):
            changed |= replica.refresh(now)
            self._logs.bound(replica_id)
            if replica.over:
                self._forget(replica_id)
                changed = True
        return changed

    def _wait(self) -> None:
        """Until a process ends, the bell rings, or it is time to look again."""
        poller = select.poll()
        poller.register(self._bell_out, select.POLLIN)
        with self._lock:
            busy = any(each.phase in _PASSING for each in self._replicas.values())
            for replica in self._replicas.values():
                handle = replica.process.fileno() if replica.process else None
                if handle is not None:
                    poller.register(handle, select.POLLIN)
        ready = poller.poll((_BUSY_S if busy or self._trouble else _CALM_S) * 1000)
        if any(handle == self._bell_out for handle, _ in ready):
            os.read(self._bell_out, 4096)

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it will wake anyway
            os.write(self._bell_in, b"!")

    def _notify(self) -> None:
        for wake in tuple(self._wakes):
            try:
                wake()
            except Exception as error:  # noqa: BLE001 - one bad callback must not end the watching
                _log.error("engine_wake_failed", error=described(error))
