"""A converted model in ONNX Runtime: rows of cells in, answers in the original's form out.

It refuses what the original refuses; whether its answers may serve is decided elsewhere.
"""

import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from serinus.replica.card import Column
from serinus.replica.onnx_plan import LARGEST, NO_TEXT, Guard, Input, Plan

__all__ = ["Converted"]

Cells = Sequence[tuple[Any, ...]]


class Converted:
    """One session over the bytes of a converted model."""

    def __init__(self, content: bytes, plan: Plan) -> None:
        """Raises what ONNX Runtime raises."""
        runtime = importlib.import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 1)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Threads that wait for work by spinning would take the processor from other replicas.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = runtime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        self._plan = plan
        self._dtype = np.dtype(plan.dtype)
        self._tail = tuple(plan.tail)
        only = plan.inputs[0]
        numbers = len(plan.inputs) == 1 and only.kind in ("float64", "float32")
        self._make: Callable[[Cells], dict[str, Any]] = self._block if numbers else self._by_column
        self._whole = np.dtype(only.kind) if numbers else None
        self._null = _places(plan.guards, "null")
        self._huge = _places(plan.guards, "huge")

    def feed(self, cells: Cells, columns: Sequence[Column]) -> dict[str, Any]:
        """What `predict` takes, for rows that have these columns of the signature."""
        if len(columns) != self._plan.columns:
            raise ValueError(_without(self._plan.guards, {column.name for column in columns}))
        return self._make(cells)

    def predict(self, data: Any, _params: dict[str, Any] | None = None) -> Any:
        """The answer, as the original gives it."""
        return self._as_original(self._session.run([self._plan.output], data)[0])

    def outputs(self, data: Any) -> dict[str, Any]:
        """The answer and, where there is one, the score behind it."""
        found = {"answer": self.predict(data)}
        if self._plan.score:
            found["S4"] = self._session.run([self._plan.score], data)[0]
        return found

    def _as_original(self, found: Any) -> Any:
        found = np.asarray(found)
        if found.shape[1:] != self._tail:
            found = found.reshape((len(found), *self._tail))
        return found if found.dtype == self._dtype else found.astype(self._dtype)

    def _block(self, cells: Cells) -> dict[str, Any]:
        block = np.array(cells, dtype=np.float64)
        if self._null and np.isnan(block[:, self._null]).any():
            raise ValueError(_message(self._plan.guards, "null", np.isnan(block)))
        if self._huge and (np.abs(block[:, self._huge]) > LARGEST).any():
            raise ValueError(_message(self._plan.guards, "huge", np.abs(block) > LARGEST))
        if self._whole is not None and self._whole != block.dtype:
            block = _narrowed(block, self._whole)
        return {self._plan.inputs[0].name: block}

    def _by_column(self, cells: Cells) -> dict[str, Any]:
        columns = list(zip(*cells, strict=True))
        for guard in self._plan.guards:
            column = columns[guard.column]
            if guard.what == "null" and None in column:
                raise ValueError(guard.message)
            if guard.what == "huge" and any(v is not None and abs(v) > LARGEST for v in column):
                raise ValueError(guard.message)
        return {each.name: _array(columns, each) for each in self._plan.inputs}


def _array(columns: list[tuple[Any, ...]], wanted: Input) -> Any:
    column = columns[wanted.columns[0]]
    if wanted.kind == "string":
        found = np.empty((len(column), 1), dtype=object)
        found[:, 0] = [NO_TEXT if cell is None else cell for cell in column]
        return found
    if wanted.kind == "float32":
        return _narrowed(np.array(column, dtype=np.float64), np.dtype(np.float32)).reshape(-1, 1)
    return np.array(column, dtype=wanted.kind).reshape(-1, 1)


def _narrowed(block: Any, dtype: Any) -> Any:
    with np.errstate(over="ignore"):
        return block.astype(dtype)


def _places(guards: Sequence[Guard], what: str) -> list[int]:
    return [guard.column for guard in guards if guard.what == what]


def _without(guards: Sequence[Guard], there: set[str]) -> str:
    absent = [each for each in guards if each.what == "absent" and each.name not in there]
    return absent[0].message if absent else "The converted model needs every column."


def _message(guards: Sequence[Guard], what: str, found: Any) -> str:
    some = [each for each in guards if each.what == what]
    return next((each.message for each in some if found[:, each.column].any()), some[0].message)
