"""The invariants, checked from outside: gateways' tables, the engine's replicas, the rows.

Named as in the reliability notes, for the part that a controller has in them:

- **I1 version**: a route leads to replicas of the version that it names, and only versions with a
  right to traffic have weight.
- **I2 split**: the shares of a table sum to the whole and are those of the rollout's state.
- **I3 once**: an effect is decided once, done after it is stored, and not done again but after a
  crash. (The rows of requests are the gateways' part.)
- **I4 monotone**: generations and stages only grow, one generation is one table, and a controller
  that was replaced changes nothing.
- **I5 no bad promote**: weight rises, and a target becomes active, only by evidence, time or a
  person's word, on a ready pool.
- **I6 drain**: what a gateway may still serve by is neither stopped nor counted as gone.
- **I7 convergence**: when faults stop, what is asked for is what is (`liveness`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from serinus.engine.engine import ReplicaPhase
from serinus.rollout.spec import AdvanceRule, Cutover, Strategy
from serinus.rollout.state import Override, Phase, Position, RolloutState
from serinus.store.rollouts import StoredRollout
from serinus.testing.memory import Tables
from serinus.traffic import RouteTable
from tests.simulation.route_rules import RouteRules
from tests.simulation.violation import Violation, check
from tests.simulation.wanted import ENDED, Wanted, digest_of

if TYPE_CHECKING:
    from tests.simulation.controllers import Controller
    from tests.simulation.gateways import Gateway
    from tests.simulation.world import World

__all__ = ["Monitor", "Violation"]

_FENCED = (
    "store.publish",
    "store.save_entity",
    "store.activate",
    "store.fail",
    "store.purge",
    "rollouts.decide",
    "rollouts.drop_wish",
)


@dataclass(frozen=True, slots=True)
class _Before:
    """What was the case before a call."""

    rollout: StoredRollout | None = None


class Monitor:
    """Looks on; it changes nothing and asks nothing of a controller."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._wanted = Wanted(world)
        self._routes = RouteRules(world, self._wanted)
        self._before = _Before()
        #: By gateway: the generation, its table, and what was published as that.
        self._looked: dict[tuple[str, int], tuple[int, RouteTable, RouteTable | None]] = {}
        #: Phases that each rollout went through, and effect ids with what they are.
        self.phases: dict[str, list[str]] = {}
        self.effects: dict[str, str] = {}
        self._delivered: dict[str, int] = {}
        #: The first thing that was wrong at a port call, even if the controller took it in.
        self.broken: Exception | None = None

    def copy(self, world: "World") -> "Monitor":
        """Another monitor with the same memory."""
        other = Monitor(world)
        other._routes.tables = dict(self._routes.tables)
        other._routes.stages = dict(self._routes.stages)
        other.phases = {key: list(value) for key, value in self.phases.items()}
        other.effects = dict(self.effects)
        other._delivered = dict(self._delivered)
        return other

    @staticmethod
    def watches(name: str) -> bool:
        """Whether this port call means anything to it."""
        return name in _WATCHED

    # --- at port calls

    def before(self, controller: "Controller", name: str, args: tuple, kwargs: dict) -> None:
        """A call is about to be made."""
        if name == "engine.stop":
            self._stop(controller, args[0])
        elif name == "rollouts.decide":
            self._before = _Before(self._rows.rollouts.get(args[1].id))
        elif name == "outside.post":
            id_ = args[1]["id"]
            check(id_ in self.effects, f"I3: {id_} is done before it is stored")

    def after(
        self, controller: "Controller", name: str, args: tuple, kwargs: dict, result: Any
    ) -> None:
        """A call has been made and has had its effect."""
        if name in _FENCED:
            check(
                controller.epoch == self._rows.epoch,
                f"I4: {name} of epoch {controller.epoch} went through, {self._rows.epoch} rules",
            )
        if name in ("engine.stop", "engine.ensure"):
            rules = self._world.engine.epoch
            check(
                controller.epoch >= rules,
                f"I4: {name} of epoch {controller.epoch} went through, {rules} rules the engine",
            )
        if name == "store.publish":
            self._routes.published(controller, result)
        elif name == "store.activate" and result:
            self._cut_over(args[0], args[1])
        elif name == "store.purge":
            self._purged(args[0])
        elif name == "rollouts.decide":
            self._decided(controller, args[0], result.state, args[2])
        elif name == "outside.post":
            self._posted(args[1]["id"])
        elif name == "engine.list":
            controller.seen = result

    # --- after each step

    def look(self) -> None:
        """What must hold of the gateways at any moment; raises what was wrong before, too."""
        if self.broken is not None:
            raise self.broken
        for gateway in self._world.gateways:
            if gateway.table is None:
                continue
            key = (gateway.name, gateway.pid)
            table = gateway.table
            generation = table.generation
            known = self._routes.tables.get(generation)
            last, seen, published = self._looked.get(key, (-1, None, None))
            if table is seen and known is published:
                continue  # nothing of it can have changed: tables are values
            check(generation >= last, f"I4: {gateway.name} went from {last} back to {generation}")
            self._looked[key] = generation, table, known
            if generation:
                check(
                    known is not None and known == table,
                    f"I4: {gateway.name} has a table {generation} that was never published",
                )

    # --- the rules

    def _cut_over(self, endpoint_id: str, version: int) -> None:
        for rollout in self._rows.rollouts.values():
            ruled = rollout.endpoint_id == endpoint_id and rollout.target_version == version
            check(
                not (ruled and rollout.state.phase not in ENDED),
                f"I5: config {version} became active behind the back of its rollout",
            )
        config = self._rows.configs[endpoint_id, version]
        name = self._rows.endpoints[endpoint_id].bare.name
        for gateway in self._serving():
            routes = gateway.routes(name)
            shares = {} if routes is None else {s.name: s.weight_bp for s in routes.served}
            check(
                shares == config.weights,
                f"I6: config {version} counts as served, {gateway.name} serves {shares}",
            )

    def _purged(self, endpoint_id: str) -> None:
        if endpoint_id in self._rows.endpoints:
            return
        name = endpoint_id.split("-")[1]
        if self._wanted.endpoint(name) is None:
            for gateway in self._serving():
                check(
                    gateway.routes(name) is None,
                    f"I6: {name} is forgotten, {gateway.name} still serves it",
                )

    def _stop(self, controller: "Controller", replica_id: str) -> None:
        gone = (ReplicaPhase.EXITED, ReplicaPhase.DRAINING)
        truth = {each.spec.replica_id: each for each in self._world.engine.truth()}
        replica = truth.get(replica_id)
        if replica is None or replica.phase in gone or replica_id in self._world.hung:
            return
        for gateway in self._serving():
            table = gateway.serving
            check(
                table is None or replica_id not in table.replica_ids(),
                f"I6: {replica_id} is stopped, {gateway.name} may still send it requests",
            )
        if controller.interrupted:
            return  # what is wanted may have changed since it looked
        own = _pool_of(replica_id)
        others = [
            each
            for id_, each in truth.items()
            if id_ != replica_id and _pool_of(id_) == own and each.phase not in gone
        ]
        check(
            bool(others) or own not in set(self._wanted.pools()),
            f"I6: {replica_id} is stopped and nothing else runs of {own}, which is wanted",
        )

    def _decided(
        self, controller: "Controller", made_from: StoredRollout, new: RolloutState, effects: tuple
    ) -> None:
        stored = self._before.rollout
        if stored is None:
            raise Violation(f"I4: {new.id} was decided and is not known")
        check(
            stored.revision == made_from.revision,
            f"I4: a decision over revision {made_from.revision} replaced {stored.revision}",
        )
        old = stored.state
        self._phase(old, new)
        check(new.phase is not Phase.FAILED, f"I5: the controller gave up {new.id}: {new.reason}")
        for effect in effects:
            check(effect.id not in self.effects, f"I3: effect {effect.id} is decided twice")
            self.effects[effect.id] = type(effect).__name__
        moved = _shares(new) != _shares(old)
        check(
            new.stage > old.stage if moved else new.stage >= old.stage,
            f"I4: stage {old.stage} {_shares(old)} became stage {new.stage} {_shares(new)}",
        )
        if new.stage_at is not None and old.stage_at is None:
            self._served_by(new, new.stage, "counts as acknowledged")
        if new.phase is Phase.ROLLED_BACK and old.phase is not Phase.ROLLED_BACK:
            self._without(new, "is rolled back")
        rising = new.candidate_bp > old.candidate_bp
        if rising:
            check(
                controller.ready(digest_of(new.candidate)),
                f"I5: {new.candidate} gets {new.candidate_bp} bp and is not ready",
            )
        if rising or (new.activated and not old.activated):
            self._promoted(controller, old, new)
        self._active(stored, old, new)

    def _promoted(self, controller: "Controller", old: RolloutState, new: RolloutState) -> None:
        if old.stage_at is not None or old.position is Position.STEPS:
            self._served_by(old, old.stage, "is left behind")
        asked = self._world.asked.get(new.id, set())
        if "promote" in asked and (old.override is not Override.NONE or old.approved):
            return
        spec, at = new.spec, self._world.at
        if spec.strategy is Strategy.BLUE_GREEN and spec.cutover is Cutover.APPROVE:
            word = asked & {"approve", "promote"}
            check(bool(word) or new.candidate_bp <= old.candidate_bp, "I5: nobody approved")
        if not old.candidate_bp:
            return
        if spec.guardrails and old.position is not Position.SETTLE:
            verdict = controller.judged.get(new.id, "NO_DATA")
            last = old.position is Position.STEPS and not (new.candidate_bp > old.candidate_bp)
            check(
                verdict == "SAFE" or last,
                f"I5: {new.id} went from {old.candidate_bp} to {new.candidate_bp} on {verdict}",
            )
        if spec.advance.rule is AdvanceRule.AFTER and new.candidate_bp > old.candidate_bp:
            stayed = at - (old.stage_at or at)
            if old.position is Position.STEPS:
                check(
                    stayed >= timedelta(seconds=spec.advance.after_s),
                    f"I5: {new.id} left {old.candidate_bp} bp after {stayed}",
                )

    def _active(self, stored: StoredRollout, old: RolloutState, new: RolloutState) -> None:
        row = self._rows.endpoints.get(stored.endpoint_id)
        if row is None or row.bare.deleted or old.activated == new.activated:
            return
        if old.phase.terminal:
            return
        active = self._rows.configs[stored.endpoint_id, row.active or 0]
        version = stored.target_version if new.activated else stored.stable_version
        wanted = self._rows.configs[stored.endpoint_id, version]
        names = [entity.name for entity in active.entities]
        check(
            names == [entity.name for entity in wanted.entities]
            and active.weights == wanted.weights,
            f"I1: {new.id} is {new.phase.value}, the active config serves {names}",
        )

    def _served_by(self, state: RolloutState, stage: int, what: str) -> None:
        """Every gateway that may be serving does so by this stage."""
        for gateway in self._serving():
            routes = gateway.routes(state.endpoint)
            found = routes.stage if routes is not None else None
            fits = found is not None and (found.stage, found.salt) == (stage, state.salt)
            check(
                fits,
                f"I6: stage {stage} of {state.id} {what}, {gateway.name} serves by "
                f"{found.stage if found is not None else None} (table {gateway.generation})",
            )

    def _without(self, state: RolloutState, what: str) -> None:
        for gateway in self._serving():
            routes = gateway.routes(state.endpoint)
            served = routes.route(state.candidate) if routes is not None else None
            check(
                served is None or not served.weight_bp,
                f"I6: {state.id} {what}, {gateway.name} sends its candidate "
                f"{served.weight_bp if served else 0} bp",
            )

    def _phase(self, old: RolloutState, new: RolloutState) -> None:
        seen = self.phases.setdefault(new.id, [old.phase.value])
        if seen[-1] != new.phase.value:
            seen.append(new.phase.value)

    def _posted(self, id_: str) -> None:
        count = self._delivered[id_] = self._delivered.get(id_, 0) + 1
        allowed = 1 + self._world.crashes + len(self._world.controllers)
        check(
            count == 1 or self._world.crashes > 0 or len(self._world.controllers) > 1,
            f"I3: {id_} is done {count} times and nothing crashed",
        )
        check(count <= allowed, f"I3: {id_} is done {count} times")

    # --- what is the case

    @property
    def _rows(self) -> Tables:
        return self._world.store.memory.now

    def _serving(self) -> "Iterator[Gateway]":
        return (each for each in self._world.gateways if each.serving and each.announced)


_WATCHED = (
    *_FENCED,
    "engine.list",
    "engine.ensure",
    "engine.stop",
    "outside.post",
)


def _shares(state: RolloutState) -> tuple[int, int, int]:
    return state.candidate_bp, state.control_bp, state.shadow_bp


def _pool_of(replica_id: str) -> str:
    return replica_id.rsplit("-", 3)[0]
