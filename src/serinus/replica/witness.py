"""Keeps some requests whole, as evidence: all of some entities, and the first of each refusal.

Bounded by rate and by bytes, and redacted before it is kept. It must never keep a value of a field
that the contract marks as private.
"""

import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import chain, islice
from typing import Any

from serinus.parity.contract import Contract, Privacy
from serinus.parity.live import Record
from serinus.parity.observe import hashed

__all__ = ["Witness"]

_WHOLE = 1 << 32
_ROWS = 16
_LONGEST_BODY = 64 * 1024
#: Requests of each kind of refusal that are kept in an hour.
_REFUSED = 20
#: The share of entities is adapted every so many seconds.
_ADAPT_S = 10.0
#: What a record costs beside its bytes.
_OVERHEAD = 400
#: What a row of a stage's column costs.
_STAGED = 64


class Witness:
    """The evidence of one replica. Only its folder's thread may call it."""

    def __init__(
        self,
        contract: Contract | None,
        *,
        per_second: float = 10.0,
        max_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        fields = contract.fields if contract is not None else []
        #: Fields that name the entity; empty: each request is one.
        self.keys = tuple(sorted({key for field in fields for key in field.entity_keys}))
        self._private = {f.name: f.privacy for f in fields if f.privacy is not Privacy.PLAIN}
        self._salt = contract.training.fingerprint if contract is not None else ""
        self._seed = zlib.crc32(self._salt.encode())
        self._per_second = per_second
        self._max_bytes = max_bytes
        self._records: deque[tuple[int, Record]] = deque()
        self._bytes = 0
        #: How many were ever kept: the number of the last one.
        self._kept = 0
        self._below = _WHOLE
        self._adapted_at = 0.0
        self._taken = 0
        self._allowance = per_second
        self._allowed_at = 0.0
        self._refused: dict[tuple[str, int], int] = {}

    @property
    def private(self) -> bool:
        """Whether some of the fields are."""
        return bool(self._private)

    @property
    def records(self) -> list[Record]:
        """What is kept, oldest first."""
        return [record for _, record in self._records]

    def since(self, number: int, most_bytes: int) -> tuple[list[Record], int]:
        """The oldest that were kept after that one, as many as may go at once, and their last."""
        at = self._kept - len(self._records)
        found: list[Record] = []
        for size, record in islice(self._records, max(number - at, 0), None):
            if found and most_bytes < size:
                break
            most_bytes -= size
            found.append(record)
        return found, max(number, at) + len(found)

    def entity(self, name: bytes) -> int:
        """The number by which entities are chosen."""
        return zlib.crc32(name, self._seed)

    def ready(self, at: float) -> bool:
        """False while the rate allows no request, whosever it is."""
        due = self._allowance + (at - self._allowed_at) * self._per_second >= 1
        return due or at - self._adapted_at >= _ADAPT_S

    def wants(self, at: float, entity: int) -> bool:
        """True for a request of a chosen entity, while the rate allows."""
        if at - self._adapted_at >= _ADAPT_S:
            self._adapt(at)
        if entity >= self._below:
            return False
        self._allowance = min(
            self._allowance + (at - self._allowed_at) * self._per_second, self._per_second
        )
        self._allowed_at = at
        if self._allowance < 1:
            return False
        self._allowance -= 1
        self._taken += 1
        return True

    def _adapt(self, at: float) -> None:
        """Choose fewer entities rather than some requests of many, so that each is whole."""
        rate = self._taken / max(at - self._adapted_at, _ADAPT_S)
        if rate > 0.8 * self._per_second:
            self._below = max(self._below >> 1, 1)
        elif rate < 0.2 * self._per_second:
            self._below = min(self._below << 1, _WHOLE)
        self._adapted_at, self._taken = at, 0

    def keep(self, record: Record, rows: Sequence[Mapping[str, Any]] = ()) -> None:
        """Keep a request that was answered."""
        shown = [self._redacted(row) for row in rows[:_ROWS]]
        self._add(record, shown, record.answer)

    def refused(self, record: Record) -> None:
        """Keep a refused request, if it is one of the first of its kind in this hour."""
        key = (record.violation, int(record.at // 3600))
        self._refused = {k: n for k, n in self._refused.items() if k[1] >= key[1] - 1}
        if self._refused.get(key, 0) >= _REFUSED:
            return
        self._refused[key] = self._refused.get(key, 0) + 1
        self._add(record, [], record.answer)

    def _add(self, record: Record, rows: list[dict[str, Any]], answer: bytes) -> None:
        body = record.body
        if self._private or (body is not None and len(body) > _LONGEST_BODY):
            body = None
        detail = "" if record.field in self._private else record.detail
        kept = Record(
            at=record.at,
            request_id=record.request_id,
            caller=record.caller,
            body=body,
            format=record.format,
            rows=rows,
            # What a refusal says of a private value is private, too.
            answer=b"" if record.violation and self._private else answer[:_LONGEST_BODY],
            violation=record.violation,
            field=record.field,
            detail=detail,
            entity=record.entity,
            stages=record.stages if not self._private else {},
        )
        size = len(body or b"") + len(kept.answer) + _OVERHEAD + 64 * sum(map(len, rows))
        size += _STAGED * sum(map(len, chain.from_iterable(kept.stages.values())))
        self._records.append((size, kept))
        self._bytes += size
        self._kept += 1
        while self._bytes > self._max_bytes:
            self._bytes -= self._records.popleft()[0]

    def _redacted(self, row: Mapping[str, Any]) -> dict[str, Any]:
        if not self._private:
            return dict(row)
        shown = {}
        for name, value in row.items():
            privacy = self._private.get(name, Privacy.PLAIN)
            if privacy is Privacy.PLAIN or (value is None and privacy is Privacy.HASH):
                shown[name] = value
            elif privacy is Privacy.HASH:
                shown[name] = hashed(str(value), self._salt)
        return shown
