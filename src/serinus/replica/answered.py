"""What the serving thread hands over to be counted: requests with their answers, and refusals.

References only; nothing is copied or looked at until the counting thread does.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from serinus.errors import SerinusError, UnsupportedMediaType
from serinus.parity.folding import Batch
from serinus.replica.intake import Rows
from serinus.replica.looked import Looked
from serinus.replica.origin import origin_of
from serinus.replica.protocol import SEPARATOR, Frame
from serinus.replica.unit import Unit

__all__ = ["Answered", "Refused", "cells_of"]

#: Fields of one refusal that are counted.
_REASONS = 20
_KINDS = {"nothing": "missing", "null": "null", "the same key twice": "duplicate"}


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


def cells_of(some: Sequence[tuple[Answered, int]]) -> Batch:
    """One batch of requests that have equal `Answered.columns`."""
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
    for each, at in some:
        looked.add(each.requests[at].body, each.units[at].rows or 0)
    return Batch(
        rows=rows,
        columns=columns,
        output=_output(some),
        requests=len(some),
        extra=sum(each.units[at].extra > 0 for each, at in some),
        lookups=looked.statuses,
        ages=looked.ages,
    )


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
