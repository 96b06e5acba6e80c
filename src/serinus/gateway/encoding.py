"""Takes gzip, deflate or zstd off a request body, never past what it may grow to.

Off the common path: a body without a content-encoding never comes here.
"""

import asyncio
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from serinus.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["Inflation", "check_coding"]

_STEP = 64 * 1024
#: Bytes that a body may always grow to: small ones are often a few rows again and again.
_FREE = 1024 * 1024
#: Bytes from which on a thread of its own is cheaper than keeping everybody waiting.
_QUICK = 32 * 1024
#: 8 MiB of window; a frame may ask for gigabytes.
_WINDOW_LOG = 23
_GZIP = zlib.MAX_WBITS | 16
_CODINGS = {b"gzip": "gzip", b"x-gzip": "gzip", b"zstd": "zstd"}


def check_coding(value: bytes) -> str:
    """The coding that a Content-Encoding header names, empty for none; raises."""
    coding = value.strip().lower()
    if coding in (b"", b"identity"):
        return ""
    known = _CODINGS.get(coding)
    if known is None:
        raise UnsupportedMediaType(
            f"content-encoding {value[:60].decode('latin-1')!r} is not read here; send the body "
            "as it is, or with one of gzip and zstd."
        )
    return known


@dataclass(frozen=True, slots=True)
class Inflation:
    """What a body may grow to."""

    #: Bytes.
    most: int = 16 * 1024 * 1024
    #: Times its size, once it has grown past 1 MiB.
    ratio: int = 100

    async def undo(self, body: bytes, coding: str) -> bytes:
        """The body without its coding; raises PayloadTooLarge and BadRequest."""
        if len(body) <= _QUICK:
            return self.inflate(body, coding)
        return await asyncio.to_thread(self.inflate, body, coding)

    def inflate(self, body: bytes, coding: str) -> bytes:
        """The same, in this thread."""
        parts: list[bytes] = []
        size = 0
        steps = _gzip(body) if coding == "gzip" else _zstd(body)
        try:
            for part in steps:
                size += len(part)
                self._check(size, len(body))
                parts.append(part)
        except (zlib.error, zstd.ZstdError, EOFError) as error:
            raise BadRequest(f"The request body can't be read as {coding}: {error}.") from None
        return b"".join(parts)

    def _check(self, size: int, given: int) -> None:
        if size > self.most:
            raise PayloadTooLarge(
                f"The body is over the limit of {self.most} bytes once it is decompressed; "
                "send fewer rows."
            )
        if size > _FREE and size > given * self.ratio:
            raise PayloadTooLarge(
                f"The body grows to more than {self.ratio} times its size when it is "
                "decompressed; send it as it is, or fewer rows."
            )


def _gzip(body: bytes) -> Iterator[bytes]:
    left = body
    while left:  # one member after the other
        inflater = zlib.decompressobj(_GZIP)
        while not inflater.eof:
            part = inflater.decompress(left, _STEP)
            left = inflater.unconsumed_tail
            if part:
                yield part
            elif not left and not inflater.eof:
                raise EOFError("it ends too soon")
        left = inflater.unused_data


def _zstd(body: bytes) -> Iterator[bytes]:
    options = {int(zstd.DecompressionParameter.window_log_max): _WINDOW_LOG}
    left = body
    while left:  # one frame after the other
        inflater = zstd.ZstdDecompressor(options=options)
        while not inflater.eof:
            part = inflater.decompress(left, _STEP)
            left = b""
            if part:
                yield part
            elif inflater.needs_input and not inflater.eof:
                raise EOFError("it ends too soon")
        left = inflater.unused_data
