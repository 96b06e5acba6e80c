"""A simulation that catches nothing proves nothing: each planted bug must be caught."""

from collections.abc import Iterator

import pytest

from tests.simulation.catching import caught_by, prepare
from tests.simulation.planted import PLANTED, planted
from tests.simulation.quiet import quiet


@pytest.fixture(autouse=True)
def _prepared() -> Iterator[None]:
    with quiet():
        prepare()
        yield


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_caught(name: str) -> None:
    with planted(PLANTED[name]):
        assert caught_by(), f"nothing caught the bug {name}"


def test_there_are_enough_of_them() -> None:
    assert len(PLANTED) >= 20
