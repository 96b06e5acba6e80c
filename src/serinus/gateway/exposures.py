"""Which requests an outcome may be told of: picked before it is known who answers, and bounded.

What is picked waits here until the controller keeps it. Nothing here is ever waited for.
"""

from collections import deque
from itertools import islice

import msgspec

from serinus.evidence.exposure import Exposure, client_key

__all__ = ["Exposures", "Picker", "client_of"]

#: Exposures that wait for the controller; past it new ones are dropped.
_MOST_WAITING = 20_000
#: Of these, how many go out in one flush.
_IN_A_FLUSH = 2_000
#: Requests that may be picked at once after a quiet time.
_BURST = 100.0
#: Bytes of a body that is read for the client's id.
_MAX_READ = 1 << 20


class _Named(msgspec.Struct, gc=False):
    client_request_id: str | int | None = None


_decode = msgspec.json.Decoder(_Named).decode


def client_of(body: bytes) -> int | None:
    """The key of the request id that the client gave, or None."""
    if len(body) > _MAX_READ:
        return None
    try:
        found = _decode(body).client_request_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None if found is None else client_key(str(found))


class Picker:
    """Picks so many requests a second when they come in; so who is picked says nothing of arms."""

    __slots__ = ("_at", "_left", "_most", "_per_s")

    def __init__(self, per_s: float, at: float) -> None:
        self._per_s = per_s
        self._most = max(_BURST, per_s)
        self._left = self._most if per_s else 0.0
        self._at = at

    def pick(self, at: float) -> bool:
        """True when the request that comes in now is one of them."""
        if not self._per_s:
            return False
        self._left = min(self._most, self._left + (at - self._at) * self._per_s)
        self._at = at
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Exposures:
    """Those of one gateway that the controller does not keep yet."""

    def __init__(self) -> None:
        self._waiting: deque[Exposure] = deque()
        #: How many were ever taken off the front: the number of the first one waiting.
        self._gone = 0

    def add(self, exposure: Exposure) -> bool:
        """Have it sent; False when too many wait already."""
        if len(self._waiting) >= _MOST_WAITING:
            return False
        self._waiting.append(exposure)
        return True

    def next(self) -> tuple[list[Exposure], int]:
        """The oldest ones, and the number up to which they go, for `kept`."""
        batch = list(islice(self._waiting, _IN_A_FLUSH))
        return batch, self._gone + len(batch)

    def kept(self, upto: int) -> None:
        """The controller has all up to that number."""
        while self._gone < upto and self._waiting:
            self._waiting.popleft()
            self._gone += 1
