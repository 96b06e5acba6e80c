"""What a replica says of live values when it is asked: counts, and rows kept as evidence.

Counts are cumulative since the replica started, so that hearing them twice adds nothing.
"""

from typing import Any

import msgspec

__all__ = ["Cell", "Live", "Record", "Watch", "read_live", "read_watch"]


class Watch(msgspec.Struct, frozen=True):
    """The question: what has changed since, and (when wanted) the evidence."""

    #: The `Live.sequence` of the last answer; 0: all that there is.
    since: int = 0
    #: True: the sampled rows too.
    rows: bool = False
    #: The `Live.row_sequence` of the last answer: only rows kept after those.
    rows_since: int = 0


class Cell(msgspec.Struct, frozen=True):
    """The counts of one caller and one hour."""

    #: A caller's name, `OTHER_CALLER`, `WHOLE_HOUR` (all of them together), or empty.
    caller: str
    #: Whole hours since the epoch.
    hour: int
    rows: int
    #: A packed `Sketch`.
    content: bytes


class Record(msgspec.Struct, frozen=True):
    """One request kept as evidence, redacted as the contract wants it."""

    #: Seconds since the epoch.
    at: float
    request_id: str
    caller: str
    #: The request as it came (S0); None where it held private fields or was too long.
    body: bytes | None = None
    #: Name of the body's `Format`.
    format: str = ""
    #: The rows as they were read (S1): field → value.
    rows: list[dict[str, Any]] = []
    #: The answer's body.
    answer: bytes = b""
    #: Why it was refused: ``type``, ``missing`` …; empty for one that was answered.
    violation: str = ""
    #: The field that it was refused for, where it was one.
    field: str = ""
    detail: str = ""
    #: A number that all requests of one entity share; whoever keeps fewer keeps the lowest.
    entity: int = 0
    #: Stage → its columns for the first rows, computed by the serving process right afterwards, the
    #: whole request together. Empty where that took too long, or would give a private value away.
    stages: dict[str, list[Any]] = {}


class Live(msgspec.Struct, frozen=True):
    """The answer."""

    #: New with every start of the process.
    incarnation: str
    sequence: int
    #: The contract's id; empty until it has been read.
    contract: str
    cells: list[Cell] = []
    #: Rows that found no room on their way to be counted.
    dropped: int = 0
    #: Cells that were given up to stay within the memory limit.
    evicted: int = 0
    #: Requests whose values could not be counted.
    failed: int = 0
    #: NaN and infinities in answers, each of which was written as null. Not sampled.
    nan: int = 0
    infinite: int = 0
    #: Batches by their size: at place i those of at most 2**i requests, at the last all larger;
    #: and the requests in all of them.
    batches: list[int] = []
    batched: int = 0
    #: The oldest that were asked for; there may be more behind them.
    records: list[Record] = []
    #: The number of the last one of them.
    row_sequence: int = 0


def read_watch(content: bytes) -> Watch:
    """The Watch in a frame's body; raises msgspec.DecodeError."""
    return msgspec.msgpack.decode(content, type=Watch) if content else Watch()


def read_live(content: bytes) -> Live:
    """The Live in a frame's body; raises msgspec.DecodeError."""
    return msgspec.msgpack.decode(content, type=Live)
