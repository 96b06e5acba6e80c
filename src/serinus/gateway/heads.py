"""Heads of requests that were read before: a caller sends the same one each time.

What the same bytes say is the same, so it is parsed and checked once. Only whole requests in one
piece, framed by a Content-Length, are remembered. Nothing that may change (rights, limits, routes)
may be kept here.
"""

from typing import Any

__all__ = ["NOTES", "Head", "Heads"]

#: Where a scope has what was found out about its head alone, for whoever asks the same of the next
#: request that begins so. Absent where the head is not remembered.
NOTES = "serinus.notes"
_END = b"\r\n\r\n"
#: Bytes of a head that is remembered, and heads in each of two halves.
_LONGEST, _MOST = 2048, 512


class Head:
    """One head, as every request that begins with it has it."""

    __slots__ = ("raw", "scope", "size")

    def __init__(self, raw: bytes, scope: dict[str, Any], size: int) -> None:
        """``size``: of the body, in bytes."""
        self.raw = raw
        self.scope = {**scope, NOTES: {}}
        self.size = size

    def begins(self, data: bytes) -> bool:
        """Whether all of ``data`` is one whole request with this head."""
        return data.startswith(self.raw) and len(data) == len(self.raw) + self.size


class Heads:
    """Those of one gateway. When one half is full, the other half is forgotten."""

    __slots__ = ("_before", "_now")

    def __init__(self) -> None:
        self._now: dict[bytes, Head] = {}
        self._before: dict[bytes, Head] = {}

    def __len__(self) -> int:
        return len(self._now) + len(self._before)

    def of(self, data: bytes) -> Head | None:
        """The head that all of ``data`` is a whole request with."""
        raw = data[: data.find(_END, 0, _LONGEST) + 4]
        head = self._now.get(raw)
        if head is None:
            head = self._before.get(raw)
            if head is None:
                return None
            self._keep(head)
        return head if len(data) == len(raw) + head.size else None

    def learn(self, data: bytes, scope: dict[str, Any], size: int) -> None:
        """``data`` was one whole request; ``size``: of its body, if that had a Content-Length.

        ``scope`` is what its head says.
        """
        ends = len(data) - size
        if size and ends <= _LONGEST:
            self._keep(Head(data[:ends], scope, size))

    def _keep(self, head: Head) -> None:
        if len(self._now) >= _MOST:
            self._before, self._now = self._now, {}
        self._now[head.raw] = head
