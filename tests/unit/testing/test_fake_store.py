"""The fake store keeps the real one's own suite: the same tests, another store."""

from datetime import datetime

import pytest

from serinus.testing import FakeStore
from tests.unit.store import test_control, test_endpoints
from tests.unit.store.conftest import AT, LATER, make_config, make_endpoint

__all__ = ["make_config", "make_endpoint"]


@pytest.fixture
def at() -> datetime:
    return AT


@pytest.fixture
def later() -> datetime:
    return LATER


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


routes = test_control.routes

# What opens the same file again has no counterpart in memory.
_ON_DISK = (
    "test_epochs_rise_over_reopening",
    "test_routes_come_back_as_published_also_after_reopening",
)
_SUITE = {
    name: test
    for module in (test_endpoints, test_control)
    for name, test in vars(module).items()
    if name.startswith("test_") and name not in _ON_DISK
}
assert len(_SUITE) > 20
globals().update(_SUITE)


def test_nobody_gets_hold_of_what_is_kept(store, make_endpoint, at) -> None:
    given = make_endpoint()
    store.create_endpoint(given)
    given.tags["mine"] = "now"
    got = store.endpoint("fraud")
    got.tags["mine"] = "now"
    got.pending.weights.clear()
    got.pending.entities[0].environment_vars.clear()
    got.pending.entities[0].echo.clear()
    assert store.endpoint("fraud") == make_endpoint()


def test_a_copy_goes_its_own_way(store, make_endpoint, later) -> None:
    store.create_endpoint(make_endpoint())
    other = store.copy()
    other.delete_endpoint("fraud", later)
    assert other.endpoints() == ()
    assert store.endpoint("fraud") == make_endpoint()
