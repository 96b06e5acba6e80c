"""Which request bodies have ended replicas, so that none of them ends all: one for a served entity.

Suspicion falls on what was in flight at a death; only a body that was the one suspect at a second
death is convicted. Gateways tell each other of deaths, so that a body need not end two replicas for
each of them. It must never cost a request anything while no replica has died.
"""

import asyncio
import hashlib
from collections import deque
from collections.abc import Iterable, Set
from dataclasses import dataclass

import msgspec

from serinus.errors import BadRequest
from serinus.replica.protocol import Format

__all__ = ["Death", "Quarantine", "Quarantined", "Quarantines"]

#: Deaths after which a body is refused.
_KILLS = 2
#: Seconds for which a suspicion lasts, and for which a conviction lasts at first and at most.
_SUSPECTED_S, _HELD_S, _LONGEST_S = 60.0, 600.0, 3600.0
#: Bodies that are remembered.
_MOST = 1024
#: Deaths that other gateways have not been told of yet; what is beyond it they never hear.
_UNTOLD = 256
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


class Death(msgspec.Struct, frozen=True, array_like=True):
    """A replica of this served entity ended while it worked on the body with this hash."""

    endpoint: str
    served: str
    model: str
    key: bytes
    #: On no other suspect.
    sole: bool


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
        #: Hashes of bodies that a replica died of here, and whether each was its one suspect.
        self.untold: deque[tuple[bytes, bool]] = deque(maxlen=_UNTOLD)
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
        self.untold.append((key, sole))
        self.hear(key, at, sole=sole)

    def hear(self, key: bytes, at: float, *, sole: bool) -> None:
        """As `suspect`, of a body of which only the hash is known."""
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


class Quarantines:
    """Those of one gateway, by endpoint and served entity."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Quarantine] = {}

    def of(self, endpoint: str, served: str, model: str) -> Quarantine:
        """The suspects of a served entity, which outlive its replicas but not its model.

        ``model`` is empty while it has no replicas.
        """
        known = self._known.get((endpoint, served))
        if known is None or (model and known.model not in ("", model)):
            known = self._known[endpoint, served] = Quarantine(served, model)
        known.model = model or known.model
        return known

    def keep(self, served: Set[tuple[str, str]]) -> None:
        """Forget all others."""
        for gone in self._known.keys() - served:
            del self._known[gone]

    def untold(self) -> list[Death]:
        """What other gateways should hear; it is told once."""
        found = [
            Death(endpoint, each.name, each.model, *death)
            for (endpoint, _), each in self._known.items()
            for death in each.untold
        ]
        for each in self._known.values():
            each.untold.clear()
        return found

    def hear(self, deaths: Iterable[Death], at: float) -> None:
        """What another gateway told."""
        for each in deaths:
            known = self._known.get((each.endpoint, each.served))
            if known is not None and known.model == each.model:
                known.hear(each.key, at, sole=each.sole)


def _key(body: bytes, format_: Format) -> bytes:
    return hashlib.blake2b(body, digest_size=16, person=format_.name.encode()).digest()
