"""How requests are divided beside the weights that are set."""

from datetime import UTC, datetime

from serinus.api.divided import late_of, shares_of
from serinus.entities import Endpoint, EndpointConfig, ServedEntity
from serinus.parity.diagnosis.values import RouteShare, Routing

_AT = datetime(2026, 3, 1, tzinfo=UTC)


def _endpoint(**weights: int) -> Endpoint:
    entities = tuple(
        ServedEntity(name=name, entity_name="m", entity_version="1") for name in weights
    )
    config = EndpointConfig(1, entities, weights, _AT)
    return Endpoint(id="e", name="e", creator="", created_at=_AT, updated_at=_AT, active=config)


def test_shares_are_of_all_gateways_and_of_each() -> None:
    divided = {
        "g0": {"one": (9000, 90), "two": (1000, 10)},
        "g1": {"one": (9000, 50), "two": (1000, 50)},
        "g2": {"one": (5000, 7), "two": (5000, 7)},  # a rollout's weights
    }
    found = shares_of(_endpoint(one=9000, two=1000), Routing(3, {}, divided))
    assert found is not None
    assert found[:2] == [
        RouteShare(served="one", wanted=0.9, requests=140),
        RouteShare(served="two", wanted=0.1, requests=60),
    ]
    assert {each.gateway for each in found} == {"", "g0", "g1"}


def test_what_nobody_told_is_not_known() -> None:
    endpoint = _endpoint(one=10000)
    assert shares_of(endpoint, None) is None
    assert shares_of(endpoint, Routing(3, {"g0": 3}, {})) is None
    assert shares_of(endpoint, Routing(3, {}, {"g0": {"old": (10000, 5)}})) is None


def test_late_gateways_are_named() -> None:
    assert late_of(None) == ([], 0)
    assert late_of(Routing(7, {"g0": 7, "g1": 6, "g2": 7}, {})) == (["g1"], 3)
