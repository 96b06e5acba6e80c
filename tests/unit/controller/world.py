"""A whole controller without processes: real store, fake engine, gateways as plain objects.

Time passes only by `World.pass_time`; every turn of the loop is asked for.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from serinus.controller.counting import Counting
from serinus.controller.diary import Diary
from serinus.controller.executor import Executor
from serinus.controller.loop import Loop
from serinus.controller.messages import Messenger, Outside
from serinus.controller.rollouts import Judge, Judgement
from serinus.controller.snapshot import Policy, RolloutView
from serinus.controller.told import Told
from serinus.controller.verifier import Verifier
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
from serinus.rollout.state import Phase, RolloutState, begin
from serinus.store.repository import Store
from serinus.testing import FakeEngine, FakeVerifier
from serinus.traffic import EndpointRoutes, RouteTable

START = datetime(2026, 1, 1, tzinfo=UTC)


def judge_nothing(view: RolloutView, _: datetime) -> Judgement:
    """A judge without evidence: NO_DATA for each guardrail that was asked for, never a pass."""
    return Judgement(
        tuple(
            GuardrailVerdict(guardrail.name, Verdict.NO_DATA, "no evidence is collected yet")
            for guardrail in view.state.spec.guardrails
        )
    )


class Gateways:
    """Two gateways that take up a table when they are let."""

    def __init__(self) -> None:
        self.tables: list[RouteTable] = []
        self.served = -1
        self.prompt = True

    def publish(self, table: RouteTable) -> None:
        if not self.tables or table.generation > self.tables[-1].generation:
            self.tables.append(table)
        if self.prompt:
            self.served = self.tables[-1].generation

    def acknowledged(self) -> int:
        return self.served

    def highest(self) -> int:
        return self.tables[-1].generation if self.tables else -1

    def catch_up(self) -> None:
        self.served = self.tables[-1].generation

    @property
    def now(self) -> EndpointRoutes:
        """The only endpoint's routes, as they were sent last."""
        [routes] = self.tables[-1].endpoints
        return routes


class Deaf:
    """A prober that finds nobody hanging."""

    hung: frozenset[str] = frozenset()

    def watch(self, _: object) -> None:
        """Nothing to watch."""


