"""Random histories, as many as fit into the time, and all that ever failed."""

import pytest

from tests.simulation.history import History, replay, seeded
from tests.simulation.liveness import PATIENCE_S, converges
from tests.simulation.quiet import quiet
from tests.simulation.walk import corpus, walk

_SEEDS = 100_000
_FOR_S = 30.0
_CONVERGED = 500


def test_no_random_history_breaks_an_invariant(record_property) -> None:
    with quiet():
        count = walk(range(_SEEDS), for_s=_FOR_S)
    record_property("histories", count)
    assert count > 1_000


def test_when_faults_stop_all_is_as_it_was_asked() -> None:
    with quiet():
        longest = max(converges(seeded(seed)) for seed in range(_CONVERGED))
    assert 0 < longest < PATIENCE_S


@pytest.mark.parametrize("line", corpus())
def test_a_history_that_failed_once_is_well(line: str) -> None:
    history = History.parse(line)
    with quiet():
        replay(history)
        converges(history)


def test_a_seed_is_a_history_for_ever() -> None:
    history = seeded(7)
    assert history == seeded(7)
    assert History.parse(history.text()) == history
    assert replay(history).picture() == replay(history).picture()
