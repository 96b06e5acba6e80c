"""The expected values of each stage as NumPy arrays in one ``.npz`` file; never a pickle.

Values that NumPy has no plain type for are kept as JSON. A file that unpacks to too much is refused
before it is unpacked.
"""

import io
import zipfile
from typing import Any

import msgspec
import numpy as np

from serinus.parity.canonical import ContractBroken
from serinus.parity.contract import Stage, Tolerance

__all__ = ["MAX_ARRAYS", "StageValues", "differing", "pack", "plain_cell", "unpack"]

#: All arrays of a contract together may have this many bytes.
MAX_ARRAYS = 256 * 1024 * 1024
_MAX_MEMBERS = 20_000
_PLAIN = frozenset("biuf")
_JSON = "json"
#: Whole numbers up to this are the same as floats.
_EXACT = 2**53

#: One array for each column of a stage: numbers as they are, all else as a list.
StageValues = list[Any]


def pack(stages: dict[str, StageValues]) -> bytes:
    """The bytes of ``golden_stages.npz``; the same values give the same bytes."""
    members = {}
    for name, columns in stages.items():
        for at, values in enumerate(columns):
            if isinstance(values, np.ndarray) and values.dtype.kind in _PLAIN:
                members[f"{name}.{at}"] = np.ascontiguousarray(values)
            else:
                text = msgspec.json.encode([plain_cell(each) for each in values])
                members[f"{name}.{at}.{_JSON}"] = np.frombuffer(text, dtype=np.uint8)
    written = io.BytesIO()
    np.savez_compressed(written, allow_pickle=False, **members)
    return written.getvalue()


def unpack(content: bytes, stages: list[Stage]) -> dict[str, StageValues]:
    """Stage → its columns; raises ContractBroken."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
        total = sum(each.file_size for each in entries)
        if total > MAX_ARRAYS or len(entries) > _MAX_MEMBERS:
            raise ContractBroken(
                f"golden_stages.npz unpacks to {total} bytes in {len(entries)} arrays; at most "
                f"{MAX_ARRAYS} bytes in {_MAX_MEMBERS} are read. Capture the contract again."
            )
        with np.load(io.BytesIO(content), allow_pickle=False) as loaded:
            members = {name: loaded[name] for name in loaded.files}
        found: dict[str, dict[int, Any]] = {stage.name: {} for stage in stages}
        for member, values in members.items():
            as_json = member.endswith(f".{_JSON}")
            name, _, at = member.removesuffix(f".{_JSON}").rpartition(".")
            found[name][int(at)] = msgspec.json.decode(values.tobytes()) if as_json else values
        return {
            name: [columns[at] for at in range(len(columns))] for name, columns in found.items()
        }
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        zipfile.BadZipFile,
        msgspec.MsgspecError,
        NotImplementedError,
    ) as error:
        raise ContractBroken(
            f"golden_stages.npz can't be read ({error}); capture the contract again."
        ) from error


def plain_cell(value: Any) -> Any:
    """One value as JSON has it: missing is null, instants are ISO 8601 without zeros at the end."""
    if value is None or isinstance(value, str):
        return value if value is None else str(value)
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else _instant(value)
    if hasattr(value, "isoformat"):  # NaT has it too
        return None if value != value else _short(value.isoformat())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, float) and not np.isfinite(value):
        return None if value != value else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, dict):
        return {str(key): plain_cell(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain_cell(each) for each in value]
    if value is not None and not isinstance(value, bool | int | float):
        return None if value != value else str(value)
    return value


def _instant(value: np.datetime64) -> str:
    return _short(str(value.astype("datetime64[ns]")))


def _short(text: str) -> str:
    head, dot, fraction = text.partition(".")
    digits = fraction.rstrip("0") if dot and fraction.isdigit() else fraction
    return f"{head}.{digits}" if digits else head


def differing(expected: StageValues, got: StageValues, tolerance: Tolerance) -> Any:
    """One boolean a row: True where any column lies outside of the tolerance.

    Raises ValueError when the shapes differ, which is a difference of its own.
    """
    if len(expected) != len(got):
        raise ValueError(f"{len(expected)} columns were expected, {len(got)} came")
    rows = len(expected[0]) if expected else 0
    found = np.zeros(rows, dtype=bool)
    for one, other in zip(expected, got, strict=True):
        if np.shape(one)[:1] != np.shape(other)[:1]:
            raise ValueError(f"{len(one)} rows were expected, {len(other)} came")
        found |= _differ(one, other, tolerance)
    return found


def _differ(one: Any, other: Any, tolerance: Tolerance) -> Any:
    numeric = [isinstance(each, np.ndarray) and each.dtype.kind in _PLAIN for each in (one, other)]
    if not all(numeric):
        pairs = zip(one, other, strict=True)
        return np.array([plain_cell(a) != plain_cell(b) for a, b in pairs], dtype=bool)
    if one.shape != other.shape:
        raise ValueError(f"the shape {one.shape} was expected, {other.shape} came")
    a, b = one.astype(np.float64), other.astype(np.float64)
    if tolerance.kind == "exact":
        far = one != other
        if (one.dtype.kind == "f") is not (other.dtype.kind == "f"):
            whole = other if one.dtype.kind == "f" else one
            far |= np.abs(whole.astype(np.int64)) > _EXACT  # equal only after rounding
    else:
        largest = np.where(np.isfinite(a), np.abs(a), 0.0).max(axis=0, initial=0.0)
        with np.errstate(invalid="ignore"):
            far = ~(np.abs(a - b) <= _allowed(a, largest, tolerance)) & (a != b)
    far &= ~(np.isnan(a) & np.isnan(b))
    return far.reshape(len(far), -1).any(axis=1)


def _allowed(a: Any, largest: Any, tolerance: Tolerance) -> Any:
    if tolerance.kind == "ulp":
        return tolerance.ulp * np.spacing(np.abs(a))
    return tolerance.rtol * np.abs(a) + tolerance.atol * largest
