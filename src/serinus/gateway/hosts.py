"""By which names this server may be called, and from whose pages it may be changed.

A page in a browser can make its own name point at this machine, or send a form here. A program
that is no browser is never kept out by this.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping

from serinus.errors import PermissionDenied

__all__ = ["Hosts", "is_loopback"]

_PLACE = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]+)?")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
#: Forms of an allowed name (with ports, in capitals) that are remembered.
_MOST = 256


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on ``host``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Hosts:
    """The names of one server: on loopback always checked, elsewhere when some are configured."""

    def __init__(self, bound: str, configured: Iterable[str] = ()) -> None:
        names = {name.strip().lower().strip("[]") for name in configured if name.strip()}
        self._checked = is_loopback(bound) or bool(names)
        self._names = names | {bound.lower()} | (_LOOPBACK if is_loopback(bound) else set())
        #: Values of the header that were found right.
        self._right: set[bytes] = set()

    def check(self, method: str, headers: Mapping[bytes, bytes]) -> None:
        """Raise PermissionDenied for a name that is not ours, or a page that is not."""
        host = headers.get(b"host")
        if host is not None and self._checked and host not in self._right:
            self._check_host(host)
        origin = headers.get(b"origin")
        if origin is not None and method not in _SAFE:
            self._check_origin(origin, host or b"")

    def _check_host(self, host: bytes) -> None:
        name = _name(host.decode("latin-1"))
        if name not in self._names:
            raise PermissionDenied(
                f"This server does not answer to the name '{name[:80]}'. Call it by "
                f"{', '.join(sorted(self._names))}, or add the name to SERINUS_HOSTS."
            )
        if len(self._right) < _MOST:
            self._right.add(host)

    def _check_origin(self, origin: bytes, host: bytes) -> None:
        _, found, place = origin.decode("latin-1").partition("://")
        # Its own pages: the origin is what the request was addressed to, port and all.
        own = place.lower() == host.decode("latin-1").lower()
        if not found or not (own or _name(place) in self._names - _LOOPBACK):
            raise PermissionDenied(
                "A page of another origin may not change anything here. If it is yours, add its "
                "name to SERINUS_HOSTS."
            )


def _name(place: str) -> str:
    """The bare lower-case name of ``name:port``; empty for what is no such thing."""
    match = _PLACE.fullmatch(place)
    return match[1].strip("[]").lower() if match else ""
