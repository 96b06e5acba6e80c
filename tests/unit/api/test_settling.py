"""A call that stops, limits or deletes an endpoint answers once every gateway goes by it."""

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from serinus.api.settling import Settling
from serinus.entities import Endpoint, RateLimit
from serinus.store.repository import Store
from serinus.traffic import EndpointRoutes, ReplicaAddress, ServedRoute

AT = datetime(2026, 1, 2, tzinfo=UTC)
LIMITS = (RateLimit(5, "endpoint", ""),)
SERVED = (ServedRoute("v1", 10_000, (ReplicaAddress("r", "/r.sock", "d"),)),)
OPEN = EndpointRoutes("fraud", SERVED)


class Stand:
    """A store with one endpoint that is routed to, and gateways that acknowledge when told to."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.epoch = store.take_epoch()
        self.prompt = True
        self.acknowledged = 0
        store.create_endpoint(Endpoint("e", "fraud", "ann", created_at=AT, updated_at=AT))
        self.publish(OPEN)

    def publish(self, *routes: EndpointRoutes) -> None:
        generation = self.store.publish(routes, (), epoch=self.epoch).generation
        if self.prompt:
            self.acknowledged = generation

    def settles(self, *routes: EndpointRoutes) -> bool:
        """Whether the wait ends well when the controller publishes these on being woken."""
        settling = Settling(
            self.store,
            wake=lambda: self.publish(*routes),
            acknowledged=lambda: self.acknowledged,
            patience_s=0.0,
        )
        return settling.wait("fraud")


@pytest.fixture
def stand(tmp_path):
    with closing(Store.open(f"sqlite:///{tmp_path / 'serinus.db'}")) as store:
        yield Stand(store)


def test_limits_are_waited_for_where_somebody_is_served(stand: Stand) -> None:
    stand.store.set_fields("fraud", at=AT, rate_limits=LIMITS)
    assert not stand.settles(OPEN)
    assert stand.settles(replace(OPEN, limits=LIMITS))
    assert stand.settles(EndpointRoutes("fraud", ())), "nobody is served, so nobody is limited"
    assert stand.settles(), "it was never ready, so that there is no route to it"


def test_routes_of_an_endpoint_that_is_stopped_are_not_those_of_one_that_is_not(
    stand: Stand,
) -> None:
    assert not stand.settles(EndpointRoutes("fraud", (), stopped=True))
    assert stand.settles(OPEN)


def test_a_deletion_is_waited_for(stand: Stand) -> None:
    stand.store.delete_endpoint("fraud", AT)
    assert not stand.settles(OPEN)
    assert stand.settles()


def test_a_gateway_that_did_not_acknowledge_is_waited_for(stand: Stand) -> None:
    stand.store.delete_endpoint("fraud", AT)
    stand.prompt = False
    assert not stand.settles()
