"""What the serving thread hands over to be counted: requests with their answers, and refusals.

References only; nothing is copied or looked at until the counting thread does.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from serinus.errors import SerinusError, UnsupportedMediaType
from serinus.parity.folding import Batch
from serinus.parity.took import STAGES
from serinus.replica.breath import with_pauses
from serinus.replica.intake import Rows
from serinus.replica.looked import Looked
from serinus.replica.origin import origin_of
from serinus.replica.protocol import SEPARATOR, Frame
from serinus.replica.unit import Unit

__all__ = ["Answered", "Refused", "Times", "alike", "cells_of"]

#: Fields of one refusal that are counted.
_REASONS = 20
_KINDS = {"nothing": "missing", "null": "null", "the same key twice": "duplicate"}


#: When each request came; what reading all of them took; when work on these began and ended.
Times = tuple[Sequence[float], float, float, float]


class _Noted(msgspec.Struct, gc=False):
    """Something that happened at a time."""

    at: float

    def caller(self, request: Frame) -> str:
        """Who sent it; empty when nobody said."""
        return request.meta.partition(SEPARATOR)[0].decode("utf-8", "replace")

    def request_id(self, request: Frame) -> str:
        """The gateway's id of the request."""
        return origin_of(request.meta).request_id.decode("utf-8", "replace")


class Answered(_Noted, gc=False):
    """Requests that were answered together."""

    rows: int
    requests: Sequence[Frame]
    units: Sequence[Unit]
    answers: Sequence[Frame]
    output: Any
    times: Times | None = None

    def took(self, at: int) -> tuple[float, float, float, float] | None:
        """Seconds of each of `STAGES` for one request; None where nobody looked at a clock."""
        if self.times is None:
            return None
        received, read, began, ended = self.times
        model = self.answers[at].aux / 1e6
        return began - read - received[at], read, model, max(ended - began - model, 0.0)

    def columns(self, at: int) -> Any:
        """Equal for requests whose cells can be put together."""
        data = self.units[at].data
        if isinstance(data, Rows):
            return id(data.layout), id(self.output) if _is_odd(self.output) else 0
        return id(data)

    def entity(self, at: int, keys: tuple[str, ...]) -> bytes:
        """What names the entity of a request's first row; without such, the request's own id."""
        data = self.units[at].data
        if keys and isinstance(data, Rows) and data.cells:
            names = [column.name for column in data.layout.columns]
            found = [data.cells[0][names.index(key)] for key in keys if key in names]
            if found:
                return repr(found).encode("utf-8", "replace")
        return origin_of(self.requests[at].meta).request_id

    def rows_of(self, at: int, most: int = 16) -> list[dict[str, Any]]:
        """The first rows of one request, by field."""
        data = self.units[at].data
        if isinstance(data, Rows):
            names = [column.name for column in data.layout.columns]
            return [dict(zip(names, row, strict=True)) for row in data.cells[:most]]
        return []

    def output_of(self, at: int) -> Any:
        """The part of the output that answers this request; None where it can't be cut."""
        if len(self.units) == 1:
            return self.output
        begin = sum(unit.rows or 0 for unit in self.units[:at])
        end = begin + (self.units[at].rows or 0)
        if isinstance(self.output, dict):
            return {key: each[begin:end] for key, each in self.output.items()}
        try:
            return self.output[begin:end]
        except (TypeError, KeyError):
            return None


class Refused(_Noted, gc=False):
    """A request that was refused before the model saw it."""

    request: Frame
    error: SerinusError

    @property
    def rows(self) -> int:
        """As many as one: how many there were may not even be known."""
        return 1

    def reasons(self) -> Iterator[tuple[str, str]]:
        """Kind of violation and field (empty: the whole request)."""
        details = [each for each in (self.error.details or [])[:_REASONS] if "field" in each]
        for detail in details:
            got = detail.get("got")
            kind = _KINDS.get(str(got), "type")
            yield str(detail.get("kind") or kind), str(detail["field"])
        if not details:
            media = isinstance(self.error, UnsupportedMediaType)
            yield ("media_type" if media else "structure"), ""


def _is_odd(output: Any) -> bool:
    """True for an output that can't be laid end to end with others."""
    return not isinstance(output, np.ndarray | list)


def alike(some: Iterable[tuple[Answered, int]], most: int) -> Iterator[list[tuple[Answered, int]]]:
    """Requests of equal columns, together up to so many rows."""
    by_columns: dict[Any, list[tuple[Answered, int]]] = {}
    for each, at in some:
        by_columns.setdefault(each.columns(at), []).append((each, at))
    for same in by_columns.values():
        waiting: list[tuple[Answered, int]] = []
        rows = 0
        for each, at in same:
            waiting.append((each, at))
            rows += each.units[at].rows or 1
            if rows >= most:
                yield waiting
                waiting, rows = [], 0
        if waiting:
            yield waiting


def cells_of(some: Sequence[tuple[Answered, int]], pause: Callable[[], None]) -> Batch:
    """One batch of requests that have equal `Answered.columns`; it takes a millisecond or two."""
    first = some[0][0].units[some[0][1]].data
    rows = sum(each.units[at].rows or 0 for each, at in some)
    columns: dict[str, Any] = {}
    if isinstance(first, Rows):
        cells = list(chain.from_iterable(each.units[at].data.cells for each, at in some))
        names = [column.name for column in first.layout.columns]
        columns = dict(zip(names, zip(*cells, strict=True), strict=True))
    elif hasattr(first, "columns") and hasattr(first, "iloc"):
        columns = {str(n): first.iloc[:, i].tolist() for i, n in enumerate(first.columns)}
    looked = Looked()
    for each, at in with_pauses(some, pause):
        looked.add(each.requests[at].body, each.units[at].rows or 0)
    return Batch(
        rows=rows,
        columns=columns,
        output=_output(some),
        requests=len(some),
        extra=sum(each.units[at].extra > 0 for each, at in some),
        lookups=looked.statuses,
        ages=looked.ages,
        took=_took(some),
    )


def _took(some: Sequence[tuple[Answered, int]]) -> dict[str, Any]:
    known = [each.took(at) for each, at in some if each.times is not None]
    return dict(zip(STAGES, zip(*known, strict=True), strict=True)) if known else {}


def _outputs(some: Sequence[tuple[Answered, int]]) -> Iterator[Any]:
    """The outputs of these requests; those that were answered together whole, if all are here."""
    place = 0
    while place < len(some):
        each, at = some[place]
        last = place + len(each.units) - 1
        whole = at == 0 and last < len(some) and some[last][0] is each
        yield each.output if whole else each.output_of(at)
        place = last + 1 if whole else place + 1


def _output(some: Sequence[tuple[Answered, int]]) -> Any:
    parts = list(_outputs(some))
    if len(parts) == 1:
        return parts[0]
    if any(part is None for part in parts):
        return None
    try:
        return np.concatenate([_plain(part) for part in parts])
    except ValueError:  # of different shapes
        return None


def _plain(part: Any) -> Any:
    if isinstance(part, dict) and len(part) == 1:
        part = next(iter(part.values()))
    return part.to_numpy() if hasattr(part, "to_numpy") else np.asarray(part)
