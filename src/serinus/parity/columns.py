"""A data frame of whatever library becomes columns of NumPy arrays that are quick to count.

The values are those of the frame; nothing is rounded, trimmed or guessed.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serinus.errors import InvalidParameterValue
from serinus.parity.contract import Kind

__all__ = ["Column", "columns_of", "to_pandas"]


@dataclass
class Column:
    """One column, by kind: floats with NaN, int64, bool, datetime64[ns] with NaT, or codes."""

    name: str
    kind: Kind
    #: For text the index into ``words``, -1 for null; for ``OTHER`` the objects.
    values: Any
    null: Any
    words: list[str] = field(default_factory=list)
    #: The signature's word for its type.
    physical: str = ""
    #: The zone of instants that had one; their values are UTC then.
    tz: str | None = None
    #: True for pandas' own categories, whose set belongs to the type.
    categorical: bool = False

    @property
    def present(self) -> Any:
        """The values that are not null."""
        return self.values[~self.null]


def to_pandas(data: Any) -> Any:
    """The same table as a pandas frame.

    Takes pandas, Polars (lazy, too), Arrow (readers, too), DuckDB relations, other tables that
    narwhals knows, and two-dimensional arrays. Raises InvalidParameterValue.
    """
    pandas = importlib.import_module("pandas")
    if isinstance(data, pandas.DataFrame):
        frame = data
    elif isinstance(data, np.ndarray):
        if data.ndim != 2:
            raise InvalidParameterValue(
                f"The sample is an array of {data.ndim} dimensions; rows by columns are needed."
            )
        frame = pandas.DataFrame(data, columns=[str(at) for at in range(data.shape[1])])
    else:
        frame = _foreign(data)
    names = [str(name) for name in frame.columns]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidParameterValue(f"The sample has more than one column '{twice}'; rename one.")
    if not len(frame):
        raise InvalidParameterValue("The sample has no rows; a contract needs some to observe.")
    return frame


def _foreign(data: Any) -> Any:
    if callable(getattr(data, "read_all", None)):  # a reader of Arrow's: DuckDB gives those
        data = data.read_all()
    try:
        narwhals = importlib.import_module("narwhals")
    except ImportError:
        return _without_narwhals(data)
    try:
        known = narwhals.from_native(data)
    except TypeError:
        return _without_narwhals(data)
    table = known.collect() if hasattr(known, "collect") else known
    return table.to_pandas()


def _without_narwhals(data: Any) -> Any:
    for convert in ("to_pandas", "df"):  # Polars and Arrow; DuckDB
        if callable(getattr(data, convert, None)):
            return getattr(data, convert)()
    raise InvalidParameterValue(
        f"A sample of type {type(data).__name__} can't be read; give a frame of pandas, Polars or "
        "Arrow, or a relation of DuckDB. What else narwhals knows can be read where that is "
        "installed: pip install narwhals"
    )


def columns_of(frame: Any) -> list[Column]:
    """The columns of a pandas frame, in their order."""
    return [_column(str(name), frame.iloc[:, at]) for at, name in enumerate(frame.columns)]


def _column(name: str, series: Any) -> Column:
    dtype = series.dtype
    kind = getattr(dtype, "kind", "O")
    null = series.isna().to_numpy(dtype=bool)
    if kind == "f":
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        return Column(name, Kind.NUMBER, values, null, physical=_float_name(dtype))
    if kind == "M":
        return _instants(name, series, null)
    if kind in "biu" and hasattr(dtype, "categories") is False:
        return _whole(name, series, null, kind)
    return _words(name, series, null)


def _float_name(dtype: Any) -> str:
    return "float" if getattr(dtype, "itemsize", 8) <= 4 else "double"


def _whole(name: str, series: Any, null: Any, kind: str) -> Column:
    filled = series.fillna(False if kind == "b" else 0) if null.any() else series
    if kind == "b":
        return Column(name, Kind.FLAG, filled.to_numpy(dtype=bool), null, physical="boolean")
    if kind == "u" and len(filled) and int(filled.max()) >= 2**63:
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        return Column(name, Kind.NUMBER, values, null, physical="double")
    small = getattr(series.dtype, "itemsize", 8) <= (2 if kind == "u" else 4)
    values = filled.to_numpy(dtype=np.int64)
    return Column(name, Kind.WHOLE, values, null, physical="integer" if small else "long")


def _instants(name: str, series: Any, null: Any) -> Column:
    tz = getattr(series.dtype, "tz", None)
    if tz is not None:
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    values = series.to_numpy(dtype="datetime64[ns]")
    return Column(name, Kind.INSTANT, values, null, physical="datetime", tz=str(tz) if tz else None)


def _words(name: str, series: Any, null: Any) -> Column:
    """A column of objects: text if all of it is, else what all of it is, else anything."""
    categorical = hasattr(series.dtype, "categories")
    try:
        codes, uniques = importlib.import_module("pandas").factorize(series)
    except TypeError:  # lists, dictionaries
        return Column(name, Kind.OTHER, series.to_numpy(dtype=object), null, physical="any")
    words: Sequence[Any] = list(uniques)
    kinds = {type(each) for each in words}
    if kinds <= {str}:
        return Column(
            name, Kind.TEXT, codes, null, list(words), physical="string", categorical=categorical
        )
    if kinds == {bool}:
        flags = np.array([*words, False], dtype=bool)[codes]
        return Column(name, Kind.FLAG, flags, null, physical="boolean", categorical=categorical)
    if kinds <= {int, float, np.int64, np.float64} and len(words):
        numbers = np.array([*map(float, words), np.nan])[codes]
        return Column(name, Kind.NUMBER, numbers, null, physical="double", categorical=categorical)
    return Column(name, Kind.OTHER, series.to_numpy(dtype=object), null, physical="any")
