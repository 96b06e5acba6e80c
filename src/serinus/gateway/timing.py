"""Whose answers are timed: of each replica one at a time, the next that is asked when it is there.

Answers that were under way together share a batch, a queue or a stall, and so are one event, not
many: at a model that takes no batches one hang makes dozens of them slow. Two that are timed were
never under way together. Which ones they are depends on when they were asked alone, so it says
nothing of how long they took.
"""

from collections.abc import Hashable

__all__ = ["Timing"]


class Timing:
    """The replicas of one stage at one gateway."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        #: Replica → when the answer that was timed last had come.
        self._until: dict[Hashable, float] = {}

    def is_timed(self, replica: Hashable, began: float, ended: float) -> bool:
        """True when it was asked after the last timed answer of that replica had come."""
        if began < self._until.get(replica, float("-inf")):
            return False
        self._until[replica] = ended
        return True
