"""Reads requests with MLflow's own functions: the input is what its scoring server would make.

For models whose signature says too little for a strict reader (none at all, type hints, columns
without names), and for those that were asked to be read as MLflow does; then it counts what the
strict reader would have refused.
"""

import io
from collections.abc import Sequence
from random import Random
from typing import Any

import mlflow.utils.proto_json_utils as reading
import msgspec
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

from serinus.errors import BadRequest, UnsupportedMediaType
from serinus.replica.audit import Audit
from serinus.replica.counts import Counts
from serinus.replica.envelope import open_envelope, open_leniently
from serinus.replica.protocol import Format
from serinus.replica.unit import Unit

__all__ = ["ForeignIntake"]

_FACTORS = (1.0, 0.5, 2.0, -1.0, 1.01, 10.0, 0.0)


class ForeignIntake:
    """MLflow's reading of requests for one model."""

    def __init__(self, schema: Any, *, hinted: bool, audit: Audit | None = None) -> None:
        """Take MLflow's input schema or None; ``hinted``: the model checks ``inputs`` itself.

        With an ``audit`` JSON is read as loosely as MLflow does it.
        """
        self._schema = schema
        self._hinted = hinted
        self._audit = audit
        self.counts = audit.counts if audit else Counts()

    def parse(self, body: bytes, format_: Format) -> Unit:
        """Read one body; raises BadRequest or UnsupportedMediaType, which say what is wrong."""
        if self._audit is None:
            return self._parse(body, format_)
        self._audit.begin()
        unit = self._parse(body, format_)
        unit.coerced = self._audit.found()
        return unit

    def _parse(self, body: bytes, format_: Format) -> Unit:
        if format_ is Format.JSON:
            return self._json(body)
        if format_ in (Format.CSV, Format.PARQUET):
            unit = _unit(self._csv(body) if format_ is Format.CSV else _parquet(body), None)
            if self._audit is not None:
                self._audit.file(body, format_)
            return unit
        raise UnsupportedMediaType("This model reads application/json, text/csv and Parquet.")

    def take(self, tensors: dict[str, Any], params: dict[str, Any] | None) -> Unit:
        """The same for tensors by name: a single one is the input, several are its columns."""
        named = len(tensors) > 1 or (self._schema is not None and self._schema.has_input_names())
        return _unit(
            self._read("inputs", tensors if named else next(iter(tensors.values()))), params
        )

    def join(self, units: Sequence[Unit]) -> Any:
        """The model's input for units of one key, in their order."""
        parts = [unit.data for unit in units]
        if len(parts) == 1:
            return parts[0]
        if isinstance(parts[0], pd.DataFrame):
            return pd.concat(parts, ignore_index=True)
        return np.concatenate(parts)

    def widen(self, example: Unit, count: int, random: Random) -> list[Unit]:
        """``count`` one-row units of one key: the example's rows and perturbed ones."""
        data = example.data
        if example.key is None or not example.rows:
            return []
        parts: list[Any] = [data[at : at + 1] for at in range(example.rows)]
        for at in range(max(count - len(parts), 0)):
            row = random.randrange(example.rows)
            parts.append(_perturbed(data[row : row + 1], _FACTORS[at % len(_FACTORS)]))
        units = [_unit(part, None) for part in parts]
        return [unit for unit in units if unit.key == units[0].key][:count]

    def _json(self, body: bytes) -> Unit:
        if self._audit is None:
            envelope = open_envelope(body)
        else:
            envelope = open_leniently(body, self._audit.add)
            # MLflow's reading changes what it reads.
            self._audit.json(envelope)
        return _unit(self._read(envelope.form, envelope.data), envelope.params)

    def _read(self, form: str, data: Any) -> Any:
        if self._hinted:
            if form != "inputs":
                raise BadRequest("This model has type hints: send its input as 'inputs'.")
            return data
        try:
            if form in ("dataframe_split", "dataframe_records"):
                orient = form.removeprefix("dataframe_")
                return reading.dataframe_from_parsed_json(data, orient, schema=self._schema)
            return reading.parse_tf_serving_input({form: data}, schema=self._schema)
        except MlflowException as error:
            raise BadRequest(f"'{form}' does not fit the model: {error.message}") from error
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            IndexError,
            OverflowError,
        ) as error:
            raise BadRequest(f"'{form}' does not fit the model: {error}") from error

    def _csv(self, body: bytes) -> Any:
        dtypes = None
        if self._schema is not None and self._schema.has_input_names():
            dtypes = dict(zip(self._schema.input_names(), self._schema.pandas_types(), strict=True))
        try:
            return pd.read_csv(io.BytesIO(body), dtype=dtypes)
        except (ValueError, TypeError) as error:
            raise BadRequest(f"The request body can't be read as CSV: {error}.") from error


def _parquet(body: bytes) -> Any:
    try:
        return pd.read_parquet(io.BytesIO(body))
    except ImportError:
        raise UnsupportedMediaType(
            "The model's environment has no pyarrow to read Parquet with; send JSON or CSV."
        ) from None
    except (ValueError, OSError) as error:
        raise BadRequest(f"The request body can't be read as Parquet: {error}.") from error


def _unit(data: Any, params: dict[str, Any] | None) -> Unit:
    if isinstance(data, pd.DataFrame):
        kind: Any = (tuple(data.columns), tuple(str(dtype) for dtype in data.dtypes))
    elif isinstance(data, np.ndarray) and data.ndim and data.dtype != object:
        kind = (str(data.dtype), data.shape[1:])
    else:
        if isinstance(data, list | dict) and not data:
            raise BadRequest("The request has no rows; send at least one.")
        return Unit(data, None, None, params or None)
    if not len(data):
        raise BadRequest("The request has no rows; send at least one.")
    try:
        key = (msgspec.json.encode(params, order="sorted") if params else b"", kind)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadRequest(f"'params' can't be read: {error}.") from None
    return Unit(data, len(data), key, params or None)


def _perturbed(row: Any, factor: float) -> Any:
    if isinstance(row, np.ndarray):
        return (row * factor).astype(row.dtype) if row.dtype.kind in "iuf" else row
    changed = row.copy()
    for name in row.columns:
        if row[name].dtype.kind in "iuf":
            changed[name] = (row[name] * factor).astype(row[name].dtype)
    return changed
