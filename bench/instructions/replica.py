"""Requests through a replica without its socket: read, joined, answered, handed to who counts."""

import json
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from bench.instructions.drive import HotPath
from serinus.replica.answer import cut
from serinus.replica.card import Column, ColumnType
from serinus.replica.intake import ColumnIntake
from serinus.replica.model import Model
from serinus.replica.protocol import Format, Frame, Kind, encode
from serinus.replica.scorer import Request, Scorer
from serinus.replica.watcher import Watcher

__all__ = ["paths"]

_NAMES = [f"mean feature {at}" for at in range(30)]
_COLUMNS = [Column(name, ColumnType.DOUBLE) for name in _NAMES]
_MIXED = [
    Column(f"c{at}", (ColumnType.DOUBLE, ColumnType.LONG, ColumnType.STRING)[at % 3])
    for at in range(12)
]


def _body(rows: int) -> bytes:
    data = [[17.99 + at / 7 + row for at in range(30)] for row in range(rows)]
    return json.dumps({"dataframe_split": {"columns": _NAMES, "data": data}}).encode()


def _mixed(row: int) -> bytes:
    cells = [(row + 0.5, row, f"text {row}")[at % 3] for at in range(12)]
    split = {"columns": [column.name for column in _MIXED], "data": [cells]}
    return json.dumps({"dataframe_split": split}).encode()


def _repeat(work: Callable[[], object]) -> Callable[[int], Callable[[], None]]:
    def ready(n: int) -> Callable[[], None]:
        def some() -> None:
            for _ in range(n):
                work()

        return some

    return ready


def paths() -> list[HotPath]:
    """The hot paths of a replica."""
    block, mixed = ColumnIntake(_COLUMNS), ColumnIntake(_MIXED)
    block.as_block = True
    one, many = _body(1), _body(64)
    units = [block.parse(_body(1), Format.JSON) for _ in range(64)]
    others = [mixed.parse(_mixed(row), Format.JSON) for row in range(64)]
    output = np.arange(64) % 2
    scorer = Scorer(Model(block, _first_column, None), batched=True, clock=lambda: 1.0)
    frames = [Frame(Kind.REQUEST, at, one, b"\0id", Format.JSON) for at in range(64)]
    requests = [Request(frame, 1.0) for frame in frames]

    def answers() -> None:
        for at, body in enumerate(cut(output, [1] * 64)):
            encode(Frame(Kind.RESPONSE, at, body, b"", Format.JSON, 200, 700, 1))

    return [
        HotPath("replica.decode 1 row", 200, _repeat(lambda: block.parse(one, Format.JSON))),
        HotPath("replica.decode 64 rows", 20, _repeat(lambda: block.parse(many, Format.JSON))),
        HotPath("replica.join 64 requests, block", 20, _repeat(lambda: block.join(units))),
        HotPath("replica.join 64 requests, frame", 10, _repeat(lambda: mixed.join(others))),
        HotPath("replica.write 64 answers", 20, _repeat(answers)),
        HotPath("replica.score 64 requests", 10, _repeat(lambda: scorer.answer(requests))),
        HotPath("replica.hand over to the sketch", 500, _hand_over(frames, units, output)),
    ]


def _first_column(data: Any, _params: Any) -> Any:
    return data[:, 0]


def _hand_over(frames: Any, units: Any, output: Any) -> Callable[[int], Callable[[], None]]:
    """One request, as `Scorer` tells of it."""
    some = frames[:1], units[:1], frames[:1], output[:1]

    def ready(n: int) -> Callable[[], None]:
        watcher = Watcher(
            lambda: None,
            incarnation="bench",
            random=Random(1),  # noqa: S311
            wall=lambda: 1.0,
        )

        def work() -> None:
            for _ in range(n):
                watcher.answered(*some)

        return work

    return ready
