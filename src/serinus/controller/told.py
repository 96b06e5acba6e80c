"""Adds up what replicas count of batches, nulls and live values lost. It judges nothing.

Counts are cumulative per start of a replica, so that hearing them twice adds nothing; those of a
replica that is gone still count.
"""

import threading
from collections.abc import Mapping

from serinus.evidence.condition import Batched
from serinus.parity.live import Live

__all__ = ["Told"]

#: (endpoint id, served name)
_Owner = tuple[str, str]
#: Replicas of one served entity that are remembered each for itself; older ones as a sum.
_MOST = 64


class Told:
    """The newest of every replica. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: dict[_Owner, dict[str, Batched]] = {}
        self._gone: dict[_Owner, Batched] = {}

    def take(self, endpoint_id: str, served_name: str, live: Live) -> None:
        """Keep what a replica told."""
        owner = (endpoint_id, served_name)
        told = Batched(
            tuple(live.batches),
            live.batched,
            live.nan,
            live.infinite,
            live.dropped,
            live.evicted,
            live.failed,
        )
        with self._lock:
            newest = self._newest.setdefault(owner, {})
            newest.pop(live.incarnation, None)
            newest[live.incarnation] = told  # behind all that were heard longer ago
            if len(newest) > _MOST:
                oldest = newest.pop(next(iter(newest)))
                self._gone[owner] = self._gone.get(owner, Batched()).add(oldest)

    def keep(self, endpoint_ids: frozenset[str]) -> None:
        """Forget all other endpoints."""
        with self._lock:
            for owner in [owner for owner in self._newest if owner[0] not in endpoint_ids]:
                del self._newest[owner]
                self._gone.pop(owner, None)

    def all(self) -> Mapping[_Owner, Batched]:
        """Each served entity's."""
        with self._lock:
            found = {}
            for owner, newest in self._newest.items():
                total = self._gone.get(owner, Batched())
                for each in newest.values():
                    total = total.add(each)
                found[owner] = total
            return found
