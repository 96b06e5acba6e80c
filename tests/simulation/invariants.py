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
from serinus.entities import WHOLE, ConfigUpdate, EndpointConfig
from serinus.rollout.spec import AdvanceRule, Cutover, Strategy
from serinus.rollout.state import Override, Phase, Position, RolloutState
from serinus.store.rollouts import StoredRollout
from serinus.testing.memory import EndpointRow, Tables
from serinus.traffic import EndpointRoutes, RouteTable

if TYPE_CHECKING:
    from tests.simulation.controllers import Controller
    from tests.simulation.gateways import Gateway
    from tests.simulation.world import World

__all__ = ["Monitor", "Violation"]

_ENDED = (Phase.SUCCEEDED, Phase.ROLLED_BACK)
_FENCED = (
    "store.publish",
    "store.save_entity",
    "store.activate",
    "store.fail",
    "store.purge",
    "rollouts.decide",
    "rollouts.drop_wish",
)


class Violation(AssertionError):
    """An invariant does not hold."""


@dataclass(frozen=True, slots=True)
class _Before:
    """What was the case before a call."""

    rollout: StoredRollout | None = None


class Monitor:
    """Looks on; it changes nothing and asks nothing of a controller."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._tables: dict[int, RouteTable] = {}
        self._stages: dict[str, int] = {}
        self._before = _Before()
        self._looked: dict[tuple[str, int], int] = {}
        #: Phases that each rollout went through, and effect ids with what they are.
        self.phases: dict[str, list[str]] = {}
        self.effects: dict[str, str] = {}
        self._delivered: dict[str, int] = {}

    def copy(self, world: "World") -> "Monitor":
        """Another monitor with the same memory."""
        other = Monitor(world)
        other._tables = dict(self._tables)
        other._stages = dict(self._stages)
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
            self._check(id_ in self.effects, f"I3: {id_} is done before it is stored")

    def after(
        self, controller: "Controller", name: str, args: tuple, kwargs: dict, result: Any
    ) -> None:
        """A call has been made and has had its effect."""
        if name in _FENCED:
            self._check(
                controller.epoch == self._rows.epoch,
                f"I4: {name} of epoch {controller.epoch} went through, {self._rows.epoch} rules",
            )
        if name == "store.publish":
            self._published(controller, result)
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
        """What must hold of the gateways at any moment."""
        for gateway in self._world.gateways:
            if gateway.table is None:
                continue
            key = (gateway.name, gateway.pid)
            last = self._looked.get(key, -1)
            generation = gateway.table.generation
            self._check(
                generation >= last, f"I4: {gateway.name} went from {last} back to {generation}"
            )
            self._looked[key] = generation
            if generation:
                known = self._tables.get(generation)
                self._check(
                    known is not None and known == gateway.table,
                    f"I4: {gateway.name} has a table {generation} that was never published",
                )

    # --- the rules

    def _published(self, controller: "Controller", table: RouteTable) -> None:
        known = self._tables.get(table.generation)
        if known is not None:
            self._check(known == table, f"I4: generation {table.generation} is two tables")
            return
        newest = max(self._tables, default=0)
        self._check(table.generation > newest, f"I4: {table.generation} after {newest}")
        self._tables[table.generation] = table
        before = self._tables.get(newest)
        for routes in table.endpoints:
            self._routes(controller, routes)
            if before is not None and not controller.interrupted:
                self._kept(before, routes)

    def _kept(self, before: RouteTable, routes: EndpointRoutes) -> None:
        """What has weight does not lose replicas that are ready."""
        was = next((each for each in before.endpoints if each.name == routes.name), None)
        truth = {each.spec.replica_id: each for each in self._world.engine.truth()}
        for served in routes.served if was is not None else ():
            had = was.route(served.name) if was is not None else None
            if had is None or not served.weight_bp or served.replicas:
                continue
            for replica in had.replicas:
                real = truth.get(replica.replica_id)
                self._check(
                    real is None
                    or real.phase is not ReplicaPhase.READY
                    or replica.replica_id in self._world.hung,
                    f"I1: {served.name} keeps its weight and loses {replica.replica_id}, "
                    f"which is ready",
                )

    def _routes(self, controller: "Controller", routes: EndpointRoutes) -> None:
        shares = {served.name: served.weight_bp for served in routes.served}
        if shares:
            self._check(sum(shares.values()) == WHOLE, f"I2: the shares are {shares}")
        truth = {each.spec.replica_id: each for each in self._world.engine.truth()}
        for served in routes.served:
            digest = _digest(served.name)
            for replica in served.replicas:
                real = truth.get(replica.replica_id)
                told = replica.model_digest if real is None else real.spec.model_digest
                self._check(
                    replica.model_digest == digest == told,
                    f"I1: {served.name} would be answered by {told}",
                )
        row = self._endpoint(routes.name)
        if row is None:
            self._check(
                controller.interrupted, f"I1: {routes.name} is deleted and routed all the same"
            )
        elif not controller.interrupted:
            self._right(row.bare.id, routes, shares)

    def _right(self, endpoint_id: str, routes: EndpointRoutes, shares: dict[str, int]) -> None:
        rollout = self._governing(endpoint_id)
        if rollout is None:
            self._check(routes.stage is None, f"I2: {routes.name} has a stage of no rollout")
            wanted = [dict(config.weights) for config in self._configs(endpoint_id)]
            carried = {name: share for name, share in shares.items() if share}
            self._check(not carried or carried in wanted, f"I1: nobody asked for {carried}")
            return
        state, stage = rollout.state, routes.stage
        if stage is None:
            raise Violation(f"I2: {routes.name} is routed without rollout {state.id}")
        told = (stage.stage, stage.candidate_bp, stage.control_bp, stage.shadow_bp)
        wanted_now = (state.stage, state.candidate_bp, state.control_bp, state.shadow_bp)
        self._check(told == wanted_now, f"I2: routed by {told}, decided was {wanted_now}")
        expected = {
            state.stable: WHOLE - state.candidate_bp - state.control_bp,
            state.candidate: state.candidate_bp,
            f"{state.stable}-control": state.control_bp,
        }
        carried = {name: share for name, share in shares.items() if share}
        wanted_shares = {name: share for name, share in expected.items() if share}
        self._check(carried == wanted_shares, f"I2: {carried} instead of {wanted_shares}")
        last = self._stages.get(state.id, -1)
        self._check(stage.stage >= last, f"I4: stage {stage.stage} of {state.id} after {last}")
        self._stages[state.id] = stage.stage

    def _cut_over(self, endpoint_id: str, version: int) -> None:
        for rollout in self._rows.rollouts.values():
            ruled = rollout.endpoint_id == endpoint_id and rollout.target_version == version
            self._check(
                not (ruled and rollout.state.phase not in _ENDED),
                f"I5: config {version} became active behind the back of its rollout",
            )
        config = self._rows.configs[endpoint_id, version]
        name = self._rows.endpoints[endpoint_id].bare.name
        for gateway in self._serving():
            routes = gateway.routes(name)
            shares = {} if routes is None else {s.name: s.weight_bp for s in routes.served}
            self._check(
                shares == config.weights,
                f"I6: config {version} counts as served, {gateway.name} serves {shares}",
            )

    def _purged(self, endpoint_id: str) -> None:
        if endpoint_id in self._rows.endpoints:
            return
        name = endpoint_id.split("-")[1]
        if self._endpoint(name) is None:
            for gateway in self._serving():
                self._check(
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
            self._check(
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
        self._check(
            bool(others) or own not in set(self._wanted()),
            f"I6: {replica_id} is stopped and nothing else runs of {own}, which is wanted",
        )

    def _decided(
        self, controller: "Controller", made_from: StoredRollout, new: RolloutState, effects: tuple
    ) -> None:
        stored = self._before.rollout
        if stored is None:
            raise Violation(f"I4: {new.id} was decided and is not known")
        self._check(
            stored.revision == made_from.revision,
            f"I4: a decision over revision {made_from.revision} replaced {stored.revision}",
        )
        old = stored.state
        self._phase(old, new)
        for effect in effects:
            self._check(effect.id not in self.effects, f"I3: effect {effect.id} is decided twice")
            self.effects[effect.id] = type(effect).__name__
        moved = _shares(new) != _shares(old)
        self._check(
            new.stage > old.stage if moved else new.stage >= old.stage,
            f"I4: stage {old.stage} {_shares(old)} became stage {new.stage} {_shares(new)}",
        )
        if new.stage_at is not None and old.stage_at is None:
            self._served_by(new, new.stage, "counts as acknowledged")
        if new.phase is Phase.ROLLED_BACK and old.phase is not Phase.ROLLED_BACK:
            self._without(new, "is rolled back")
        rising = new.candidate_bp > old.candidate_bp
        if rising:
            self._check(
                controller.ready(_digest(new.candidate)),
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
            self._check(bool(word) or new.candidate_bp <= old.candidate_bp, "I5: nobody approved")
        if not old.candidate_bp:
            return
        if spec.guardrails and old.position is not Position.SETTLE:
            verdict = controller.judged.get(new.id, "NO_DATA")
            last = old.position is Position.STEPS and not (new.candidate_bp > old.candidate_bp)
            self._check(
                verdict == "SAFE" or last,
                f"I5: {new.id} went from {old.candidate_bp} to {new.candidate_bp} on {verdict}",
            )
        if spec.advance.rule is AdvanceRule.AFTER and new.candidate_bp > old.candidate_bp:
            stayed = at - (old.stage_at or at)
            if old.position is Position.STEPS:
                self._check(
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
        self._check(
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
            self._check(
                fits,
                f"I6: stage {stage} of {state.id} {what}, {gateway.name} serves by "
                f"{found.stage if found is not None else None} (table {gateway.generation})",
            )

    def _without(self, state: RolloutState, what: str) -> None:
        for gateway in self._serving():
            routes = gateway.routes(state.endpoint)
            served = routes.route(state.candidate) if routes is not None else None
            self._check(
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
        self._check(
            count == 1 or self._world.crashes > 0 or len(self._world.controllers) > 1,
            f"I3: {id_} is done {count} times and nothing crashed",
        )
        self._check(count <= allowed, f"I3: {id_} is done {count} times")

    # --- what is the case

    @property
    def _rows(self) -> Tables:
        return self._world.store.memory.now

    def _serving(self) -> "Iterator[Gateway]":
        return (each for each in self._world.gateways if each.serving and each.announced)

    def _endpoint(self, name: str) -> EndpointRow | None:
        for row in self._rows.endpoints.values():
            if row.bare.name == name and not row.bare.deleted:
                return row
        return None

    def _governing(self, endpoint_id: str) -> StoredRollout | None:
        for rollout in self._rows.rollouts.values():
            if rollout.endpoint_id == endpoint_id and rollout.state.phase not in _ENDED:
                return rollout
        return None

    def _configs(self, endpoint_id: str) -> Iterator[EndpointConfig]:
        row = self._rows.endpoints[endpoint_id]
        if row.active is not None:
            yield self._rows.configs[endpoint_id, row.active]
        if row.pending is not None and row.bare.update is ConfigUpdate.IN_PROGRESS:
            yield self._rows.configs[endpoint_id, row.pending]

    def _wanted(self) -> Iterator[str]:
        """Names of pools that must run."""
        for id_, row in self._rows.endpoints.items():
            if row.bare.deleted:
                continue
            for config in self._configs(id_):
                # Until it is fetched and prepared, nobody can know what could serve it.
                yield from (each.name for each in config.entities if each.environment)
            for rollout in self._rows.rollouts.values():
                if rollout.endpoint_id == id_:
                    yield from self._pools(rollout)

    def _pools(self, rollout: StoredRollout) -> Iterator[str]:
        state = rollout.state
        if state.phase not in _ENDED:
            yield state.stable
            target = self._rows.configs[rollout.endpoint_id, rollout.target_version]
            candidate = target.entity(state.candidate)
            if candidate is not None and candidate.environment is not None:
                yield state.candidate
        elif (state.exposed or state.activated) and state.ended_at is not None:
            warm = timedelta(seconds=state.spec.rollback.keep_warm_s)
            if self._world.at < state.ended_at + warm:
                yield state.stable if state.candidate_bp else state.candidate

    @staticmethod
    def _check(holds: bool, otherwise: str) -> None:
        if not holds:
            raise Violation(otherwise)


_WATCHED = (
    *_FENCED,
    "engine.list",
    "engine.stop",
    "outside.post",
)


def _digest(served_name: str) -> str:
    """The model that a name stands for, by the world's own convention."""
    return "d" + served_name.split("-")[1]


def _shares(state: RolloutState) -> tuple[int, int, int]:
    return state.candidate_bp, state.control_bp, state.shadow_bp


def _pool_of(replica_id: str) -> str:
    return replica_id.rsplit("-", 3)[0]
