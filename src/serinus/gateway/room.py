"""How many requests one gateway works on and what their bodies hold, so that both stay bounded.

Small bodies are not counted: those of all requests together fit beside the rest, and counting
would cost each request something. It never waits: what finds no room is refused at once.
"""

from collections.abc import MutableMapping
from typing import Any

from serinus.errors import TemporarilyUnavailable
from serinus.evidence.meter import Meter

__all__ = ["COUNTED", "Crowded", "NoRoom", "Room"]

#: Bytes from which on a body is counted: what a connection may have in hand anyway.
COUNTED = 64 * 1024
_HELD = "serinus.held"


class NoRoom(TemporarilyUnavailable):
    """This gateway holds as much of others' requests as it may."""

    def __init__(self, held: int, most: int) -> None:
        super().__init__(
            f"The bodies of the requests that this gateway works on have {held} of at most {most} "
            "bytes already; try again in a moment.",
            retry_after=1,
        )


class Crowded(TemporarilyUnavailable):
    """This gateway works on as many requests as it may."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"This gateway works on {most} predictions already, which is its limit; try again in "
            "a moment.",
            retry_after=1,
        )


class Room:
    """The predictions of one gateway. What a request holds is noted in its scope."""

    __slots__ = ("held", "inside", "most", "most_inside")

    def __init__(self, most: int, most_inside: int) -> None:
        self.most = most
        self.held = 0
        #: Requests whose body is here and whose answer is not.
        self.inside = 0
        self.most_inside = most_inside

    def enter(self, meter: Meter) -> None:
        """Count one more, to be taken off `inside` at its end; raises Crowded."""
        if self.inside >= self.most_inside:
            meter.refuse(Crowded.status)
            raise Crowded(self.most_inside)
        self.inside += 1

    def hold(self, scope: MutableMapping[str, Any], size: int) -> None:
        """Have the request hold that many bytes in all; raises NoRoom."""
        more = size - scope.get(_HELD, 0)
        if more <= 0:
            return
        if self.held + more > self.most:
            raise NoRoom(self.held, self.most)
        self.held += more
        scope[_HELD] = size

    def leave(self, scope: MutableMapping[str, Any]) -> None:
        """The request is over."""
        self.held -= scope.pop(_HELD, 0)
