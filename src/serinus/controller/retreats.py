"""Ways back that the store did not take: in force at once, held in memory, stored when it can.

A table made here is the last published one but for who gets traffic: it names no replica that that
one does not name. Its generation is one that the store never gives out. It must never be stored.
"""

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from serinus.controller.links import GatewayLinks
from serinus.controller.routes import stage_of, weights_of
from serinus.controller.snapshot import RolloutView, Snapshot
from serinus.rollout.state import Decision, Phase
from serinus.store.acts import Act, acting
from serinus.store.failures import STORE_FAULTS
from serinus.store.journal import JournalEntry
from serinus.store.repository import Store
from serinus.store.rollouts import StaleDecision, StoredRollout, Wish
from serinus.traffic import EndpointRoutes, RouteTable

__all__ = ["Retreat", "Retreats", "is_retreat"]

_log = structlog.get_logger("serinus.controller")


@dataclass(frozen=True, slots=True)
class Retreat:
    """A decision that takes traffic off a candidate, with all that is to be stored of it."""

    rollout: StoredRollout
    decision: Decision
    at: datetime
    entry: JournalEntry
    heard: tuple[int, ...] = ()
    #: Why the store did not take it.
    why: str = ""
    #: What somebody asked for by it, for the audit log.
    act: Act | None = None


def is_retreat(rollout: StoredRollout, decision: Decision) -> bool:
    """True for a decision that begins the way back."""
    back = Phase.ROLLING_BACK
    return decision.state.phase is back and rollout.state.phase is not back


class Retreats:
    """Those held now. `ask` and `standing` are for any thread, all else is the loop's."""

    def __init__(self, store: Store, links: GatewayLinks, *, epoch: int) -> None:
        self._store = store
        self._links = links
        self._epoch = epoch
        self._lock = threading.Lock()
        self._asked: dict[str, tuple[Wish, Act | None]] = {}
        self._held: dict[str, Retreat] = {}
        self._sent = RouteTable(-1)
        #: By which generation each held one is in force.
        self._covered: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._held or self._asked)

    def ask(self, wish: Wish, act: Act | None) -> None:
        """Have the loop hear an abort that could not be stored."""
        with self._lock:
            self._asked[wish.rollout_id] = (wish, act)

    def in_force(self, rollout_id: str) -> bool:
        """Whether every gateway has taken this rollout's candidate off by a table of ours."""
        with self._lock:
            generation = self._covered.get(rollout_id)
        return generation is not None and generation <= self._links.acknowledged()

    def waits(self, rollout_id: str) -> bool:
        """Whether the store has still to take this rollout's abort."""
        with self._lock:
            return rollout_id in self._held or rollout_id in self._asked

    def act_of(self, rollout_id: str) -> Act | None:
        """Who asked for the abort of this rollout that nobody has heard yet."""
        with self._lock:
            asked = self._asked.get(rollout_id)
        return asked[1] if asked is not None else None

    def heard(self, rollout_id: str) -> None:
        """The abort was stored, refused or is held."""
        with self._lock:
            self._asked.pop(rollout_id, None)

    def hold(self, retreat: Retreat) -> None:
        """Keep what could not be stored."""
        state = retreat.decision.state
        data = {**retreat.entry.data, "held_back_by": retreat.why}
        retreat = replace(retreat, entry=replace(retreat.entry, data=data))
        with self._lock:
            self._held[state.id] = retreat
            self._asked.pop(state.id, None)
        _log.error(
            "rollback_not_stored", rollout=state.id, endpoint=state.endpoint, why=retreat.why
        )

    def store(self) -> bool:
        """Try to store what is held; True when something was, or is overtaken."""
        changed = False
        for id_, held in list(self._held.items()):
            try:
                self.keep(held)
            except STORE_FAULTS:
                continue
            except StaleDecision:
                _log.warning("rollback_overtaken", rollout=id_)
            else:
                _log.warning("rollback_stored_late", rollout=id_, why=held.why)
            with self._lock:
                del self._held[id_]
                self._covered.pop(id_, None)
            changed = True
        return changed

    def open(self, snapshot: Snapshot) -> Snapshot:
        """With the aborts that nobody could store among the wishes, without what is held."""
        with self._lock:
            asked = {id_: wish for id_, (wish, _) in self._asked.items()}
        views = [
            replace(view, wishes=(*view.wishes, asked[view.state.id]))
            if view.state.id in asked
            else view
            for view in snapshot.rollouts
            if view.state.id not in self._held
        ]
        for id_ in asked.keys() - {view.state.id for view in views}:
            self.heard(id_)  # it has ended, or goes back already
        return replace(snapshot, rollouts=tuple(views))

    def shown(self, snapshot: Snapshot) -> Snapshot:
        """With every rollout as it was decided, stored or not."""
        views = tuple(
            replace(view, rollout=replace(view.rollout, state=held.decision.state))
            if (held := self._held.get(view.state.id)) is not None
            else view
            for view in snapshot.rollouts
        )
        return replace(snapshot, rollouts=views)

    def send(self, snapshot: Snapshot) -> None:
        """Have the gateways do as it was decided, whether or not the store can say so."""
        if not self._held:
            return
        views = [view for view in self.shown(snapshot).rollouts if view.state.id in self._held]
        published = snapshot.published
        endpoints = _retreated(published.endpoints, views)
        base = self._sent if self._sent.generation > published.generation else published
        if (endpoints, published.grants) != (base.endpoints, base.grants):
            above = max(self._links.highest(), published.generation)
            base = self._sent = RouteTable(above + 1, endpoints, published.grants)
            self._links.publish(base)
            _log.error("rollback_sent_unstored", generation=base.generation, of=list(self._held))
        with self._lock:
            self._covered = dict.fromkeys(self._held, base.generation)

    def keep(self, decided: Retreat) -> StoredRollout:
        """Store a decision; raises what the store raises."""
        with acting(decided.act) if decided.act is not None else nullcontext():
            stored = self._store.rollouts.decide(
                decided.rollout,
                decided.decision.state,
                decided.decision.effects,
                decided.at,
                epoch=self._epoch,
                heard=decided.heard,
                entries=[decided.entry],
            )
        if decided.act is not None:
            self.heard(stored.state.id)
        return stored


def _retreated(
    endpoints: Sequence[EndpointRoutes], views: Sequence[RolloutView]
) -> tuple[EndpointRoutes, ...]:
    by_name = {view.state.endpoint: view for view in views}
    return tuple(
        _back(each, by_name[each.name]) if each.name in by_name else each for each in endpoints
    )


def _back(routes: EndpointRoutes, view: RolloutView) -> EndpointRoutes:
    """The same routes with the shares that the way back asks for."""
    if routes.route(view.state.stable) is None:
        return routes  # nobody to send its requests to
    weights = weights_of(view)
    served = tuple(replace(each, weight_bp=weights.get(each.name, 0)) for each in routes.served)
    return replace(routes, served=served, stage=stage_of(view))
