"""Which request bodies have ended replicas, so that none of them ends all: one for a served entity.

Suspicion falls on what was in flight at a death; only a body that was the one suspect at a second
death is convicted. It must never cost a request anything while no replica has died.
"""

import asyncio
import hashlib
from collections import deque
from dataclasses import dataclass

from serinus.errors import BadRequest
from serinus.replica.protocol import Format

__all__ = ["Quarantine", "Quarantined"]

#: Deaths after which a body is refused.
_KILLS = 2
#: Seconds for which a suspicion lasts, and for which a conviction lasts at first and at most.
_SUSPECTED_S, _HELD_S, _LONGEST_S = 60.0, 600.0, 3600.0
#: Bodies that are remembered.
_MOST = 1024
#: Bodies answered lately, by number and size: what was answered did not end a replica just so.
_GOOD, _GOOD_BYTES = 16, 64 * 1024


class Quarantined(BadRequest):
    """This very body has ended replicas before and is not tried again for now."""

    def __init__(self, name: str, key: bytes, kills: int, left_s: float) -> None:
        super().__init__(
            f"{kills} replicas of '{name}' ended while they worked on this very request, so it is "
            f"refused for another {max(1, round(left_s / 60))} minutes. Send it otherwise, or to "
            "another version; the logs of the served entity say how they ended.",
            details=[{"cause": "QUARANTINED", "kills": kills, "retry_in_s": round(left_s)}],
        )
        #: Refusals of one body are one accident.
        self.cause = ("quarantine", name, int.from_bytes(key[:6], "big"))


@dataclass(slots=True)
class _Suspect:
    deaths: int
    #: Nobody remembers it after that.
    ends_at: float
    #: It is refused until then.
    held_until: float = 0.0
    held_s: float = _HELD_S


class Quarantine:
    """The suspects of one served entity. Times are the event loop's."""

    def __init__(self, name: str, model: str) -> None:
        """``model`` is the digest that they are suspects of."""
        self.name = name
        self.model = model
        #: Empty unless a replica died lately; look here first.
        self.suspects: dict[bytes, _Suspect] = {}
        #: One suspect at a time, so that it is known who did it.
        self.alone = asyncio.Lock()
        self._good: deque[bytes] = deque(maxlen=_GOOD)
        self._next_end = float("inf")

    def answered(self, body: bytes) -> None:
        """A replica has answered it and lives."""
        if len(body) <= _GOOD_BYTES:
            self._good.append(body)

    def is_suspect(self, body: bytes, format_: Format, at: float) -> bool:
        """Whether it must be tried alone; raises Quarantined when it must not be tried."""
        if at >= self._next_end:
            self._forget(at)
        key = _key(body, format_)
        suspect = self.suspects.get(key)
        if suspect is None:
            return False
        if at < suspect.held_until:
            raise Quarantined(self.name, key, suspect.deaths, suspect.held_until - at)
        return True

    def suspect(self, body: bytes, format_: Format, at: float, *, sole: bool = False) -> None:
        """A replica died while it worked on it; ``sole``: on no other suspect."""
        if body in self._good:
            return
        key = _key(body, format_)
        known = self.suspects.pop(key, None) or _Suspect(0, 0.0)
        known.deaths += 1
        known.ends_at = at + _SUSPECTED_S
        if sole and known.deaths >= _KILLS:
            known.held_until = at + known.held_s
            known.held_s = min(known.held_s * 2, _LONGEST_S)
            known.ends_at = known.held_until + _SUSPECTED_S
        if len(self.suspects) >= _MOST:
            del self.suspects[next(iter(self.suspects))]  # the one of the oldest death
        self.suspects[key] = known
        self._next_end = min(self._next_end, known.ends_at)

    def acquit(self, body: bytes, format_: Format) -> None:
        """A replica has answered it after all."""
        self.answered(body)
        self.suspects.pop(_key(body, format_), None)

    def _forget(self, at: float) -> None:
        self.suspects = {key: each for key, each in self.suspects.items() if each.ends_at > at}
        self._next_end = min(
            (each.ends_at for each in self.suspects.values()), default=float("inf")
        )


def _key(body: bytes, format_: Format) -> bytes:
    return hashlib.blake2b(body, digest_size=16, person=format_.name.encode()).digest()
