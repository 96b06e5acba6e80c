"""The head of one HTTP request: what of it is refused before anything else looks at it. Pure.

llhttp has refused broken framing by then; here is what it lets pass and two readers could take in
two ways. Nothing is repaired: a head is taken as it is or refused.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from serinus.errors import (
    BadRequest,
    NotImplementedHere,
    PayloadTooLarge,
    ResourceDoesNotExist,
)

__all__ = ["Headers", "check_headers", "decode_path", "too_large"]

Headers = Sequence[tuple[bytes, bytes]]

#: To look for a number in bytes takes a tenth of what bytes in bytes do.
_UNDERSCORE = ord("_")
_LOOKED_AT = frozenset(
    (b"host", b"authorization", b"transfer-encoding", b"content-length", b"expect")
)
#: A name or an address, and perhaps a port; nothing that could be taken for two hosts.
_HOST = re.compile(rb"(?:[A-Za-z0-9._~%!$&'()*+=-]*|\[[0-9A-Fa-f:.]+\])(?::\d{0,5})?")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
#: Hosts and paths that are remembered as good: requests name the same few again and again, and to
#: look at one closely costs as much as the rest of the head.
_REMEMBERED = 256


def check_headers(headers: Headers, version: str, max_body: int) -> bool:
    """Whether the caller waits for ``100 Continue``; raises what the request is refused with.

    ``headers`` have lower-case names.
    """
    hosts, tokens, expects = 0, 0, False
    for name, value in headers:
        if name not in _LOOKED_AT:
            if _UNDERSCORE in name:
                # Some readers take Content_Length for Content-Length, some do not.
                raise BadRequest(
                    f"The header name '{_shown(name)}' has an underscore; use a hyphen instead."
                )
        elif name == b"host":
            hosts += 1
            if not _is_host(value):
                raise BadRequest("The Host header is not the name of a host.")
        elif name == b"authorization":
            tokens += 1
        elif name == b"content-length":
            if int(value) > max_body:
                raise too_large(max_body)
        elif name == b"transfer-encoding":
            _check_coding(value, version)
        else:
            _check_expectation(value)
            expects = version == "1.1"
    _check_counts(hosts, tokens, version)
    return expects


def _check_counts(hosts: int, tokens: int, version: str) -> None:
    if hosts != 1 and (hosts or version == "1.1"):
        found = f"{hosts} Host headers" if hosts else "no Host header"
        raise BadRequest(f"The request has {found}; it must have one.")
    if tokens > 1:
        # Two readers could take two of them for the caller.
        raise BadRequest(
            f"The request has {tokens} Authorization headers; it must not have more than one."
        )


@lru_cache(_REMEMBERED)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None


def _check_coding(value: bytes, version: str) -> None:
    if version != "1.1":
        raise BadRequest("Transfer-Encoding belongs to HTTP/1.1; send a Content-Length.")
    if value.lower() != b"chunked":
        raise NotImplementedHere(
            f"The transfer encoding '{_shown(value)}' is not read here; only 'chunked' is."
        )


def _check_expectation(value: bytes) -> None:
    if value.lower() != b"100-continue":
        raise BadRequest(f"The expectation '{_shown(value)}' can't be met here.")


@lru_cache(_REMEMBERED)
def decode_path(raw: bytes) -> str:
    """The path as routes are compared with it: decoded once.

    Raises BadRequest for what is no path and ResourceDoesNotExist for one that could be read as
    another one further on (encoded slashes, empty and dot segments).
    """
    if not raw.startswith(b"/"):
        raise BadRequest("The request target must be a path that begins with '/'.")
    if not raw.isascii() or b"#" in raw:
        raise BadRequest("The path has characters that must be percent-encoded.")
    decoded = raw
    if b"%" in raw:
        if _BAD_ESCAPE.search(raw):
            raise BadRequest("The path has a '%' that is not followed by two hexadecimal digits.")
        decoded = unquote_to_bytes(raw)
    try:
        path = decoded.decode()
    except UnicodeDecodeError:
        raise BadRequest("The path is not UTF-8.") from None
    if _CONTROL.search(path):
        raise BadRequest("The path has control characters.")
    if decoded.count(b"/") != raw.count(b"/") or "\\" in path or "//" in path or _dots(path):
        raise ResourceDoesNotExist(
            "There is nothing at this path: encoded slashes, backslashes, empty segments and "
            "'.' or '..' are not resolved here."
        )
    return path


def too_large(max_body: int) -> PayloadTooLarge:
    """The refusal of a body that is over the limit."""
    return PayloadTooLarge(f"The body is over the limit of {max_body} bytes; send fewer rows.")


def _dots(path: str) -> bool:
    return "/." in path and any(part in (".", "..") for part in path.split("/"))


def _shown(value: bytes) -> str:
    return value[:60].decode("latin-1").encode("ascii", "backslashreplace").decode()
