"""The simulated world: one clock, one store, one machine, two gateways, controllers in turn.

Nothing happens by itself. Models are known by number: ``models:/m/N`` has the digest ``dN``.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from serinus.controller.messages import UndeliveredError
from serinus.controller.rollouts import Judgement
from serinus.controller.snapshot import RolloutView
from serinus.engine.engine import ReplicaPhase, ReplicaStatus
from serinus.entities import (
    WHOLE,
    ConfigUpdate,
    Endpoint,
    EndpointConfig,
    ModelRef,
    ServedEntity,
)
from serinus.errors import ResourceDoesNotExist
from serinus.rollout.events import GuardrailVerdict, Verdict
from serinus.rollout.parse import parse_spec
from serinus.rollout.spec import RolloutSpec
from serinus.rollout.state import Phase, RolloutState, begin
from serinus.testing import FakeEngine, FakeStore, Script
from tests.simulation.controllers import Controller
from tests.simulation.gateways import Gateway, KeptRoster
from tests.simulation.invariants import Monitor

__all__ = ["START", "World"]

START = datetime(2026, 1, 1, tzinfo=UTC)
_SPECS: dict[str, RolloutSpec] = {}


class World:
    """Everything outside a controller; `copy` is a second world without controllers."""

    def __init__(self) -> None:
        self.at = START
        self.store = FakeStore()
        self.engine = FakeEngine(clock=self.now, default=Script(start_s=0.2, load_s=0.8))
        self.gateways = [Gateway("g1", 1), Gateway("g2", 2)]
        self.roster = KeptRoster([])
        self.pids = 2
        self.controllers: list[Controller] = []
        self.hung: set[str] = set()
        #: Models that can't be fetched; digests of those whose replicas die when they are ready.
        self.unknown: set[str] = set()
        self.doomed: set[str] = set()
        self.verdict = Verdict.SAFE
        self.outside_down = False
        #: Turns of a new controller before the gateways have found it.
        self.apart = 0
        #: Message ids as they arrived, and alias moves.
        self.posted: list[str] = []
        self.aliases: list[tuple[str, str]] = []
        #: Verbs that people asked for, by rollout.
        self.asked: dict[str, set[str]] = {}
        self.monitor = Monitor(self)
        self.failed_turns = 0
        self.crashes = 0
        self.port_calls = 0
        self.crash_at: tuple[int, str] | None = None
        self.interlude_at = -1
        self.interlude_on = ""
        #: Tables and acknowledgements are under way for a whole turn.
        self.slow = False
        self.meanwhile: Callable[[Controller], None] = _nothing

    def copy(self) -> "World":
        """A world that begins as this one is now, its controllers gone."""
        other = World.__new__(World)
        other.at = self.at
        other.store = self.store.copy()
        other.engine = self.engine.copy(other.now)
        other.gateways = [gateway.copy() for gateway in self.gateways]
        other.roster = KeptRoster(self.roster.read())
        other.pids = self.pids
        other.controllers = []
        other.hung = set(self.hung)
        other.unknown = set(self.unknown)
        other.doomed = set(self.doomed)
        other.verdict = self.verdict
        other.outside_down = self.outside_down
        other.apart = self.apart
        other.posted = list(self.posted)
        other.aliases = list(self.aliases)
        other.asked = {key: set(verbs) for key, verbs in self.asked.items()}
        other.monitor = self.monitor.copy(other)
        other.failed_turns = self.failed_turns
        other.crashes = self.crashes
        other.port_calls = 0
        other.crash_at = None
        other.interlude_at = -1
        other.interlude_on = ""
        other.slow = self.slow
        other.meanwhile = _nothing
        return other

    # --- what controllers are given

    def now(self) -> datetime:
        return self.at

    def is_alive(self, pid: int) -> bool:
        return any(gateway.alive and gateway.pid == pid for gateway in self.gateways)

    def resolve(self, uri: str) -> ModelRef:
        if uri in self.unknown:
            raise ResourceDoesNotExist(f"{uri} does not exist.")
        return ModelRef(f"d{uri.rpartition('/')[2]}", uri, uri)

    def judge(self, view: RolloutView) -> Judgement:
        state = view.state
        exposed = state.candidate_bp > 0 and state.stage_at is not None
        verdict = self.verdict if exposed else Verdict.NO_DATA
        found = GuardrailVerdict("error_rate", verdict, "as the script says", WHOLE)
        return Judgement((found,), shadow_requests=10 if state.shadow_bp and state.stage_at else 0)

    def post(self, _url: str, body: dict[str, Any]) -> None:
        if self.outside_down:
            raise UndeliveredError("nobody there")
        self.posted.append(body["id"])

    def move_alias(self, uri: str, alias: str) -> None:
        if self.outside_down:
            raise UndeliveredError("nobody there")
        self.aliases.append((uri, alias))

    def interlude(self, controller: Controller) -> None:
        """Something happens while a controller is in the middle of its turn."""
        self.interlude_at, self.interlude_on = -1, ""
        controller.interrupted = True
        self.meanwhile(controller)

    # --- time, messages, processes

    def pass_time(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def start_controller(self) -> Controller:
        """A new one takes its epoch; an older one may still be there and not know it."""
        controller = Controller(self)
        self.controllers.append(controller)
        controller.start()
        return controller

    def replace_controller(self) -> Controller:
        """The old ones are gone, a new one is there, and in a while the gateways find it."""
        for controller in self.controllers:
            controller.die()
        self.controllers.clear()
        controller = self.start_controller()
        for _ in range(self.apart):
            controller.turn()
        self.reconnect()
        return controller

    @property
    def newest(self) -> Controller | None:
        """The controller that started last, if it lives: only it can be connected to."""
        return self.controllers[-1] if self.controllers and self.controllers[-1].alive else None

    def reconnect(self) -> None:
        """Gateways without a line find the newest controller."""
        newest = self.newest
        for gateway in self.gateways:
            if gateway.alive and newest is not None:
                stale = gateway.wire is None or not gateway.wire.open
                if stale or (gateway.wire and gateway.wire.controller is not newest):
                    gateway.connect(newest)

    def deliver_all(self) -> None:
        """Everything under way arrives."""
        for gateway in self.gateways:
            while gateway.wire is not None and gateway.wire.to_gateway:
                gateway.take(0)
            gateway.save()
            while gateway.wire is not None and gateway.wire.to_controller:
                self.hear(gateway, 0)

    def _deliver_late(self, under_way: list[int]) -> None:
        """Acknowledgements of before the turn arrive, then the tables of before the turn."""
        for gateway, count in zip(self.gateways, under_way, strict=True):
            while gateway.wire is not None and gateway.wire.to_controller:
                self.hear(gateway, 0)
            for _ in range(count):
                gateway.take(0)

    def hear(self, gateway: Gateway, number: int) -> None:
        """One acknowledgement arrives."""
        wire = gateway.wire
        if wire is not None and wire.to_controller:
            generation = wire.to_controller.pop(number % len(wire.to_controller))
            wire.controller.links.hear(wire, generation)

    def tidy_turn(self) -> None:
        """A turn of the newest controller (a new one if there is none) in a world without delay."""
        controller = self.newest or self.replace_controller()
        self.reconnect()
        if not self.slow:
            self.deliver_all()
        under_way = [len(each.wire.to_gateway) if each.wire else 0 for each in self.gateways]
        controller.turn()
        while controller.alive and controller.jobs:
            controller.job()
        if self.slow:
            self._deliver_late(under_way)
        else:
            self.deliver_all()
        for each in self.running() if self.doomed else ():
            if each.phase is ReplicaPhase.READY and each.spec.model_digest in self.doomed:
                self.engine.crash(each.spec.replica_id)
        self.monitor.look()

    def until(
        self, condition: Callable[[], bool], *, seconds: float = 600.0, tick: float = 1.0
    ) -> None:
        """Turn until the condition holds."""
        for _ in range(int(seconds / tick) + 1):
            self.tidy_turn()
            if condition():
                return
            self.pass_time(tick)
        raise AssertionError(f"it never came to that: {self.picture()}")

    def settle(self, *, seconds: float, tick: float = 1.0) -> None:
        """Turn for so long."""
        for _ in range(int(seconds / tick)):
            self.pass_time(tick)
            self.tidy_turn()

    # --- what people ask

    def entity(self, number: int) -> ServedEntity:
        return ServedEntity(f"m-{number}", "m", str(number))

    def serve(self, number: int, name: str = "e") -> None:
        """Create an endpoint for one version."""
        config = EndpointConfig(1, (self.entity(number),), {f"m-{number}": WHOLE}, self.at)
        self.store.create_endpoint(
            Endpoint(
                f"id-{name}-{number}-{self.at:%H%M%S}",
                name,
                "me",
                self.at,
                self.at,
                pending=config,
                update=ConfigUpdate.IN_PROGRESS,
            )
        )

    def update(self, number: int, name: str = "e") -> None:
        """Ask for another version without a rollout."""
        entity = self.entity(number)
        self.store.put_config(
            name, lambda v: EndpointConfig(v, (entity,), {entity.name: WHOLE}, self.at), self.at
        )

    def roll_out(self, number: int, id_: str = "r1", name: str = "e", **spec: Any) -> None:
        """Ask for a rollout of ``models:/m/<number>``."""
        key = f"{number} {spec}"
        if key not in _SPECS:
            _SPECS[key] = parse_spec({"candidate": f"models:/m/{number}", **spec})
        self._start(_SPECS[key], self.entity(number), id_, name)

    def self_test(self, number: int, id_: str = "r1", name: str = "e", **spec: Any) -> None:
        """Ask that version ``number``, which serves, be tried against itself."""
        uri = f"models:/m/{number}"
        parsed = replace(parse_spec({"self_test": True, **spec}), candidate=uri)
        active = self.store.endpoint(name).active
        if active is None:
            raise ResourceDoesNotExist("nothing serves yet")
        stable = next(each for each in active.entities if each.name == f"m-{number}")
        self._start(parsed, replace(stable, name=f"m-{number}-aa"), id_, name)

    def _start(self, parsed: RolloutSpec, candidate: ServedEntity, id_: str, name: str) -> None:
        active = self.store.endpoint(name).active
        if active is None:
            raise ResourceDoesNotExist("nothing serves yet")
        stable = next(each for each, weight in active.weights.items() if weight == WHOLE)

        def state(_: int, target_version: int) -> RolloutState:
            return begin(
                id=id_,
                endpoint=name,
                spec=parsed,
                stable=stable,
                candidate=candidate.name,
                candidate_digest="",
                config_version=target_version,
                actor="me",
                at=self.at,
            )

        self.store.rollouts.create(
            name,
            lambda v: EndpointConfig(v, (candidate,), {candidate.name: WHOLE}, self.at),
            state,
            self.at,
        )

    def ask(self, verb: str, id_: str = "r1", **data: Any) -> None:
        """Wish for something."""
        self.asked.setdefault(id_, set()).add(verb)
        self.store.rollouts.wish(id_, verb, "me", self.at, data)

    # --- what is the case

    def phase(self, id_: str = "r1") -> Phase:
        return self.store.memory.now.rollouts[id_].state.phase

    def state(self, id_: str = "r1") -> RolloutState:
        return self.store.memory.now.rollouts[id_].state

    def running(self) -> list[ReplicaStatus]:
        """Replicas that live and are not on their way out."""
        gone = (ReplicaPhase.EXITED, ReplicaPhase.DRAINING)
        return [each for each in self.engine.truth() if each.phase not in gone]

    def weights(self, name: str = "e") -> list[dict[str, int]]:
        """Shares by served name, as each gateway has them."""
        found = []
        for gateway in self.gateways:
            routes = gateway.routes(name)
            served = {} if routes is None else {s.name: s.weight_bp for s in routes.served}
            found.append({name: weight for name, weight in served.items() if weight})
        return found

    def picture(self) -> dict[str, Any]:
        """All that must come out the same whatever crashed on the way."""
        tables = self.store.memory.now
        return {
            "endpoints": {
                endpoint.name: (
                    [entity.name for entity in endpoint.active.entities] if endpoint.active else [],
                    dict(endpoint.active.weights) if endpoint.active else {},
                    endpoint.update.value,
                )
                for endpoint in self.store.endpoints()
            },
            "waiting to be purged": sorted(
                row.bare.name for row in tables.endpoints.values() if row.bare.deleted
            ),
            "phases": {id_: self.monitor.phases.get(id_, []) for id_ in tables.rollouts},
            "refused": {key: r.rollout_id for key, r in tables.refusals.items()},
            "effects": sorted(self.monitor.effects.items()),
            "delivered": sorted(set(self.posted)),
            "aliases": _without_repetition(self.aliases),
            "undelivered": sorted(tables.messages),
            "running": sorted({each.spec.replica_id.rsplit("-", 3)[0] for each in self.running()}),
            "weights": [self.weights(e.name) for e in self.store.endpoints()],
        }


def _without_repetition(moves: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [move for n, move in enumerate(moves) if n == 0 or moves[n - 1] != move]


def _nothing(_: Controller) -> None:
    """Nothing happens meanwhile."""
