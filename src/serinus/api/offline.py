"""An offline source as a caller sends it: a small table of true values, by key."""

import math
from typing import Any

import msgspec

from serinus.errors import InvalidParameterValue
from serinus.parity.columns import Column
from serinus.parity.contract import Kind
from serinus.parity.diagnosis.offline import TableOffline
from serinus.parity.diagnosis.rows import column_of

__all__ = ["OfflineTable", "offline_of"]


class OfflineTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table: columns of equal length."""

    keys: list[str]
    columns: dict[str, list[str | int | float | bool | None]]
    name: str = "the offline source"
    #: The column that says when a row became true.
    time: str | None = None
    #: Seconds after which a row counts as none.
    max_age_s: float | None = None


def offline_of(sent: object) -> TableOffline | None:
    """The source; raises InvalidParameterValue."""
    if sent is None:
        return None
    try:
        table = msgspec.convert(sent, OfflineTable)
    except msgspec.ValidationError as error:
        raise InvalidParameterValue(f"offline can't be read: {error}.") from error
    lengths = {len(each) for each in table.columns.values()}
    if len(lengths) != 1 or not table.keys:
        raise InvalidParameterValue(
            "offline needs keys, and columns of one length; send {'keys': […], 'columns': {…}}."
        )
    columns = {name: _column(name, cells, table) for name, cells in table.columns.items()}
    age = math.inf if table.max_age_s is None else table.max_age_s
    return TableOffline(table.name[:200], columns, table.keys, table.time, age)


def _column(name: str, cells: list[Any], table: OfflineTable) -> Column:
    present = [each for each in cells if each is not None]
    if name == table.time and present and all(isinstance(each, str) for each in present):
        return column_of(name, Kind.INSTANT, cells)
    texts = bool(present) and all(isinstance(each, str) for each in present)
    return column_of(name, Kind.TEXT if texts else Kind.NUMBER, cells)
