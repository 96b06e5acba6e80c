"""The fake engine keeps the engines' contract."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from serinus.engine.engine import Engine, ReplicaSpec
from serinus.entities import EnvironmentRef, ModelRef
from serinus.testing import FakeEngine, Script
from tests.integration.engine_conformance import EngineConformance

SCRIPTS = {
    "": Script(),
    "fails": Script(fails="ValueError: no weights in model.pkl"),
    "hangs": Script(load_s=math.inf),
    "exits": Script(fails="It ended with exit code 7.", exit_code=7),
    "ignores-term": Script(drain_s=math.inf),
    "drains-slowly": Script(drain_s=1.0),
    "prints": Script(prints="\n".join(f"line {number}" for number in range(20_000))),
}


class FakeHarness:
    def __init__(self) -> None:
        self.engine: Engine
        self.engine = self.fake = FakeEngine(stage_s=0.2)
        self.model = ModelRef("1" * 64, "models:/m/1", "models:/m/1")
        self.bad_model = ModelRef("2" * 64, "models:/m/2", "models:/m/2")
        self.fake.fail_stage(self.bad_model.digest, "The model can't be prepared.")

    def spec(self, replica_id: str, behaviour: str = "", **changes: object) -> ReplicaSpec:
        self.fake.script(replica_id, SCRIPTS[behaviour])
        environment = EnvironmentRef("e" * 64, "/fake/python", "current")
        spec = ReplicaSpec(replica_id, "g", self.model.digest, environment)
        return replace(spec, **changes)  # type: ignore[arg-type]

    def pass_time(self, seconds: float) -> None:
        self.fake.advance(seconds)

    def crash(self, replica_id: str) -> None:
        self.fake.crash(replica_id)

    def mend_stage(self) -> None:
        self.fake.mend_stage(self.bad_model.digest)

    @contextmanager
    def unreachable(self) -> Iterator[None]:
        self.fake.unreachable(True)
        yield
        self.fake.unreachable(False)

    def successor(self) -> Engine:
        return self.fake.successor()


class TestFakeEngine(EngineConformance):
    @pytest.fixture
    def harness(self) -> FakeHarness:
        return FakeHarness()


def test_calls_are_on_record_in_order():
    fake = FakeEngine()
    fake.stage(ModelRef("d", "u", "u"))
    fake.advance(2.0)
    fake.stop("a", grace_s=1.0, fence_epoch=0)
    assert [(each.name, each.subject) for each in fake.calls] == [("stage", "d"), ("stop", "a")]
    assert (fake.calls[1].at - fake.calls[0].at).total_seconds() == 2.0


def test_nothing_moves_unless_time_does():
    fake = FakeEngine()
    spec = ReplicaSpec("a", "g", "d", EnvironmentRef("e", "p", "current"))
    first = fake.ensure(spec)
    assert fake.list() == fake.list() == (first,)
