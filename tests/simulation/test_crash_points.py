"""Every scenario ends the same wherever the controller crashes, and every invariant holds there."""

import pytest

from tests.simulation.crash_points import crash_points, crashed, untroubled
from tests.simulation.history import starts
from tests.simulation.quiet import quiet
from tests.simulation.scenarios import SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_crash_before_or_after_any_port_call_changes_nothing(name: str) -> None:
    scenario, start = SCENARIOS[name], starts()["serving"]
    with quiet():
        expected, calls = untroubled(scenario, start)
        assert calls > 10
        for point in crash_points(calls):
            crashed(scenario, start, point, expected)
