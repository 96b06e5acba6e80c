"""A hundred thousand random histories, and all that ever failed."""

import pytest

from tests.simulation import history
from tests.simulation import walk as walk_module
from tests.simulation.history import History, replay, seeded
from tests.simulation.liveness import PATIENCE_S, converges
from tests.simulation.quiet import quiet
from tests.simulation.violation import Violation
from tests.simulation.walk import corpus, walk, walk_on_all_cores
from tests.simulation.world import World

_SEEDS = 100_000
_CONVERGED = 500


def test_no_random_history_breaks_an_invariant() -> None:
    walked = walk_on_all_cores(range(_SEEDS))
    assert not walked.failures, "\n".join(map(str, walked.failures))
    assert walked.count == _SEEDS


def test_a_walk_tells_the_seed_and_the_least_that_fails(monkeypatch) -> None:
    sound = history.replay

    def broken(told: History) -> World:
        if any(name == "verdict" for name, _ in told.steps):
            raise Violation("I0: no verdicts, please")
        return sound(told)

    monkeypatch.setattr(walk_module, "replay", broken)
    monkeypatch.setattr(history, "replay", broken)
    walked = walk(range(50), on=True)
    assert 0 < len(walked.failures) == 50 - walked.count
    first = walked.failures[0]
    assert [name for name, _ in History.parse(first.line).steps] == ["verdict"]
    assert f"seed {first.seed}" in str(first)
    assert "Violation: I0" in first.why


def test_when_faults_stop_all_is_as_it_was_asked() -> None:
    with quiet():
        longest = max(converges(seeded(seed)) for seed in range(_CONVERGED))
    assert 0 < longest < PATIENCE_S


@pytest.mark.parametrize("line", corpus())
def test_a_history_that_failed_once_is_well(line: str) -> None:
    known = History.parse(line)
    with quiet():
        replay(known)
        converges(known)


def test_a_seed_is_a_history_for_ever() -> None:
    known = seeded(7)
    assert known == seeded(7)
    assert History.parse(known.text()) == known
    assert replay(known).picture() == replay(known).picture()
