"""How many bytes of request bodies one gateway holds, so that all of them together stay bounded.

Small bodies are not counted: those of all connections together fit beside the rest, and counting
would cost each request something. It never waits: what finds no room is refused at once.
"""

from collections.abc import MutableMapping
from typing import Any

from serinus.errors import TemporarilyUnavailable

__all__ = ["COUNTED", "NoRoom", "Room"]

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


class Room:
    """The bodies of one gateway. What a request holds is noted in its scope."""

    __slots__ = ("held", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0

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
