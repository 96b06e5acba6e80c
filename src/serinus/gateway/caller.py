"""Finds who sent a request: the slice by which live values are kept. Nothing is decided by it.

A caller that can't be found is empty, never an error.
"""

from collections.abc import Callable, Iterable

from serinus.gateway.units import Find, finder
from serinus.replica.protocol import SEPARATOR, Format
from serinus.traffic import Unit, UnitKind

__all__ = ["DEFAULT", "Callers"]

Headers = Iterable[tuple[bytes, bytes]]

#: Where callers are looked for unless the endpoint's policy says otherwise.
DEFAULT = Unit(UnitKind.HEADER, "x-caller")
_LONGEST = 64


def _nobody(_: Headers) -> bytes:
    """Where nobody looks at tokens."""
    return b""


class Callers:
    """How the callers of one endpoint are named. ``token_name`` names those who don't say."""

    __slots__ = ("_find", "_token_name")

    def __init__(self, unit: Unit | None, token_name: Callable[[Headers], bytes] = _nobody) -> None:
        self._find: Find | None = finder(unit or DEFAULT)
        self._token_name = token_name

    def meta(self, headers: Headers, body: bytes, format_: Format, request_id: bytes) -> bytes:
        """What goes with the request to the replica: the caller and the request's id."""
        found = None if self._find is None else self._find(headers, body, format_)
        caller = found or self._token_name(headers)
        if not caller:
            return SEPARATOR + request_id
        return caller[:_LONGEST].replace(SEPARATOR, b"?") + SEPARATOR + request_id