class World:
    """One endpoint ``e``; models are known by number: ``models:/m/N`` has the digest ``dN``."""

    def __init__(
        self, where: Path | str, judge: Judge = judge_nothing, *, store: Any = None
    ) -> None:
        """``where``: a directory for a store, or a store's URL; ``store``: another one."""
        url = where if isinstance(where, str) else f"sqlite:///{where / 'serinus.db'}"
        self.at = START
        self.store: Store = Store.open(url) if store is None else store
        self.engine = FakeEngine(clock=lambda: self.at)
        self.gateways = Gateways()
        self.posted: list[tuple[str, dict[str, Any]]] = []
        self.aliases: list[tuple[str, str]] = []
        self.unknown: set[str] = set()
        self.judge = judge
        self.verifier = FakeVerifier()
        self.start()

    def start(self) -> None:
        """A controller process begins; an earlier one is gone."""
        epoch = self.store.take_epoch()
        self.executor = Executor(
            self.store,
            self.engine,
            self.gateways,  # type: ignore[arg-type]
            resolve=self._resolve,
            wake=lambda: None,
            epoch=epoch,
            drain_s=5.0,
        )
        outside = Outside(
            post=lambda url, body: self.posted.append((url, body)),
            move_alias=lambda uri, alias: self.aliases.append((uri, alias)),
        )
        self.messenger = Messenger(self.store, outside, clock=lambda: self.at)
        counting = Counting(lambda: 0.0)
        seconds = count()
        self.diary = Diary(counting, Told(), lambda: (-1, {}), clock=lambda: next(seconds))
        self.loop = Loop(
            self.store,
            self.engine,
            self.gateways,  # type: ignore[arg-type]
            self.executor,
            Deaf(),  # type: ignore[arg-type]
            self.messenger,
            judge=lambda view, at: self.judge(view, at),
            policy=Policy(epoch, 128, 1, 120.0, 1024, 60.0),
            clock=lambda: self.at,
            diary=self.diary,
            verifier=Verifier(
                self.store,
                self.verifier,
                settings="as in tests",
                epoch=epoch,
                wake=lambda: None,
                spawn=self.verifier.begin,
            ),
        )

    def close(self) -> None:
        self.executor.close()
        self.messenger.close()
        self.store.close()

    def _resolve(self, uri: str) -> ModelRef:
        if uri in self.unknown:
            raise ResourceDoesNotExist(f"{uri} does not exist.")
        return ModelRef(f"d{uri.rpartition('/')[2]}", uri, uri)

    # --- time

    def turn(self, times: int = 1) -> None:
        """Let the loop turn; what is elsewhere in the background is waited for."""
        for _ in range(times):
            self.loop.turn()
            self.executor.settle()
            self.messenger.settle()
            self.verifier.work()

    def pass_time(self, seconds: float, *, turns: int = 4) -> None:
        """Time passes, then the loop turns."""
        self.at += timedelta(seconds=seconds)
        self.turn(turns)

    def until(self, condition: Callable[[], bool], *, seconds: float = 600.0) -> None:
        """Turn, a second at a time, until the condition holds."""
        for _ in range(int(seconds)):
            if condition():
                return
            self.pass_time(1.0, turns=2)
        raise AssertionError("it never came to that")

    # --- an endpoint and its rollouts

    def entity(self, number: int, **changes: Any) -> ServedEntity:
        return replace(ServedEntity(f"m-{number}", "m", str(number)), **changes)

    def serve(self, number: int = 1) -> None:
        """Have ``e`` serve that version alone."""
        config = EndpointConfig(1, (self.entity(number),), {f"m-{number}": WHOLE}, self.at)
        self.store.create_endpoint(
            Endpoint(
                "id-of-e",
                "e",
                "me",
                self.at,
                self.at,
                pending=config,
                update=ConfigUpdate.IN_PROGRESS,
            )
        )
        self.until(lambda: self.store.endpoint("e").active is not None)

    def roll_out(self, number: int, id_: str = "r1", **spec: Any) -> str:
        """Start a rollout of ``models:/m/<number>``."""
        parsed = parse_spec({"candidate": f"models:/m/{number}", **spec})
        candidate = self.entity(number)
        active = self.store.endpoint("e").active
        assert active is not None
        stable = next(name for name, weight in active.weights.items() if weight == WHOLE)

        def state(_: int, target_version: int) -> RolloutState:
            return begin(
                id=id_,
                endpoint="e",
                spec=parsed,
                stable=stable,
                candidate=candidate.name,
                candidate_digest="",
                config_version=target_version,
                actor="me",
                at=self.at,
            )

        self.store.rollouts.create(
            "e",
            lambda version: EndpointConfig(version, (candidate,), {candidate.name: WHOLE}, self.at),
            state,
            self.at,
        )
        return id_

    def state(self, id_: str = "r1") -> RolloutState:
        return self.store.rollouts.get(id_).state

    def phase(self, id_: str = "r1") -> Phase:
        return self.state(id_).phase

    def ask(self, verb: str, id_: str = "r1", **data: Any) -> None:
        """Wish for something, and let the controller hear it."""
        self.store.rollouts.wish(id_, verb, "me", self.at, data)
        self.turn()

    def weights(self) -> dict[str, int]:
        """Served name → basis points, as the gateways were last told."""
        return {served.name: served.weight_bp for served in self.gateways.now.served}

    def running(self) -> set[str]:
        """Digests of which replicas live."""
        return {
            status.spec.model_digest
            for status in self.engine.list()
            if status.phase.value not in ("EXITED", "DRAINING")
        }
