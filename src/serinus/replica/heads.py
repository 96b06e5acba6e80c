"""What requests begin with, up to their rows: clients send the same names of columns each time.

A beginning that is known is compared as bytes and not parsed again. It says all that a parser knows
when it comes to the rows, so what is left, but for two closing braces, must be rows alone.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

__all__ = ["Heads"]

#: Outside of a string these bytes are a key and its colon; within one the quotes are escaped.
_DATA, _COLUMNS = b'"data":', b'"columns"'
_END = b"}}"
#: Up to this length it costs less to copy the rows than to look at them in place.
_SHORT = 16 * 1024
#: How many are kept, and the longest; all are forgotten when one more comes.
_MOST, _LONGEST = 64, 64 * 1024


class Heads:
    """The beginnings of `dataframe_split` requests to one signature."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Any, msgspec.json.Decoder[Any], int | None, bool]] = {}
        self._reach = 0
        #: The last that came of those whose rows are as the signature has them.
        self._usual, self._usual_end = b"", 0
        self._decode: Callable[[bytes], list[tuple[Any, ...]]] = lambda _: []

    def usual_rows(self, body: bytes) -> list[tuple[Any, ...]] | None:
        """The rows, when it begins as the last one did; None: see `rows`."""
        if not self._usual_end or not body.startswith(self._usual) or len(body) > _SHORT:
            return None
        if body[-2:] != _END:
            return None
        try:
            return self._decode(body[self._usual_end : -2])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def rows(self, body: bytes) -> tuple[Any, list[tuple[Any, ...]]] | None:
        """What `learn` was given of such a beginning, and the rows; None: read it the long way."""
        at = body.find(_DATA, 0, self._reach)
        if at < 0 or not body.endswith(_END):
            return None
        known = self._known.get(body[:at])
        if known is None:
            return None
        of, decoder, indexed, usual = known
        try:
            rows: list[tuple[Any, ...]] = decoder.decode(memoryview(body)[at + len(_DATA) : -2])
        except msgspec.DecodeError:
            return None
        if usual:
            self._begin_with(body[: at + len(_DATA)], decoder)
        return (of, rows) if indexed is None or indexed == len(rows) else None

    def learn(
        self,
        body: bytes,
        of: Any,
        decoder: msgspec.json.Decoder[Any],
        index: Sequence[Any] | None,
        *,
        usual: bool = False,
    ) -> None:
        """Remember the beginning of a request that was found right and that has no key twice.

        It must have nothing beside the frame: a parameter could be named as the rows are.
        ``usual``: its rows are as the signature has them.
        """
        at = body.find(_DATA, 0, _LONGEST)
        # Where the names come after the rows there is nothing to gain.
        if at < 0 or _COLUMNS not in body[:at] or not body.endswith(_END):
            return
        if len(self._known) >= _MOST:
            self._known.clear()
            self._reach = self._usual_end = 0
        indexed = None if index is None else len(index)
        usual = usual and index is None
        self._known[body[:at]] = of, decoder, indexed, usual
        self._reach = max(self._reach, at + len(_DATA))
        if usual:
            self._begin_with(body[: at + len(_DATA)], decoder)

    def _begin_with(self, usual: bytes, decoder: msgspec.json.Decoder[Any]) -> None:
        self._usual, self._usual_end, self._decode = usual, len(usual), decoder.decode
