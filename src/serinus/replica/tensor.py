"""From request bodies to arrays, for models whose signature is one of tensors.

Element types and shapes are those of the signature; a ragged array or an element that its type
can't hold as it is gets refused with its place.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Annotated, Any

import msgspec
import numpy as np

from serinus.errors import BadRequest, UnsupportedMediaType
from serinus.replica.card import ColumnType, Tensor
from serinus.replica.cells import Refused, check
from serinus.replica.counts import Counts
from serinus.replica.envelope import Envelope, open_envelope
from serinus.replica.params import Params
from serinus.replica.protocol import Format
from serinus.replica.sheet import csv_table, parquet_table
from serinus.replica.table import Table, json_table
from serinus.replica.unit import Unit

__all__ = ["TensorIntake", "readable"]

_FACTORS = (1.0, 0.5, 2.0, -1.0, 1.01, 10.0, 0.0)
_KINDS = {
    "b": ColumnType.BOOLEAN,
    "i": ColumnType.LONG,
    "u": ColumnType.LONG,
    "f": ColumnType.DOUBLE,
    "U": ColumnType.STRING,
}
_WORDS = {"b": "a boolean", "i": "a whole number", "u": "a whole number", "f": "a number or null"}
_EXACT = 2**53


def readable(tensors: Sequence[Tensor]) -> bool:
    """True when the strict reader knows what all of these are."""
    try:
        kinds = {np.dtype(each.dtype).kind for each in tensors}
    except TypeError:
        return False
    named = all(each.name is not None for each in tensors)
    return bool(tensors) and kinds <= _KINDS.keys() and (named or len(tensors) == 1)


class _Spec:
    """What one tensor takes."""

    def __init__(self, tensor: Tensor) -> None:
        self.name = tensor.name
        self.shape = tensor.shape
        self.dtype = np.dtype(tensor.dtype)
        self.type = _KINDS[self.dtype.kind]
        self.words = f"{_WORDS.get(self.dtype.kind, 'a string')} ({self.dtype.name})"
        self._check = _element(self.dtype, self.type)
        # In one pass of compiled code; what it refuses is looked at one by one.
        self._fast: Any = _wire(self.dtype)
        for _ in self.shape:
            self._fast = list.__class_getitem__(self._fast)

    def array(self, value: Any) -> Any:
        """The array that a JSON value is; raises BadRequest."""
        if isinstance(value, list) and not value and self.shape:
            raise BadRequest("The request has no rows; send at least one.")
        try:
            value = msgspec.convert(value, self._fast)
        except (msgspec.ValidationError, RecursionError):
            value = self._slowly(value, self.shape, [])
        try:
            found = np.array(value, dtype=self.dtype)
        except (ValueError, OverflowError):
            raise self._misfit("arrays of different lengths", None) from None
        return self.shaped(found)

    def shaped(self, found: Any) -> Any:
        """The array, if it has the signature's shape."""
        fits = len(found.shape) == len(self.shape) and all(
            want in (-1, have) for want, have in zip(self.shape, found.shape, strict=True)
        )
        if not fits:
            raise self._misfit(f"one of shape {found.shape}", None)
        return found

    def _slowly(self, value: Any, shape: tuple[int, ...], path: list[int]) -> Any:
        if not shape:
            try:
                return self._check(value)
            except Refused as refused:
                raise self._misfit(str(refused), path) from None
        if not isinstance(value, list):
            raise self._misfit("one value where an array belongs", path)
        return [self._slowly(each, shape[1:], [*path, at]) for at, each in enumerate(value)]

    def _misfit(self, got: str, path: Sequence[int] | None) -> BadRequest:
        name = self.name or "the input"
        if path is None:
            shape = ", ".join("any" if each == -1 else str(each) for each in self.shape)
            expected = f"an array of shape ({shape})"
            detail: dict[str, object] = {}
        else:
            expected = self.words
            name += "".join(f"[{at}]" for at in path)
            detail = {"row": path[0]} if path else {}
        detail.update(field=name, expected=expected, got=got)
        return BadRequest(f"{name}: expected {expected}, got {got}.", details=[detail])


