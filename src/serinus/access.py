"""Who may do what: rights, tokens, and what a gateway must know of them to decide alone.

Pure: randomness and the time are arguments. It must never keep or show a token itself.
"""

import hashlib
import re
import zlib
from dataclasses import dataclass, field
from enum import IntEnum

__all__ = ["EVERY", "Grant", "Right", "digest_of", "mint", "token_id_of"]

#: Stands for every endpoint, those to come included.
EVERY = "*"

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# One prefix and one shape, so that scanners find a token that was committed by mistake.
_TOKEN = re.compile(r"(srn_([0-9A-Za-z]{11})_[0-9A-Za-z]{43})([0-9A-Za-z]{6})")


class Right(IntEnum):
    """What one may do to an endpoint; each includes those before it."""

    NONE = 0
    VIEW = 1
    QUERY = 2
    MANAGE = 3

    @property
    def level(self) -> str:
        """``CAN_QUERY``, as clients of the original service know it; empty for NONE."""
        return f"CAN_{self.name}" if self else ""


@dataclass(frozen=True, slots=True)
class Grant:
    """One token that is in force, and what it allows."""

    token_id: str
    #: Who presents it.
    name: str
    #: SHA-256 of the token.
    digest: str
    #: May do everything, also what is no endpoint's.
    admin: bool = False
    #: Seconds since the epoch from which on it is worth nothing; None: for ever.
    expires_at: float | None = None
    #: Endpoint name or `EVERY` → right.
    rights: dict[str, Right] = field(default_factory=dict)

    def right(self, endpoint: str) -> Right:
        """The right to the endpoint of that name, whether there is one or not."""
        if self.admin:
            return Right.MANAGE
        general = self.rights.get(EVERY, Right.NONE)
        return max(general, self.rights.get(endpoint, Right.NONE))

    def expired(self, now: float) -> bool:
        """Whether its time is over at ``now``, seconds since the epoch."""
        return self.expires_at is not None and now >= self.expires_at


def mint(lookup: bytes, secret: bytes) -> str:
    """The token made of 8 random bytes to find it by and 32 to prove it with."""
    if len(lookup) != 8 or len(secret) != 32:
        raise ValueError("a token is made of 8 and 32 random bytes")
    text = f"srn_{_base62(lookup, 11)}_{_base62(secret, 43)}"
    return text + _checksum(text)


def token_id_of(token: str) -> str | None:
    """The part that a token is found by; None for what is no token, or one with a slip in it."""
    match = _TOKEN.fullmatch(token)
    if match is None or _checksum(match[1]) != match[3]:
        return None
    return match[2]


def digest_of(token: str) -> str:
    """What is kept of a token. It is 256 bits of chance: nothing is gained by a slower hash."""
    return hashlib.sha256(token.encode()).hexdigest()


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()).to_bytes(4, "big"), 6)


def _base62(value: bytes, width: int) -> str:
    number = int.from_bytes(value, "big")
    digits = []
    while number:
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits)).rjust(width, "0")
