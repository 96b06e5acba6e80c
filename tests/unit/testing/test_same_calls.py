"""The fakes of the store have the calls of the real parts, each with the same parameters."""

import inspect
from pathlib import Path

import pytest

from serinus.store.repository import Store
from serinus.store.rollouts import Rollouts
from serinus.store.verifications import Verifications
from serinus.testing import FakeStore
from serinus.testing.rollouts import FakeRollouts
from serinus.testing.verifications import FakeVerifications

#: A store in memory has no address to be opened by.
_ON_DISK = {"open"}
#: Parts that the control loop, for which the fake is made, never asks.
_PARTS_LEFT_OUT = {"audit", "live", "outcomes", "samples"}


def _calls(kind: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(call)
        for name, call in inspect.getmembers(kind, inspect.isroutine)
        if not name.startswith("_")
    }


@pytest.mark.parametrize(
    ("real", "fake"),
    [(Store, FakeStore), (Rollouts, FakeRollouts), (Verifications, FakeVerifications)],
)
def test_every_call_is_there_and_takes_the_same(real: type, fake: type) -> None:
    wanted, there = _calls(real), _calls(fake)
    assert len(wanted) > 1
    assert {name: there.get(name) for name in wanted if name not in _ON_DISK} == {
        name: signature for name, signature in wanted.items() if name not in _ON_DISK
    }


def test_the_parts_are_the_same_but_for_those_left_out(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'serinus.db'}")
    parts = {name for name in vars(store) if not name.startswith("_")}
    store.close()
    assert parts - set(vars(FakeStore())) == _PARTS_LEFT_OUT
