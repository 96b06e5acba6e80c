"""Exposures in the store: bounded, each once, forgotten when nothing can be told of them."""

from typing import Any

import pytest

from serinus.entities import WHOLE, ConfigUpdate, Endpoint, EndpointConfig, ServedEntity
from serinus.evidence.exposure import Exposure
from serinus.rollout.parse import parse_spec
from serinus.rollout.state import RolloutState, begin
from serinus.store.outcomes import Label, Taken
from tests.unit.store.conftest import AT

START = 1_000_000
WINDOWS = {"r1": {"accuracy": 60_000_000}}


@pytest.fixture
def outcomes(store):
    """Exposures of a store in which a rollout ``r1`` is under way."""
    config = EndpointConfig(1, (ServedEntity("m-1", "m", "1"),), {"m-1": WHOLE}, AT)
    target = EndpointConfig(2, (ServedEntity("m-2", "m", "2"),), {"m-2": WHOLE}, AT)
    made = Endpoint("id", "e", "me", AT, AT, active=config, update=ConfigUpdate.NOT_UPDATING)
    store.create_endpoint(made)

    def state(_: int, version: int) -> RolloutState:
        return begin(
            id="r1",
            endpoint="e",
            spec=parse_spec({"candidate": "m"}),
            stable="m-1",
            candidate="m-2",
            candidate_digest="",
            config_version=version,
            actor="me",
            at=AT,
        )

    store.rollouts.create("e", lambda _: target, state, AT)
    return store.outcomes


def exposure(number: int, **changes: Any) -> Exposure:
    made = Exposure("r1", number, None, None, START + number, number % 2 == 0, 1, 500)
    return made._replace(**changes)


def requests(outcomes, after=(-1, -1), until_us=START * 9):
    return [each.request for each in outcomes.settled("r1", "accuracy", after, until_us)]


def test_they_come_back_in_the_order_of_exposure_from_where_one_was(outcomes):
    outcomes.keep([exposure(number) for number in (3, 1, 2)])
    outcomes.keep([exposure(9, at_us=START + 2)])
    assert requests(outcomes) == [1, 2, 9, 3]
    assert requests(outcomes, after=(START + 2, 2)) == [9, 3]
    assert requests(outcomes, until_us=START + 1) == [1]
    assert len(outcomes.settled("r1", "accuracy", (-1, -1), START * 9, limit=2)) == 2


def test_kept_twice_is_kept_once(outcomes):
    for _ in range(2):
        assert outcomes.keep([exposure(1), exposure(2)]) == 0
    assert requests(outcomes) == [1, 2]


def test_of_a_sticky_unit_the_first_request_is_kept_over_all_stages(outcomes):
    outcomes.keep([exposure(2, unit=7), exposure(1, unit=7), exposure(3, unit=8)])
    outcomes.keep([exposure(4, unit=7, stage=2, candidate_bp=2500)])
    assert requests(outcomes) == [1, 3]


def test_there_is_room_for_so_many_and_the_rest_is_told(outcomes):
    assert outcomes.keep([exposure(number) for number in range(5)], most=8) == 0
    assert outcomes.keep([exposure(number) for number in range(10)], most=8) == 2
    assert len(requests(outcomes)) == 8
    outcomes.purge("r1", START + 4)
    assert outcomes.keep([exposure(number) for number in range(20, 30)], most=8) == 6


def test_those_of_nobody_are_not_kept(outcomes):
    assert outcomes.keep([exposure(1, rollout_id="gone"), exposure(1, rollout_id="r1#2")]) == 0
    assert requests(outcomes) == []
    assert len(outcomes.settled("r1#2", "accuracy", (-1, -1), START * 9)) == 1


def test_a_label_finds_its_request_by_either_id_and_counts_once(outcomes):
    outcomes.keep([exposure(1), exposure(2, client=77), exposure(3, client=77)])

    def told(*labels: Label, at_us: int = START + 10) -> list[Taken]:
        taken: list[Taken] = outcomes.label(labels, WINDOWS, at_us)
        return taken

    assert told(Label(1.0, request=1), Label(0.0, client=77), Label(0.5, request=4)) == [
        Taken.ACCEPTED,
        Taken.ACCEPTED,
        Taken.UNKNOWN,
    ]
    assert told(Label(0.0, request=1), Label(0.0, request=2)) == [Taken.DUPLICATE] * 2
    # The client used its id twice: the second label is the second request's.
    assert told(Label(0.5, client=77)) == [Taken.ACCEPTED]
    values = [each.value for each in outcomes.settled("r1", "accuracy", (-1, -1), START * 9)]
    assert values == [1.0, 0.0, 0.5]
    assert outcomes.label([Label(1.0, request=1)], {}, START) == [Taken.UNKNOWN]


def test_a_label_names_its_metric_where_there_are_several(outcomes):
    outcomes.keep([exposure(1)])
    both = {"r1": {"accuracy": 60_000_000, "sales": 1_000_000}}
    labels = [
        Label(1.0, request=1),
        Label(1.0, request=1, metric="sales"),
        Label(0.0, request=1, metric="accuracy"),
        Label(0.0, request=1, metric="other"),
    ]
    assert outcomes.label(labels, both, START + 2_000_000) == [
        Taken.UNKNOWN,
        Taken.TOO_LATE,
        Taken.ACCEPTED,
        Taken.UNKNOWN,
    ]


def test_they_go_with_their_endpoint(outcomes, store):
    outcomes.keep([exposure(1)])
    store.delete_endpoint("e", AT)
    store.purge("id")
    assert requests(outcomes) == []
