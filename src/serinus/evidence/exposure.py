"""Who was shown what, request by request: kept only while outcomes are waited for. Pure.

An exposure says of one answered request which arm it fell on, and with which chance; never what
was asked or answered. Ids are kept as numbers that cannot be turned back into them.
"""

import hashlib
from typing import NamedTuple

__all__ = ["MOST_EXPOSURES", "Exposure", "client_key", "per_second", "request_key"]

#: Exposures kept of one rollout at a time, by all gateways together; past it the newest are
#: dropped, and counted.
MOST_EXPOSURES = 300_000
#: Exposures that one gateway takes in a second, at most.
_MOST_PER_SECOND = 200.0
#: An exposure is kept for its label window, and once more for what comes too late to be told so.
_WINDOWS = 3.0


class Exposure(NamedTuple):
    """One request that was answered by the split."""

    #: The rollout's evidence key.
    rollout_id: str
    request: int
    #: Of the client's own request id; None when it gave none.
    client: int | None
    #: Of the sticky unit; None when each request is a unit.
    unit: int | None
    #: When it began, in microseconds since the epoch.
    at_us: int
    on_candidate: bool
    stage: int
    #: The chance of falling on the candidate that was in force.
    candidate_bp: int


def per_second(label_window_s: float) -> float:
    """How many requests a gateway may pick each second so that all of a window can be kept."""
    return min(_MOST_PER_SECOND, MOST_EXPOSURES / (_WINDOWS * max(label_window_s, 1e-3)))


def request_key(request_id: bytes) -> int:
    """Of the id in the header ``x-request-id``."""
    return _key(b"request", request_id)


def client_key(client_request_id: str) -> int:
    """Of what the client sent as ``client_request_id``."""
    return _key(b"client", client_request_id.encode("utf-8", "surrogatepass"))


def _key(what: bytes, name: bytes) -> int:
    # 53 bits, so that JSON keeps it.
    digest = hashlib.blake2b(name, digest_size=8, person=what).digest()
    return int.from_bytes(digest, "big") >> 11