class TensorIntake:
    """The strict reader of one signature of tensors."""

    def __init__(self, tensors: Sequence[Tensor], params: Params | None = None) -> None:
        self._specs = [_Spec(each) for each in tensors]
        self._params = params
        #: What was let pass that is not quite right: inputs and params that nobody asked for.
        self.counts = Counts()

    def parse(self, body: bytes, format_: Format) -> Unit:
        """Read one body; raises BadRequest or UnsupportedMediaType, which say what is wrong."""
        if format_ is Format.JSON:
            envelope = open_envelope(body)
            return self._unit(self.read(envelope), envelope.params)
        if format_ is Format.CSV:
            types = {each.name: each.type for each in self._specs if each.name is not None}
            table = csv_table(body, types or self._specs[0].type)
            return self._unit(self._from_table(table), None)
        if format_ is Format.PARQUET:
            return self._unit(self._from_table(parquet_table(body, self._names())), None)
        raise UnsupportedMediaType("This model reads application/json, text/csv and Parquet.")

    def take(self, tensors: dict[str, Any], params: dict[str, Any] | None) -> Unit:
        """The same for tensors by name, as nested lists."""
        sole = len(tensors) == 1 and self._names() is None
        data = self._sole(next(iter(tensors.values()))) if sole else self._named(tensors)
        return self._unit(data, params)

    def accept(self, data: Any) -> Any:
        """The model's input for an array, or a mapping of arrays, from the same process.

        Raises BadRequest by the very rules that hold for requests.
        """
        if isinstance(data, Mapping):
            return self._named({str(name): each for name, each in data.items()})
        return self._sole(data)

    def join(self, units: Sequence[Unit]) -> Any:
        """The model's input for units of one key, in their order."""
        parts = [unit.data for unit in units]
        if len(parts) == 1:
            return parts[0]
        if isinstance(parts[0], dict):
            return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return np.concatenate(parts)

    def widen(self, example: Unit, count: int, random: Random) -> list[Unit]:
        """``count`` one-row units of one key: the example's rows and perturbed ones."""
        if example.key is None or not example.rows:
            return []
        parts = [_row(example.data, at) for at in range(example.rows)]
        for at in range(max(count - len(parts), 0)):
            row = _row(example.data, random.randrange(example.rows))
            factor = _FACTORS[at % len(_FACTORS)]
            parts.append(
                {name: _scaled(each, factor) for name, each in row.items()}
                if isinstance(row, dict)
                else _scaled(row, factor)
            )
        units = [self._unit(part, example.params) for part in parts]
        return [unit for unit in units if unit.key == units[0].key][:count]

    def _names(self) -> list[str] | None:
        names = [each.name for each in self._specs if each.name is not None]
        return names or None

    def read(self, envelope: Envelope) -> Any:
        """The array, or the arrays by name, in an opened request; raises BadRequest."""
        form, data = envelope.form, envelope.data
        if form.startswith("dataframe_"):
            return self._from_table(json_table(envelope, self._names(), nested=True))
        if isinstance(data, dict) and form == "inputs" and self._names():
            return self._named(data)
        rows = isinstance(data, list) and bool(data) and isinstance(data[0], dict)
        if rows and self._names() and form == "instances":
            table = json_table(envelope, None, nested=True)
            return self._named({name: list(cells) for name, cells in table.columns.items()})
        return self._sole(data)

    def _sole(self, data: Any) -> Any:
        if len(self._specs) > 1:
            raise BadRequest(
                f"This model takes the inputs {self._listed()}; send an object of arrays as "
                "'inputs', or an array of objects as 'instances'."
            )
        spec = self._specs[0]
        found = spec.array(_as_list(data, spec.dtype))
        return found if spec.name is None else {spec.name: found}

    def _named(self, data: Mapping[str, Any]) -> dict[str, Any]:
        missing = [each.name for each in self._specs if each.name not in data]
        if missing:
            raise BadRequest(
                f"The request lacks the input '{missing[0]}'; the model takes {self._listed()}.",
                details=[{"field": missing[0], "expected": "an array", "got": "nothing"}],
            )
        for name in data.keys() - {each.name for each in self._specs}:
            self.counts.add(name, "extra input")
        return {
            str(each.name): each.array(_as_list(data[str(each.name)], each.dtype))
            for each in self._specs
        }

    def _from_table(self, table: Table) -> Any:
        if not table.rows:
            raise BadRequest("The request has no rows; send at least one.")
        names = self._names()
        if names is not None:
            return self._named(
                {
                    name: _folded(list(cells), spec.shape)
                    for name, spec in zip(names, self._specs, strict=True)
                    for cells in [table.columns.get(name)]
                    if cells is not None
                }
            )
        columns = list(table.columns.values())
        spec = self._specs[0]
        if len(columns) == 1:
            return spec.array(_folded(list(columns[0]), spec.shape))
        return spec.array([list(row) for row in zip(*columns, strict=True)])

    def _listed(self) -> str:
        return ", ".join(f"'{each.name}'" for each in self._specs)

    def _unit(self, data: Any, params: dict[str, Any] | None) -> Unit:
        if params and self._params is not None:
            params, dropped = self._params.take(params)
            for name in dropped:
                self.counts.add(f"params.{name}", "unknown param")
        arrays = list(data.values()) if isinstance(data, dict) else [data]
        lengths = {len(each) if each.ndim else None for each in arrays}
        if lengths == {0}:
            raise BadRequest("The request has no rows; send at least one.")
        free = all(each.shape and each.shape[0] == -1 for each in self._specs)
        rows = lengths.pop() if len(lengths) == 1 else None
        if rows is None or not free:
            return Unit(data, rows if free else None, None, params or None)
        shapes = tuple([each.shape[1:] for each in arrays])
        key = (msgspec.json.encode(params, order="sorted") if params else b"", shapes)
        return Unit(data, rows, key, params or None)


