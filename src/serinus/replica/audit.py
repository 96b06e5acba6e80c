"""What MLflow let pass and the strict reader would have refused, counted by field and kind.

It changes nothing and refuses nothing.
"""

from typing import Any

from serinus.errors import SerinusError
from serinus.replica.counts import Counts
from serinus.replica.envelope import Envelope
from serinus.replica.intake import ColumnIntake
from serinus.replica.protocol import Format
from serinus.replica.sheet import csv_table, parquet_table
from serinus.replica.table import Table, json_table
from serinus.replica.tensor import TensorIntake

__all__ = ["Audit"]

#: Kinds and fields that one request is told of by name; all are in `Audit.counts`.
_MOST = 1000


class Audit:
    """Counts coercions for one model."""

    def __init__(self, strict: ColumnIntake | TensorIntake | None) -> None:
        """Without a strict reader only keys that are twice and NaN can be counted."""
        self._strict = strict
        self.counts = Counts()
        self._request: dict[tuple[str, str], int] = {}

    def begin(self) -> None:
        """Another request; nothing was found in it yet."""
        self._request.clear()

    def found(self) -> tuple[tuple[str, str, int], ...]:
        """Field, kind and number of what was found since `begin`."""
        return tuple((*key, times) for key, times in self._request.items())

    def add(self, field: str, kind: str) -> None:
        """Count one."""
        self.counts.add(field, kind)
        key = (field, kind)
        if key in self._request or len(self._request) < _MOST:
            self._request[key] = self._request.get(key, 0) + 1

    def json(self, envelope: Envelope) -> None:
        """Count what is in a JSON request."""
        strict = self._strict
        if isinstance(strict, ColumnIntake):
            try:
                table = json_table(envelope, list(strict.types), nested=strict.has_nested)
            except SerinusError:
                self.add("*", "form")
            else:
                self._table(strict, table)
        elif strict is not None:
            self._whole(lambda: strict.read(envelope))

    def file(self, body: bytes, format_: Format) -> None:
        """Count what is in a CSV or Parquet request."""
        strict = self._strict
        if isinstance(strict, ColumnIntake):
            try:
                table = (
                    csv_table(body, strict.types)
                    if format_ is Format.CSV
                    else parquet_table(body, list(strict.types))
                )
            except SerinusError:
                self.add("*", "form")
            else:
                self._table(strict, table)
        elif strict is not None:
            self._whole(lambda: strict.parse(body, format_))

    def _table(self, strict: ColumnIntake, table: Table) -> None:
        for field, kind in strict.misfits(table):
            self.add(field, kind)
        for name in table.strangers:
            self.add(name, "extra column")

    def _whole(self, read: Any) -> None:
        try:
            read()
        except SerinusError as error:
            detail = error.details[0] if error.details else {}
            self.add(str(detail.get("field", "*")).split("[")[0], "element")
