"""I7: when faults stop, what is asked for is what is, and every rollout has ended."""

from serinus.engine.engine import ReplicaPhase
from serinus.entities import ConfigUpdate
from serinus.rollout.events import Verdict
from serinus.rollout.state import Phase
from tests.simulation.history import History, replay
from tests.simulation.world import World

__all__ = ["PATIENCE_S", "Unsettled", "converges", "heal", "open_ends"]

#: Virtual seconds: the longest plan, its bake, its warm pool and a crash backoff, with room.
PATIENCE_S = 400
_TICK = 4.0


class Unsettled(AssertionError):
    """I7 does not hold: it has had its time and is not there yet."""


def converges(history: History) -> float:
    """Let it happen, stop all faults, and wait; the virtual seconds that it took."""
    return settles(replay(history))


def settles(world: World) -> float:
    """Virtual seconds from the end of faults until everything is as asked; raises Unsettled."""
    heal(world)
    began = world.at
    while open_ends(world):
        if (world.at - began).total_seconds() > PATIENCE_S:
            raise Unsettled(f"I7: after {PATIENCE_S} s: {'; '.join(open_ends(world))}")
        for rollout in list(world.store.memory.now.rollouts.values()):
            if rollout.state.phase is Phase.PAUSED and not world.store.memory.now.wishes:
                world.ask("resume", rollout.state.id)
                world.ask("approve", rollout.state.id)
        world.pass_time(_TICK)
        world.tidy_turn()
    return (world.at - began).total_seconds()


def heal(world: World) -> None:
    """Every fault stops."""
    world.crash_at, world.interlude_at = None, -1
    world.engine.unreachable(False)
    world.unknown.clear()
    world.doomed.clear()
    world.outside_down = False
    world.verdict = Verdict.SAFE
    for id_ in world.hung:  # what hangs is killed by whoever watches it; it does not come back
        if any(each.spec.replica_id == id_ for each in world.running()):
            world.engine.crash(id_)
    world.hung.clear()
    for gateway in world.gateways:
        if not gateway.alive:
            world.pids += 1
            gateway.restart(world.pids)


def open_ends(world: World) -> list[str]:
    """What is not yet as it was asked for; empty when all is."""
    tables = world.store.memory.now
    found = [
        f"rollout {rollout.state.id} is {rollout.state.phase.value}"
        for rollout in tables.rollouts.values()
        if not rollout.state.phase.terminal and not _gone(world, rollout.endpoint_id)
    ]
    found += [f"message {id_} waits" for id_ in tables.messages]
    found += [f"wish {wish.verb} waits" for wish in tables.wishes.values()]
    found += [f"{r.bare.name} is deleted" for r in tables.endpoints.values() if r.bare.deleted]
    return found + _serving(world)


def _gone(world: World, endpoint_id: str) -> bool:
    row = world.store.memory.now.endpoints.get(endpoint_id)
    return row is None or row.bare.deleted


def _serving(world: World) -> list[str]:
    found: list[str] = []
    wanted: dict[str, int] = {}
    for endpoint in world.store.endpoints():
        if endpoint.update is ConfigUpdate.IN_PROGRESS:
            found.append(f"{endpoint.name} is updating")
        if endpoint.active is None:
            continue
        wanted.update({each.name: each.replicas for each in endpoint.active.entities})
        for gateway in world.gateways:
            routes = gateway.routes(endpoint.name)
            shares = {s.name: s.weight_bp for s in routes.served} if routes else {}
            if shares != endpoint.active.weights or (routes and routes.stage):
                found.append(f"{gateway.name} serves {endpoint.name} by {shares}")
            if routes and not all(served.replicas for served in routes.served):
                found.append(f"{gateway.name} has nobody to send {endpoint.name} to")
    running: dict[str, int] = {}
    for each in world.engine.truth():
        name = each.spec.replica_id.rsplit("-", 3)[0]
        running[name] = running.get(name, 0) + (each.phase is ReplicaPhase.READY)
    if running != wanted:
        found.append(f"{running} run, {wanted} are wanted")
    return found
