"""The datatypes of the Open Inference Protocol: which values they hold, and what holds them."""

from typing import Any

import msgspec
import numpy as np

__all__ = ["DATATYPES", "check_data", "datatype_of", "fits"]

#: Datatype → NumPy's name; BYTES are texts here, since JSON has no bytes.
DATATYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "str",
}
_BY_DTYPE = {name: datatype for datatype, name in DATATYPES.items()}
#: What Python has for the elements of each kind of array; a boolean is no number here.
_ELEMENTS: dict[str, tuple[type, ...]] = {
    "b": (bool,),
    "i": (int,),
    "u": (int,),
    "f": (float, int, type(None)),
    "U": (str, type(None)),
}
_WORDS = {"b": "booleans", "i": "whole numbers", "u": "whole numbers", "f": "numbers", "U": "texts"}


def datatype_of(dtype: Any) -> str:
    """The datatype of an array's elements; BYTES for those that are no numbers."""
    return _BY_DTYPE.get(dtype.name, "BYTES")


def fits(datatype: str, dtype: Any) -> bool:
    """Whether all values of the datatype are values of the dtype too."""
    if datatype == "BYTES" or dtype.kind not in "biuf":
        return datatype == "BYTES" and dtype.kind not in "biuf"
    if (datatype == "BOOL") != (dtype.kind == "b"):
        return False
    # Of whole numbers beyond 2^53 the intake refuses those that a float can't hold.
    return bool(np.can_cast(np.dtype(DATATYPES[datatype]), dtype, "safe"))


def check_data(flat: list[Any], datatype: str) -> None:
    """Raise ValueError unless each element is a value of the datatype."""
    dtype = np.dtype(DATATYPES[datatype])
    allowed = _ELEMENTS[dtype.kind]
    for at, each in enumerate(flat):
        if type(each) not in allowed:
            raise ValueError(
                f"element {at} is {_shown(each)}, but {datatype} are {_WORDS[dtype.kind]}"
            )
    if dtype.kind in "iu" and flat:
        info = np.iinfo(dtype)
        _check_range(flat, int(info.min), int(info.max), datatype)
    elif dtype.kind == "f":
        most = float(np.finfo(dtype).max)
        _check_range([each for each in flat if each is not None], -most, most, datatype)


def _check_range(flat: list[Any], low: float, high: float, datatype: str) -> None:
    if flat and not (low <= min(flat) and max(flat) <= high):
        at, each = next((at, each) for at, each in enumerate(flat) if not low <= each <= high)
        raise ValueError(f"element {at} is {_shown(each)}, which is out of the range of {datatype}")


def _shown(value: Any) -> str:
    return msgspec.json.encode(value)[:60].decode(errors="replace")
