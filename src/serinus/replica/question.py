"""INSPECT and INSPECTION frames: how a question about stages and its answer cross the wire.

Both ends use it; it computes nothing.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from serinus.parity.arrays import pack, unpack
from serinus.parity.canonical import ContractBroken
from serinus.parity.contract import Stage
from serinus.parity.wire import Inspection, Request, Running
from serinus.replica.protocol import Format, Frame, FrameError, Kind

__all__ = [
    "ask_running",
    "ask_stages",
    "complaint",
    "format_of",
    "inspection",
    "inspection_of",
    "is_about_running",
    "requests_of",
    "running",
    "running_of",
]

_FORMATS = {
    "application/json": Format.JSON,
    "text/csv": Format.CSV,
    "application/vnd.apache.parquet": Format.PARQUET,
    "application/x-parquet": Format.PARQUET,
}


class _Sizes(msgspec.Struct, frozen=True):
    """Meta of an INSPECT: where one request ends and what its bytes are."""

    sizes: list[int]
    formats: list[Format]


class _Around(msgspec.Struct, frozen=True):
    """Meta of an INSPECTION: all but the arrays."""

    columns: dict[str, list[str]]
    refused: dict[int, str]
    missing: dict[str, str]
    failed: dict[str, str]


def format_of(content_type: str) -> Format:
    """The format of a content type; TEXT, which no model reads, for one that is not known."""
    return _FORMATS.get(content_type.partition(";")[0].strip().lower(), Format.TEXT)


def ask_running(id_: int) -> Frame:
    """The question who the replica is."""
    return Frame(Kind.INSPECT, id_)


def ask_stages(id_: int, requests: Sequence[Request]) -> Frame:
    """The question what becomes of these requests."""
    sizes = _Sizes([len(r.body) for r in requests], [format_of(r.content_type) for r in requests])
    body = b"".join(request.body for request in requests)
    return Frame(Kind.INSPECT, id_, body, msgspec.msgpack.encode(sizes))


def is_about_running(frame: Frame) -> bool:
    """Whether an INSPECT asks who the replica is."""
    return not frame.meta


def requests_of(frame: Frame) -> list[tuple[bytes, Format]]:
    """The requests in an INSPECT; raises FrameError."""
    try:
        sizes = msgspec.msgpack.decode(frame.meta, type=_Sizes)
    except msgspec.DecodeError as error:
        raise FrameError(f"unreadable INSPECT: {error}") from error
    fits = sum(sizes.sizes) == len(frame.body) and len(sizes.sizes) == len(sizes.formats)
    if not fits or any(size < 0 for size in sizes.sizes):
        raise FrameError("an INSPECT announces other requests than it has")
    found, at = [], 0
    for size, format_ in zip(sizes.sizes, sizes.formats, strict=True):
        found.append((frame.body[at : at + size], format_))
        at += size
    return found


def inspection(id_: int, found: Inspection) -> Frame:
    """The answer to the question about stages."""
    columns = {name: found.columns.get(name, []) for name in found.stages}
    around = _Around(columns, found.refused, found.missing, found.failed)
    return Frame(
        Kind.INSPECTION, id_, pack(found.stages), msgspec.msgpack.encode(around), status=200
    )


def inspection_of(frame: Frame) -> Inspection:
    """What is in an INSPECTION; raises FrameError."""
    try:
        around = msgspec.msgpack.decode(frame.meta, type=_Around)
        stages = unpack(frame.body, [Stage(name=name) for name in around.columns])
    except (msgspec.DecodeError, ContractBroken) as error:
        raise FrameError(f"unreadable INSPECTION: {error}") from error
    return Inspection(
        stages=stages,
        columns=around.columns,
        refused=around.refused,
        missing=around.missing,
        failed=around.failed,
    )


def running(id_: int, found: Running) -> Frame:
    """The answer to the question who the replica is."""
    return Frame(Kind.INSPECTION, id_, msgspec.json.encode(found), format=Format.JSON, status=200)


def running_of(frame: Frame) -> Running:
    """What is in the answer of `running`; raises FrameError."""
    try:
        return msgspec.json.decode(frame.body, type=Running)
    except msgspec.DecodeError as error:
        raise FrameError(f"unreadable INSPECTION: {error}") from error


def complaint(frame: Frame) -> str:
    """The message in an answer whose status is not 200."""
    try:
        said: Any = msgspec.json.decode(frame.body)
        return str(said["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"status {frame.status}"
