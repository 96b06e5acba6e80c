"""Reads a sample file for ``serinus contract capture`` and loads the model to ask.

Columns get the types of the model's signature where that changes no value.
"""

import importlib
import warnings
from pathlib import Path
from typing import Any

from serinus.errors import InvalidParameterValue, described
from serinus.parity.signature import read_model_file

__all__ = ["load_model", "read_sample"]

_READERS = {
    ".parquet": ("read_parquet", {}),
    ".csv": ("read_csv", {}),
    ".json": ("read_json", {}),
    ".jsonl": ("read_json", {"lines": True}),
}
_TYPES = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
}


def load_model(directory: Path) -> Any:
    """The model as MLflow loads it. Raises InvalidParameterValue."""
    pyfunc = importlib.import_module("mlflow.pyfunc")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pyfunc.load_model(str(directory), suppress_warnings=True)
    except ImportError:
        raise
    except Exception as error:
        raise InvalidParameterValue(
            f"The model in {directory} can't be loaded here ({described(error)}); "
            "run the command in an environment with the model's requirements."
        ) from error


def read_sample(path: Path, model: Path, label: str | None) -> tuple[Any, Any | None]:
    """The rows and, if a column is named for them, the labels. Raises InvalidParameterValue."""
    reader, options = _READERS.get(path.suffix, ("", {}))
    if not reader:
        raise InvalidParameterValue(
            f"The sample {path} is of no known kind; give one of {', '.join(_READERS)}."
        )
    pandas = importlib.import_module("pandas")
    try:
        frame = getattr(pandas, reader)(path, **options)
    except ImportError:
        raise
    except Exception as error:
        raise InvalidParameterValue(f"The sample {path} can't be read: {error}.") from error
    for each in read_model_file(model).inputs:
        if each.name in frame.columns:
            frame[each.name] = _typed(pandas, frame[each.name], each.type)
    if label is None:
        return frame, None
    if label not in frame.columns:
        raise InvalidParameterValue(f"The sample {path} has no column '{label}' for the labels.")
    return frame, frame[label]


def _typed(pandas: Any, series: Any, type_: str) -> Any:
    """The column in the signature's type, if every value is still the same then."""
    if type_ == "datetime" and series.dtype.kind != "M":
        return pandas.to_datetime(series, format="ISO8601")
    wanted = _TYPES.get(type_)
    if wanted is None or str(series.dtype) == wanted or (series.isna().any() and wanted[0] in "bi"):
        return series
    try:
        changed = series.astype(wanted)
    except (ValueError, TypeError):
        return series
    same = (changed == series) | series.isna()
    # In single precision a value changes in its last digits; a model that takes it asked for that.
    return changed if type_ == "float" or bool(same.all()) else series
