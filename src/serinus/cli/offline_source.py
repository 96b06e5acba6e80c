"""Reads the true values that a diagnosis compares with: Parquet, CSV, or SQL by DuckDB.

Only rows with keys that were sampled are sent; what a source costs is its reader's library.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serinus.cli.output import Exit, fail

__all__ = ["read_source"]

#: The server takes a megabyte; numbers take about ten characters.
_MOST_CELLS = 80_000


def read_source(
    source: str,
    keys: Sequence[str],
    time: str | None,
    max_age_s: float | None,
    wanted: Sequence[dict[str, Any]],
) -> dict[str, object]:
    """The table as `Client.diagnose` takes it; ends the command where it can't be read."""
    frame = _frame(source)
    missing = [each for each in (*keys, *([time] if time else ())) if each not in frame.columns]
    if missing:
        fail(
            f"{source} has no column '{missing[0]}'; it has {', '.join(map(str, frame.columns))}.",
            Exit.USAGE,
        )
    sampled = {tuple(str(row[each]) for each in keys) for row in wanted}
    rows = [tuple(map(str, row)) in sampled for row in frame[list(keys)].itertuples(index=False)]
    frame = frame[rows]
    if frame.shape[0] * frame.shape[1] > _MOST_CELLS:
        fail(
            f"{source} has {frame.shape[0]:,} rows for the sampled keys; give fewer columns or a "
            "shorter time, for example as SQL.",
            Exit.USAGE,
        )
    columns = {}
    for name in frame.columns:
        values = frame[name]
        if getattr(values.dtype, "kind", "") == "M":
            if getattr(values.dtype, "tz", None) is not None:
                values = values.dt.tz_convert("UTC").dt.tz_localize(None)
            values = values.dt.strftime("%Y-%m-%dT%H:%M:%S")
        columns[str(name)] = values.astype(object).where(values.notna(), None).tolist()
    found: dict[str, object] = {"name": source[:200], "keys": list(keys), "columns": columns}
    if time is not None:
        found["time"] = time
    if max_age_s is not None:
        found["max_age_s"] = max_age_s
    return found


def _frame(source: str) -> Any:
    if source.strip().lower().startswith(("select ", "with ", "from ")):
        return _module("duckdb", "SQL").sql(source).df()
    pandas = _module("pandas", "files")
    path = Path(source)
    if not path.is_file():
        fail(f"There is no file {source}; name a Parquet or CSV file, or write SQL.", Exit.USAGE)
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pandas.read_parquet(path)
        return pandas.read_csv(path)
    except (ValueError, OSError, ImportError) as error:
        fail(f"{source} can't be read: {error}", Exit.USAGE)


def _module(name: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        fail(f"Reading {what} needs {name}: pip install {name}", Exit.USAGE)
