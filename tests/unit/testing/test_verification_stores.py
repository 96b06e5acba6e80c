"""What a controller needs of `Store.verifications`: one suite for the real store and the fake."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serinus.entities import EnvironmentRef, ModelRef, ServedEntity
from serinus.parity.verification import Difference, Gate, GateResult, Result, Verification
from serinus.store.journal import JournalEntry
from serinus.store.repository import FencedOut, Store
from serinus.store.verifications import Verified, key_of
from serinus.testing import FakeStore
from tests.unit.store.conftest import AT, LATER

REPORT = Verification(
    result=Result.FAIL,
    gates=[Gate(name="golden", result=GateResult.FAIL, fault="model", stage="S4", detail="row 1")],
    notes=["unbatched"],
    differences=[Difference(name="numpy", trained="2.0", running="2.1", matters=True)],
    rows=7,
)


@pytest.fixture(params=["real", "fake"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made: Any = FakeStore()
    if request.param == "real":
        made = Store.open(f"sqlite:///{tmp_path / 'serinus.db'}")
    yield made
    made.close()


def test_the_last_of_each_key_is_kept_whole(store: Any) -> None:
    epoch = store.take_epoch()
    running = Verified("k1", "d1", "r1#1", AT, settings="here")
    store.verifications.keep(running, epoch=epoch)
    assert store.verifications.of(["k1", "k2", "k1"]) == {"k1": running}
    ended = replace(running, ended_at=LATER, report=REPORT)
    entry = JournalEntry("controller", "verified", LATER, data={"why": "row 1"})
    store.verifications.keep(ended, epoch=epoch, entries=[entry])
    assert store.verifications.of(["k1"]) == {"k1": ended}
    assert [each.kind for each in store.journal()] == ["verified"]
    assert store.verifications.of([]) == {}


def test_an_older_controller_keeps_nothing(store: Any) -> None:
    old = store.take_epoch()
    store.take_epoch()
    with pytest.raises(FencedOut):
        store.verifications.keep(Verified("k1", "d1", "r1#1", AT), epoch=old)
    assert store.verifications.of(["k1"]) == {}


def test_what_is_verified_is_the_model_in_its_environment_and_nothing_of_the_endpoint() -> None:
    model, place = ModelRef("d1", "models:/m/1", "models:/m/1"), EnvironmentRef("e1", "py", "built")
    entity = ServedEntity("m-1", "m", "1", model=model, environment=place)
    same = [replace(entity, name="other"), replace(entity, replicas=3)]
    others = [
        replace(entity, model=replace(model, digest="d2")),
        replace(entity, environment=replace(place, digest="e2")),
        replace(entity, environment_vars={"LEVEL": "3"}),
    ]
    assert {key_of(each) for each in same} == {key_of(entity)}
    assert len({key_of(each) for each in (entity, *others)}) == 4
    assert key_of(replace(entity, model=None)) == ""
