"""Controllers with one bug each. Every one must be caught; see `test_planted`.

A bug is a function that replaces parts of the controller and gives them back at the end.
"""

from tests.simulation import planted_rollouts, planted_serving
from tests.simulation.planting import Bug, planted

__all__ = ["PLANTED", "planted"]

PLANTED: dict[str, Bug] = {
    bug.__name__: bug for bug in (*planted_serving.BUGS, *planted_rollouts.BUGS)
}
