"""The control loop: observe, decide, act, again. One thread; one bounded pass per turn."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from serinus.controller.calm import Calm
from serinus.controller.collector import Collector, watched_of
from serinus.controller.diary import Diary
from serinus.controller.executor import Executor
from serinus.controller.faults import give_up_unreadable
from serinus.controller.links import GatewayLinks
from serinus.controller.messages import Messenger
from serinus.controller.observe import observe
from serinus.controller.prober import Prober
from serinus.controller.reconcile import reconcile
from serinus.controller.retreats import Retreats
from serinus.controller.rollouts import Desk, Judge, advance_rollouts
from serinus.controller.snapshot import Action, NoteCrash, Policy, Publish, Snapshot
from serinus.controller.verifier import Verifier
from serinus.engine.engine import (
    Engine,
    FenceError,
    Lease,
    ReplicaPhase,
)
from serinus.entities import ConfigUpdate
from serinus.store.failures import STORE_FAULTS
from serinus.store.repository import FencedOut, Store

__all__ = ["Loop", "Pace"]

_log = structlog.get_logger("serinus.controller")


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between turns that nobody woke the loop for."""

    busy_s: float = 0.05
    idle_s: float = 1.0
    renew_s: float = 30.0


class Loop:
    """Turns until `stop`, or until a newer controller is in charge."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        links: GatewayLinks,
        executor: Executor,
        prober: Prober,
        messenger: Messenger,
        *,
        judge: Judge,
        policy: Policy,
        clock: Callable[[], datetime],
        pace: Pace | None = None,
        verifier: Verifier | None = None,
        collector: Collector | None = None,
        diary: Diary | None = None,
    ) -> None:
        """Without a ``verifier`` every version counts as let by."""
        self._store = store
        self._engine = engine
        self._links = links
        self._executor = executor
        self._prober = prober
        self._messenger = messenger
        self._judge = judge if diary is None else diary.judge(judge)
        self._diary = diary
        self._policy = policy
        self._clock = clock
        self._pace = pace or Pace()
        self._verifier = verifier
        self._collector = collector
        #: Ways back that the store could not take.
        self.retreats = Retreats(store, links, epoch=policy.epoch)
        self._calm = Calm()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._renewed: datetime | None = None
        #: Whether the store took nothing in this turn.
        self._stuck = False

    def wake(self) -> None:
        """Have the next turn at once. Any thread."""
        self._wake.set()

    def stop(self) -> None:
        """End after the turn that is under way. Any thread."""
        self._stopping.set()
        self._wake.set()

    def run(self) -> None:
        """Turn until stopped. A turn that fails is logged and tried again: nothing is lost."""
        self._links.publish(self._store.routes())
        turn = self.turn if self._diary is None else self._diary.timed(self.turn)
        while not self._stopping.is_set():
            self._wake.clear()
            pause = self._pace.idle_s
            try:
                if turn():
                    pause = self._pace.busy_s
            except (FencedOut, FenceError):
                _log.error("controller_fenced_out", epoch=self._policy.epoch)
                return
            except Exception:  # noqa: BLE001 - the loop ends only when it is told to
                _log.exception("turn_failed")
            self._wake.wait(pause)

    def turn(self) -> bool:
        """One pass; True when there is more to do or something is being prepared."""
        at = self._clock()
        since = None if self._renewed is None else (at - self._renewed).total_seconds()
        # A clock that was set back is no reason to wait until it is as late again.
        if since is None or not 0 <= since < self._pace.renew_s:
            self._engine.renew(Lease(self._policy.epoch))
            self._renewed = at
        self._stuck = False
        snapshot = self._moved(at)
        if self._diary is not None:
            self._diary.saw(snapshot)
        actions = [] if self._calm.knows(snapshot) else self._carry_out(snapshot)
        self._messenger.turn()
        if self._stuck:
            return False  # a store that takes nothing must not be asked twenty times a second
        return bool(actions) or any(
            endpoint.update is ConfigUpdate.IN_PROGRESS or endpoint.deleted
            for endpoint in snapshot.endpoints
        )

    def _moved(self, at: datetime) -> Snapshot:
        """The world after every rollout has had its turn."""
        # Stored at last, it is a rollout like any other.
        self.retreats.store()
        snapshot = self._observe(at)
        if give_up_unreadable(snapshot, self._store, epoch=self._policy.epoch):
            snapshot = self._observe(at)
        # What could not be stored must not wait for what follows, which may fail as well.
        self.retreats.send(snapshot)
        moving = self.retreats.open(snapshot)
        desk = Desk(self._store, self._policy.epoch, self.retreats)
        try:
            if moving.rollouts and advance_rollouts(moving, desk, self._judge):
                # What was decided is carried out in the same turn: a way back must not wait.
                snapshot = self._observe(at)
        except STORE_FAULTS as error:
            self._stuck = True
            _log.error("rollouts_not_stored", why=error.message)
            snapshot = self._observe(at)
            self.retreats.send(snapshot)
        self._agree(snapshot)
        return self.retreats.shown(snapshot)

    def _agree(self, snapshot: Snapshot) -> None:
        """Have the gateways serve by what is published, unless a way back is held."""
        published, highest = snapshot.published, self._links.highest()
        if published.generation > max(highest, 0):  # 0 is before anything was published
            # Stored, and the store's answer was lost: nothing else would ever send it.
            self._links.publish(published)
        elif published.generation < highest and not self.retreats:
            # A table that the store knows nothing of, and nobody holds any more.
            self._act(Publish(published.endpoints, published.grants), snapshot.at)

    def _carry_out(self, snapshot: Snapshot) -> list[Action]:
        """All that follows from the snapshot."""
        self._prober.watch(
            {
                replica.spec.replica_id: replica.address
                for replica in snapshot.replicas or ()
                if replica.phase is ReplicaPhase.READY
            }
        )
        if self._collector is not None:
            self._collector.watch(watched_of(snapshot))
        actions = reconcile(snapshot)
        self._calm.note(snapshot, actions)
        for action in actions:
            self._act(action, snapshot.at)
        return actions

    def _observe(self, at: datetime) -> Snapshot:
        return observe(
            at,
            self._store,
            self._engine,
            acknowledged=self._links.acknowledged(),
            policy=self._policy,
            fetched=self._executor.fetched,
            crashes=self._executor.crashes,
            hung=self._prober.hung,
            verifier=self._verifier,
        )

    def _act(self, action: Action, at: datetime) -> None:
        """One endpoint's trouble must not hold up the others: the next turn tries again."""
        try:
            self._executor.execute(action, at)
            if self._diary is not None and isinstance(action, NoteCrash):
                self._diary.replica_ended(action.group)
        except (FencedOut, FenceError):
            raise
        except STORE_FAULTS as error:
            self._stuck = True
            _log.error("action_not_stored", action=type(action).__name__, why=error.message)
        except Exception:  # noqa: BLE001 - a fault of ours in one endpoint stops no other either
            _log.exception("action_failed", action=type(action).__name__)
