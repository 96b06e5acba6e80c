"""Bodies that failed: which failures of one body are one event, here and at other gateways.

Keeps hashes and no body, and only so many. Never asked of a request that was answered while none
has failed.
"""

import hashlib
from itertools import islice

__all__ = ["Bodies"]

#: Seconds within which failures of one and the same body are one event, even when it was answered.
_STORM_S = 1.0
#: Bodies that are remembered; past it the older half is forgotten.
_REMEMBERED = 20_000
#: Bodies whose first failure has a key, by which gateways tell that theirs is the same.
_MOST_KEYED = 500
#: To ask of an answered body whether it had failed means to hash it: not when it is longer.
_LONG = 64 * 1024


class Bodies:
    """Those of one stage at one gateway. One that nobody ever answers is broken: one event."""

    __slots__ = ("_failed", "_keyed")

    def __init__(self) -> None:
        #: Hash of a body → when it counted last, and whether it was ever answered since.
        self._failed: dict[int, tuple[float, bool]] = {}
        self._keyed = 0

    def __len__(self) -> int:
        return len(self._failed)

    def answered(self, body: bytes) -> None:
        """Somebody answered it: what failed before was not its own fault."""
        if self._failed and len(body) <= _LONG:
            what = hash(body)
            known = self._failed.get(what)
            if known is not None:
                self._failed[what] = (known[0], True)

    def failed(self, body: bytes, at: float) -> tuple[bool, int | None]:
        """Whether this failure is an event, and what its event is called at every gateway.

        It is none when the body is broken, or any body failed a moment ago. Only a first failure
        has a name: what fails again after an answer is another event, at each gateway its own.
        """
        what = hash(body)
        known = self._failed.get(what)
        if known is not None:
            last, was_answered = known
            # Whether a long one was ever answered is not known: then only the moment counts.
            if not (was_answered or len(body) > _LONG) or at - last < _STORM_S:
                return False, None
            self._failed[what] = (at, True)
            return True, None
        if len(self._failed) >= _REMEMBERED:
            for old in list(islice(self._failed, _REMEMBERED >> 1)):
                del self._failed[old]
        self._failed[what] = (at, False)
        if self._keyed >= _MOST_KEYED:
            return True, None
        self._keyed += 1
        return True, _key(body)


def _key(body: bytes) -> int:
    # Not `hash`, which is another one in each process; 53 bits, so that JSON keeps it.
    digest = hashlib.blake2b(body, digest_size=8, person=b"body").digest()
    return int.from_bytes(digest, "big") >> 11
