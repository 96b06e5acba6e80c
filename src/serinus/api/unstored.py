"""An abort that the store does not take: traffic goes back all the same, and the caller is told.

It must never call something done that gateways have not acknowledged.
"""

from collections.abc import Callable
from enum import Enum

from serinus.errors import InternalError, SerinusError
from serinus.rollout.state import RolloutState
from serinus.store.acts import Act, current_act
from serinus.store.rollouts import Wish

__all__ = ["UNSTORED", "Standing", "WayBack", "carried_out"]

#: The id of a wish that the store never gave one.
UNSTORED = -1


class Standing(Enum):
    """How far an abort has come that could not be stored at first."""

    STORED = "stored"  # it was taken after all
    IN_FORCE = "in force"  # every gateway sends all requests to stable; the store has not taken it
    ASKED = "asked"  # nobody knows yet


#: Has an abort carried out, and says how far it came within some seconds.
WayBack = Callable[[Wish, Act | None], Standing]


def carried_out(way_back: WayBack, wish: Wish, state: RolloutState, error: SerinusError) -> None:
    """Return when it is stored by now; else raise with what is so and what is not."""
    standing = way_back(wish, current_act())
    if standing is Standing.STORED:
        return
    why = f"The abort of rollout {state.id} could not be stored: {error.message.rstrip('.')}. "
    if standing is Standing.IN_FORCE:
        told = (
            f"Traffic was moved all the same: every request to '{state.endpoint}' goes to "
            f"{state.stable} now. The controller holds the abort in memory and stores it as soon "
            "as it can; until then the rollout is shown as it was, and a restart of the server "
            "would forget the abort."
        )
    else:
        told = (
            "The controller holds it in memory and is moving traffic, but not every gateway has "
            f"said so yet. Look at who answers: served-model-name should be {state.stable}."
        )
    details: list[dict[str, object]] = [
        {"cause": "ABORT_NOT_STORED", "traffic_moved": standing is Standing.IN_FORCE}
    ]
    raise InternalError(why + told, details=details) from error
