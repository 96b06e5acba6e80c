"""What can happen next in a random history. Each step takes one number for all its choices."""

import random
from collections.abc import Callable
from typing import Any

from serinus.engine.engine import ReplicaPhase
from serinus.errors import SerinusError
from serinus.rollout.events import Verdict
from serinus.rollout.state import Phase
from tests.simulation.controllers import Controller
from tests.simulation.scenarios import BY_EVIDENCE, BY_TIME
from tests.simulation.world import World

__all__ = ["STEPS", "Step", "draw", "take"]

#: A name of `STEPS` and the number for its choices.
Step = tuple[str, int]

_SPELLS = (0.3, 1.0, 4.0, 11.0, 35.0)
_VERBS = ("abort", "promote", "pause", "resume", "approve", "retry", "supersede", "promote-full")
_VERDICTS = (Verdict.SAFE, Verdict.NO_DATA, Verdict.REGRESSED, Verdict.UNDECIDED, Verdict.INVALID)
_TEN = [{"set_weight": "10%"}, {"set_weight": "50%"}]
_SPECS: tuple[dict[str, Any], ...] = (
    {"steps": _TEN, "bake": None, **BY_TIME},
    {"steps": _TEN, "bake": {"holdback": "5%", "for": "20s"}, **BY_EVIDENCE},
    {"strategy": "blue-green", "bake": None, **BY_TIME},
    {"steps": _TEN[:1], "bake": None, "control": True, **BY_EVIDENCE},
)


def _turn(world: World, number: int) -> None:
    if world.newest is None or not world.controllers:
        world.start_controller()
        return
    who = number % len(world.controllers) if number % 4 == 0 else -1
    world.controllers[who].turn()


def _tidy(world: World, _: int) -> None:
    if not any(controller.busy for controller in world.controllers):
        world.tidy_turn()


