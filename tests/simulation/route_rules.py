"""What must hold of every table that is published."""

from typing import TYPE_CHECKING

from serinus.engine.engine import ReplicaPhase
from serinus.entities import WHOLE
from serinus.traffic import EndpointRoutes, RouteTable
from tests.simulation.violation import Violation, check
from tests.simulation.wanted import Wanted, digest_of

if TYPE_CHECKING:
    from tests.simulation.controllers import Controller
    from tests.simulation.world import World

__all__ = ["RouteRules"]


class RouteRules:
    """Remembers every table there was, and how far each rollout's stages have come."""

    def __init__(self, world: "World", wanted: Wanted) -> None:
        self._world = world
        self._wanted = wanted
        self.tables: dict[int, RouteTable] = {}
        self.stages: dict[str, int] = {}

    def published(self, controller: "Controller", table: RouteTable) -> None:
        known = self.tables.get(table.generation)
        if known is not None:
            check(known == table, f"I4: generation {table.generation} is two tables")
            return
        newest = max(self.tables, default=0)
        check(table.generation > newest, f"I4: {table.generation} after {newest}")
        self.tables[table.generation] = table
        before = self.tables.get(newest)
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
                check(
                    real is None
                    or real.phase is not ReplicaPhase.READY
                    or replica.replica_id in self._world.hung,
                    f"I1: {served.name} keeps its weight and loses {replica.replica_id}, "
                    f"which is ready",
                )

    def _routes(self, controller: "Controller", routes: EndpointRoutes) -> None:
        shares = {served.name: served.weight_bp for served in routes.served}
        if shares:
            check(sum(shares.values()) == WHOLE, f"I2: the shares are {shares}")
        truth = {each.spec.replica_id: each for each in self._world.engine.truth()}
        for served in routes.served:
            digest = digest_of(served.name)
            for replica in served.replicas:
                real = truth.get(replica.replica_id)
                told = replica.model_digest if real is None else real.spec.model_digest
                check(
                    replica.model_digest == digest == told,
                    f"I1: {served.name} would be answered by {told}",
                )
        row = self._wanted.endpoint(routes.name)
        if row is None:
            check(controller.interrupted, f"I1: {routes.name} is deleted and routed all the same")
        elif not controller.interrupted:
            self._right(row.bare.id, routes, shares)

    def _right(self, endpoint_id: str, routes: EndpointRoutes, shares: dict[str, int]) -> None:
        rollout = self._wanted.governing(endpoint_id)
        if rollout is None:
            check(routes.stage is None, f"I2: {routes.name} has a stage of no rollout")
            wanted = [dict(config.weights) for config in self._wanted.configs(endpoint_id)]
            carried = {name: share for name, share in shares.items() if share}
            check(not carried or carried in wanted, f"I1: nobody asked for {carried}")
            return
        state, stage = rollout.state, routes.stage
        if stage is None:
            raise Violation(f"I2: {routes.name} is routed without rollout {state.id}")
        told = (stage.stage, stage.candidate_bp, stage.control_bp, stage.shadow_bp)
        wanted_now = (state.stage, state.candidate_bp, state.control_bp, state.shadow_bp)
        check(told == wanted_now, f"I2: routed by {told}, decided was {wanted_now}")
        expected = {
            state.stable: WHOLE - state.candidate_bp - state.control_bp,
            state.candidate: state.candidate_bp,
            f"{state.stable}-control": state.control_bp,
        }
        carried = {name: share for name, share in shares.items() if share}
        wanted_shares = {name: share for name, share in expected.items() if share}
        check(carried == wanted_shares, f"I2: {carried} instead of {wanted_shares}")
        last = self.stages.get(state.id, -1)
        check(stage.stage >= last, f"I4: stage {stage.stage} of {state.id} after {last}")
        self.stages[state.id] = stage.stage