def _as_list(value: Any, dtype: Any) -> Any:
    # An array of the right type holds nothing that is wrong, but for how it is made a list.
    if isinstance(value, np.ndarray):
        return value.tolist() if value.dtype != np.longdouble else value.astype(dtype).tolist()
    return value


def _folded(cells: list[Any], shape: tuple[int, ...]) -> Any:
    """The cells of one column as rows of that shape: flat lists are folded, as MLflow does."""
    inner = shape[1:]
    if inner == (1,) and not any(isinstance(cell, list) for cell in cells):
        return [[cell] for cell in cells]
    if len(inner) < 2 or -1 in inner or not all(_is_flat(cell) for cell in cells):
        return cells
    return [_fold(cell, inner) for cell in cells]


def _is_flat(cell: Any) -> bool:
    return isinstance(cell, list) and not any(isinstance(each, list) for each in cell)


def _fold(cell: list[Any], shape: tuple[int, ...]) -> list[Any]:
    if len(shape) == 1:
        return cell
    step = max(int(np.prod(shape[1:])), 1)
    return [_fold(cell[at : at + step], shape[1:]) for at in range(0, len(cell), step)]


def _wire(dtype: Any) -> Any:
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        low, high = max(int(info.min), -(2**63)), min(int(info.max), 2**63 - 1)
        return Annotated[int, msgspec.Meta(ge=low, le=high)]
    if dtype.kind == "f":
        most = float(min(float(np.finfo(dtype).max), 2.0 ** (np.finfo(dtype).nmant + 1), _EXACT))
        return Annotated[float, msgspec.Meta(gt=-most, lt=most)] | None
    return bool if dtype.kind == "b" else str


def _element(dtype: Any, type_: ColumnType) -> Callable[[Any], Any]:
    def take(value: Any) -> Any:
        if dtype.kind == "u" and isinstance(value, int) and 2**63 <= value <= np.iinfo(dtype).max:
            return value
        found = check(value, type_)
        if found is None and dtype.kind == "U":
            # NumPy would write the word None.
            raise Refused("null", "null")
        if dtype.kind in "iu" and not np.iinfo(dtype).min <= found <= np.iinfo(dtype).max:
            raise Refused(repr(value), "overflow")
        if dtype.kind == "f" and found is not None and np.isfinite(found):
            # Compared as it is, NumPy would make the number as narrow as the limit.
            if abs(found) > float(np.finfo(dtype).max):
                raise Refused(repr(value), "overflow")
            if isinstance(value, int) and float(dtype.type(found)) != found:
                raise Refused(repr(value), "inexact")
        return found

    return take


def _row(data: Any, at: int) -> Any:
    if isinstance(data, dict):
        return {name: each[at : at + 1] for name, each in data.items()}
    return data[at : at + 1]


def _scaled(row: Any, factor: float) -> Any:
    return (row * factor).astype(row.dtype) if row.dtype.kind in "iuf" else row