def _deliver(world: World, number: int) -> None:
    gateway = world.gateways[number % 2]
    gateway.take(number // 2)
    if number % 3:
        gateway.save()


def _hear(world: World, number: int) -> None:
    world.hear(world.gateways[number % 2], number // 2)


def _job(world: World, number: int) -> None:
    for controller in world.controllers:
        controller.job(number)


def _time(world: World, number: int) -> None:
    world.pass_time(_SPELLS[number % len(_SPELLS)])


def _ask(world: World, number: int) -> None:
    rollouts = world.store.memory.now.rollouts
    if not rollouts:
        return
    newest = list(rollouts.values())[-1]
    verb = _VERBS[number % len(_VERBS)]
    if verb == "retry" and _moved_on(world, newest.endpoint_id, newest.stable_version):
        return
    if verb == "promote-full":
        world.ask("promote", newest.state.id, full=True)
    else:
        world.ask(verb, newest.state.id)


def _moved_on(world: World, endpoint_id: str, stable_version: int) -> bool:
    """The endpoint serves by now what this rollout knows nothing of: the API refuses a retry."""
    tables = world.store.memory.now
    row = tables.endpoints.get(endpoint_id)
    if row is None or row.active is None:
        return True
    active = tables.configs[endpoint_id, row.active]
    return active.weights != tables.configs[endpoint_id, stable_version].weights


def _verdict(world: World, number: int) -> None:
    world.verdict = _VERDICTS[number % len(_VERDICTS)]


def _replica_crash(world: World, number: int) -> None:
    living = world.running()
    if living:
        world.engine.crash(living[number % len(living)].spec.replica_id)


def _hang(world: World, number: int) -> None:
    ready = [each for each in world.running() if each.phase is ReplicaPhase.READY]
    if ready:
        world.hung.add(ready[number % len(ready)].spec.replica_id)


def _unreachable(world: World, number: int) -> None:
    world.engine.unreachable(number % 2 == 0)


def _gateway_crash(world: World, number: int) -> None:
    world.gateways[number % 2].crash()


def _gateway_start(world: World, number: int) -> None:
    for gateway in world.gateways:
        if not gateway.alive:
            world.pids += 1
            gateway.restart(world.pids)
            if world.newest is not None:
                gateway.connect(world.newest)
            elif number % 2:
                gateway.fall_back()


def _cut(world: World, number: int) -> None:
    world.gateways[number % 2].disconnect()


def _connect(world: World, number: int) -> None:
    gateway = world.gateways[number % 2]
    if gateway.alive and world.newest is not None:
        gateway.connect(world.newest)


def _kill(world: World, number: int) -> None:
    living = [each for each in world.controllers if each.alive and not each.busy]
    if living:
        living[number % len(living)].die()


def _start(world: World, number: int) -> None:
    controller = world.start_controller()
    for _ in range(number % 3):
        controller.turn()
    if number % 5:
        world.reconnect()


def _change(world: World, number: int) -> None:
    """People change what the endpoint is to serve, as far as the API would let them."""
    tables = world.store.memory.now
    live = any(
        not rollout.state.phase.terminal or rollout.state.phase is Phase.FAILED
        for rollout in tables.rollouts.values()
    )
    kind, model = number % 8, 2 + number // 8 % 3
    try:
        if kind == 0:
            world.store.delete_endpoint("e", world.at)
        elif kind == 1:
            world.serve(model)
        elif kind < 4 and not live:
            world.update(model)
        elif not live and not _serves(world, model):
            spec = _SPECS[number // 32 % len(_SPECS)]
            world.roll_out(model, f"r{len(tables.rollouts) + 1}", **spec)
    except (SerinusError, StopIteration):
        pass  # refused, as people are


def _serves(world: World, model: int) -> bool:
    """A candidate that is stable already is refused by the API."""
    active = world.store.endpoint("e").active
    return active is not None and active.entity(f"m-{model}") is not None


def _unknown(world: World, number: int) -> None:
    uri = f"models:/m/{2 + number % 3}"
    world.unknown.symmetric_difference_update({uri})


def _outside(world: World, number: int) -> None:
    world.outside_down = number % 2 == 0


def _arm_crash(world: World, number: int) -> None:
    side = "after" if number % 2 else "before"
    world.crash_at = (world.port_calls + 1 + number // 2 % 8, side)


def _arm_interlude(world: World, number: int) -> None:
    world.interlude_at = world.port_calls + 1 + number % 7

    def meanwhile(_: Controller) -> None:
        chance = random.Random(number)  # noqa: S311 - reproducible, not secret
        for name, choice in draw(chance, 2 + number % 3):
            if not name.startswith("arm"):
                STEPS[name][1](world, choice)
        if number % 2:
            _start(world, 4)  # another one takes over: this one is stale from here on
            world.deliver_all()

    world.meanwhile = meanwhile


#: How often, and what.
STEPS: dict[str, tuple[int, Callable[[World, int], None]]] = {
    "turn": (14, _turn),
    "tidy": (10, _tidy),
    "deliver": (8, _deliver),
    "hear": (8, _hear),
    "job": (6, _job),
    "time": (8, _time),
    "ask": (6, _ask),
    "verdict": (3, _verdict),
    "replica-crash": (3, _replica_crash),
    "hang": (1, _hang),
    "unreachable": (2, _unreachable),
    "gateway-crash": (2, _gateway_crash),
    "gateway-start": (3, _gateway_start),
    "cut": (2, _cut),
    "connect": (3, _connect),
    "kill": (2, _kill),
    "start": (3, _start),
    "change": (3, _change),
    "unknown": (1, _unknown),
    "outside": (1, _outside),
    "arm-crash": (4, _arm_crash),
    "arm-interlude": (4, _arm_interlude),
}
_POT = [name for name, (often, _) in STEPS.items() for _ in range(often)]


def draw(chance: random.Random, count: int) -> list[Step]:
    """So many random steps."""
    bound = len(_POT) * 1024
    steps = []
    for _ in range(count):
        choice, number = divmod(int(chance.random() * bound), 1024)
        steps.append((_POT[choice], number))
    return steps


def take(world: World, step: Step) -> None:
    """Let it happen, and look whether all is still right."""
    STEPS[step[0]][1](world, step[1])
    world.monitor.look()
