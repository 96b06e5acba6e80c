"""Finds a request's unit of randomisation: in a header, a cookie or its JSON body.

A unit that can't be found is None, never an error: the caller falls back to the request itself.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from serinus.replica.protocol import Format
from serinus.traffic import Unit, UnitKind

__all__ = ["MAX_SEARCHED", "Find", "finder"]

Headers = Iterable[tuple[bytes, bytes]]
#: (headers with lower-case names, body, what the body is) -> the unit, or None.
Find = Callable[[Headers, bytes, Format], bytes | None]

_JSON = (Format.JSON, Format.OIP)
#: Bytes of a body that are searched for a unit; finding it means walking over all of it.
MAX_SEARCHED = 1 << 20


def finder(unit: Unit) -> Find | None:
    """How to find that unit; None when each request is a unit of its own."""
    match unit.kind:
        case UnitKind.REQUEST:
            return None
        case UnitKind.HEADER:
            return _in_header(unit.key)
        case UnitKind.COOKIE:
            return _in_cookie(unit.key)
        case UnitKind.JSON_PATH:
            return _in_body(unit.key)


def _nowhere(_headers: Headers, _body: bytes, _format: Format) -> None:
    return None


def _in_header(key: str) -> Find:
    wanted = key.strip().lower().encode("latin-1", "replace")

    def find(headers: Headers, _body: bytes, _format: Format) -> bytes | None:
        for name, value in headers:
            if name == wanted:
                return value.strip() or None
        return None

    return find


def _in_cookie(key: str) -> Find:
    wanted = key.strip().encode("latin-1", "replace") + b"="
    begin = len(wanted)

    def find(headers: Headers, _body: bytes, _format: Format) -> bytes | None:
        for name, value in headers:
            if name == b"cookie" and wanted in value:
                for pair in value.split(b";"):
                    cookie = pair.strip()
                    if cookie.startswith(wanted):
                        return cookie[begin:].strip(b'"') or None
        return None

    return find


def _in_body(path: str) -> Find:
    # One struct a step: msgspec skips over every other field without making objects of it.
    value: Any = str | int
    try:
        for step in reversed(path.split(".")):
            value = msgspec.defstruct("Step", [("value", value)], rename={"value": step}, gc=False)
    except ValueError:  # quotes and control characters can't be in a field's name
        return _nowhere
    decode = msgspec.json.Decoder(value).decode
    depth = path.count(".") + 1

    def find(_headers: Headers, body: bytes, format_: Format) -> bytes | None:
        if format_ not in _JSON or len(body) > MAX_SEARCHED:
            return None
        try:
            found: Any = decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None  # what is wrong with the body is for the model's replica to say
        for _ in range(depth):
            found = found.value
        return str(found).encode() or None

    return find
