"""The endpoint of the diagnosis matrix: real intake and a pipeline, with a fault where one is put.

It speaks the verification's protocol without a socket.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from serinus.errors import SerinusError
from serinus.parity.arrays import StageValues
from serinus.parity.columns import columns_of
from serinus.parity.contract import Kind
from serinus.parity.diagnosis.rows import Rows
from serinus.parity.stages import field_values
from serinus.parity.wire import Answer, Inspection, Request, Running
from serinus.replica.intake import ColumnIntake
from serinus.replica.protocol import Format
from serinus.testing.faults.endpoint import FaultyPipeline

__all__ = ["InProcessWire", "TrainedModel", "stages_of"]


@dataclass
class TrainedModel:
    """The model as it was trained, for step 7."""

    pipeline: Any
    names: list[str]

    def stages(self, rows: Rows) -> dict[str, StageValues]:
        return stages_of(FaultyPipeline(self.pipeline, {}), _frame(rows, self.names))


def _frame(rows: Rows, names: list[str]) -> pd.DataFrame:
    data = {}
    for name in names:
        column = rows.columns[name]
        if column.kind is Kind.TEXT:
            words = np.array([*column.words, None], dtype=object)
            data[name] = pd.Series(words[column.values], dtype="str")
        else:
            data[name] = pd.Series(column.values)
    return pd.DataFrame(data)


def stages_of(endpoint: FaultyPipeline, frame: pd.DataFrame) -> dict[str, StageValues]:
    scores = endpoint.scores(frame)
    found: dict[str, StageValues] = {
        "S3": [endpoint.vector(frame)],
        "S4": [scores],
        "answer": [scores],
    }
    return found if np.ndim(scores) == 1 else found | {"S5": [endpoint.predict(frame)]}


@dataclass
class InProcessWire:
    """A `serinus.parity.wire.Wire`: the intake and the pipeline, without a socket."""

    intake: ColumnIntake
    endpoint: FaultyPipeline

    def running(self) -> Running:
        return Running(model_digest="d2")

    def ask(self, request: Request) -> Answer:
        try:
            unit = self.intake.parse(request.body, _format(request))
        except SerinusError as error:
            return Answer(error.status, json.dumps({"message": error.message}).encode())
        scores = self.endpoint.scores(self.intake.frame([unit]))
        return Answer(200, json.dumps({"predictions": scores.tolist()}).encode())

    def ask_many(self, requests: Sequence[Request]) -> list[Answer]:
        return [self.ask(each) for each in requests]

    def inspect(self, requests: Sequence[Request]) -> Inspection:
        units, refused = [], {}
        for at, each in enumerate(requests):
            try:
                units.append(self.intake.parse(each.body, _format(each)))
            except SerinusError as error:
                refused[at] = error.message
        frame = self.intake.frame(units)
        columns = columns_of(self.endpoint.parsed(frame))
        names = [each.name for each in columns]
        values = field_values(columns)
        return Inspection(
            stages={"S1": values, "S2": values, **stages_of(self.endpoint, frame)},
            columns={"S1": names, "S2": names, "S3": [], "S4": [], "S5": [], "answer": []},
            refused=refused,
        )


def _format(request: Request) -> Format:
    known = {"application/json": Format.JSON, "text/csv": Format.CSV}
    return known[request.content_type]
