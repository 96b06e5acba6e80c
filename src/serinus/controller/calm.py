"""Knows a look at the world from which nothing followed, so that the same look is free. Pure.

It must never call two looks the same between which the decision could come out otherwise.
"""

from dataclasses import dataclass, fields
from datetime import timedelta

from serinus.controller.snapshot import Action, Snapshot
from serinus.entities import ConfigUpdate

__all__ = ["Calm"]

#: All that a decision looks at, but for the moment. What the store gives is the same object for as
#: long as it holds, so that comparing it costs next to nothing.
_LOOKED_AT = tuple(each.name for each in fields(Snapshot) if each.compare and each.name != "at")
#: Crashes longer ago than the longest backoff say nothing about when to start again.
_FORGOTTEN = timedelta(minutes=2)


@dataclass(slots=True)
class Calm:
    """The last look, if there was nothing to do and time alone can't change that."""

    _last: Snapshot | None = None

    def knows(self, snapshot: Snapshot) -> bool:
        """Whether nothing is to be done because nothing has happened since."""
        last = self._last
        return last is not None and all(
            getattr(snapshot, name) == getattr(last, name) for name in _LOOKED_AT
        )

    def note(self, snapshot: Snapshot, actions: list[Action]) -> None:
        """Remember what this look came to."""
        calm = not actions and snapshot.replicas is not None and not _goes_on(snapshot)
        self._last = snapshot if calm else None


def _goes_on(snapshot: Snapshot) -> bool:
    """Whether the next look may come to something by itself."""
    return (
        bool(snapshot.rollouts)
        or any(snapshot.at - each.last_at < _FORGOTTEN for each in snapshot.crashes.values())
        or any(
            endpoint.deleted or endpoint.update is ConfigUpdate.IN_PROGRESS
            for endpoint in snapshot.endpoints
        )
    )
