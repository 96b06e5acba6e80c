"""Does what was decided. The only place where the store, the engine and the gateways are changed.

Every action is idempotent, and what must survive is stored before anything else happens.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

import structlog

from serinus.controller.links import GatewayLinks
from serinus.controller.snapshot import (
    Action,
    Activate,
    Crashes,
    EnsureReplica,
    Fail,
    Fetched,
    ForgetReplica,
    NoteCrash,
    Publish,
    Purge,
    Resolve,
    RetireReplica,
    SaveEntity,
)
from serinus.engine.engine import Engine
from serinus.entities import Deployment, ModelRef
from serinus.errors import SerinusError
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store

__all__ = ["Executor"]

_log = structlog.get_logger("serinus.controller")


class Executor:
    """Carries out actions, one after the other, in the order given.

    ``resolve`` fetches a model URI (slow; runs on ``threads``, the executor's own when None);
    ``wake`` asks for the loop's next turn when a result is there.
    """

    def __init__(
        self,
        store: Store,
        engine: Engine,
        links: GatewayLinks,
        *,
        resolve: Callable[[str], ModelRef],
        wake: Callable[[], None],
        epoch: int,
        drain_s: float,
        threads: ThreadPoolExecutor | None = None,
    ) -> None:
        self._store = store
        self._engine = engine
        self._links = links
        self._resolve = resolve
        self._wake = wake
        self._epoch = epoch
        self._drain_s = drain_s
        self._fetchers = threads or ThreadPoolExecutor(4, thread_name_prefix="fetch")
        self._futures: list[Future[None]] = []
        self._lock = threading.Lock()
        self._fetching: set[tuple[str, int, str]] = set()
        self.fetched: dict[tuple[str, int, str], Fetched] = {}
        self.crashes: dict[str, Crashes] = {}

    def close(self) -> None:
        """Start nothing more in the background."""
        self._fetchers.shutdown(wait=False, cancel_futures=True)

    def settle(self) -> None:
        """Wait until nothing is being fetched; for tests and simulations."""
        for future in list(self._futures):
            future.result()
        self._futures.clear()

    def execute(self, action: Action, at: datetime) -> None:  # noqa: C901 - one arm an action
        """Carry out one action; raises what the store or the engine raises."""
        match action:
            case Resolve():
                self._fetch(action)
            case SaveEntity(endpoint_id, version, entity):
                self._store.save_entity(endpoint_id, version, entity, epoch=self._epoch)
            case EnsureReplica(spec):
                self._engine.ensure(spec)
                _log.info("replica_started", replica=spec.replica_id)
            case RetireReplica(replica_id):
                self._engine.stop(replica_id, grace_s=self._drain_s, fence_epoch=self._epoch)
                _log.info("replica_retired", replica=replica_id)
            case ForgetReplica(replica_id):
                self._engine.stop(replica_id, grace_s=0.0, fence_epoch=self._epoch)
            case NoteCrash(group, crashes):
                self.crashes[group] = crashes
                _log.warning("replica_ended", group=group, row=crashes.count, why=crashes.message)
            case Publish(endpoints, grants):
                # Gateways may have a table that could not be stored (see `Retreats`).
                above = self._links.highest()
                table = self._store.publish(endpoints, grants, epoch=self._epoch, above=above)
                self._links.publish(table)
                _log.info("routes_published", generation=table.generation)
            case Activate():
                self._activate(action, at)
            case Fail():
                self._fail(action, at)
            case Purge(endpoint_id):
                self._store.purge(endpoint_id, epoch=self._epoch)

    def _activate(self, action: Activate, at: datetime) -> None:
        entry = self._entry("config_activated", action.endpoint_id, at, action.config_version)
        self._store.activate(
            action.endpoint_id, action.config_version, at, epoch=self._epoch, journal=[entry]
        )
        self._forget(action.endpoint_id)
        _log.info("config_activated", endpoint=action.endpoint_id, version=action.config_version)

    def _fail(self, action: Fail, at: datetime) -> None:
        endpoint_id, version = action.endpoint_id, action.config_version
        config = self._store.config(endpoint_id, version)
        entity = config.entity(action.served_name) if config is not None else None
        if entity is not None:
            printed = action.log or entity.build_log
            if action.replica_id:  # its own log goes when the replica is cleared away
                output = self._engine.logs(action.replica_id, tail_bytes=1 << 16)
                printed = f"{printed}\n--- what the replica printed ---\n{output}".lstrip()
            failed = replace(
                entity,
                deployment=Deployment.FAILED,
                deployment_message=action.message,
                build_log=printed,
            )
            self._store.save_entity(endpoint_id, version, failed, epoch=self._epoch)
        self._forget(endpoint_id)
        if action.governed:
            return
        entry = self._entry("config_failed", endpoint_id, at, version, why=action.message)
        self._store.fail(
            endpoint_id, version, action.message, at, epoch=self._epoch, journal=[entry]
        )
        _log.warning("config_failed", endpoint=endpoint_id, version=version, why=action.message)

    def _entry(
        self, kind: str, endpoint_id: str, at: datetime, version: int, **data: object
    ) -> JournalEntry:
        return JournalEntry(
            "controller", kind, at, endpoint_id, {"config_version": version, **data}
        )

    def _forget(self, endpoint_id: str) -> None:
        with self._lock:
            for key in [key for key in self.fetched if key[0] == endpoint_id]:
                del self.fetched[key]

    def _fetch(self, action: Resolve) -> None:
        key = (action.endpoint_id, action.config_version, action.entity.name)
        self._futures = [future for future in self._futures if not future.done()]
        with self._lock:
            if key in self._fetching:
                return
            self._fetching.add(key)
        uri = action.entity.model_uri
        progress = replace(action.entity, deployment_message=f"Fetching {uri}.")
        self._store.save_entity(key[0], key[1], progress, epoch=self._epoch)
        self._futures.append(self._fetchers.submit(self._fetch_now, key, uri))

    def _fetch_now(self, key: tuple[str, int, str], uri: str) -> None:
        try:
            outcome = Fetched(self._resolve(uri))
        except SerinusError as error:
            outcome = Fetched(error=error.message)
        except Exception as error:  # noqa: BLE001 - whatever it was, the update must end
            _log.exception("fetch_failed", uri=uri)
            outcome = Fetched(error=f"Fetching {uri} failed: {error}")
        with self._lock:
            self.fetched[key] = outcome
            self._fetching.discard(key)
        self._wake()
