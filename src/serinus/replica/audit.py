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


class Audit:
    """Counts coercions for one model."""

    def __init__(self, strict: ColumnIntake | TensorIntake | None) -> None:
        """Without a strict reader only keys that are twice and NaN can be counted."""
        self._strict = strict
        self.counts = Counts()

    def json(self, envelope: Envelope) -> None:
        """Count what is in a JSON request."""
        strict = self._strict
        if isinstance(strict, ColumnIntake):
            try:
                table = json_table(envelope, list(strict.types), nested=strict.has_nested)
            except SerinusError:
                self.counts.add("*", "form")
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
                self.counts.add("*", "form")
            else:
                self._table(strict, table)
        elif strict is not None:
            self._whole(lambda: strict.parse(body, format_))

    def _table(self, strict: ColumnIntake, table: Table) -> None:
        for field, kind in strict.misfits(table):
            self.counts.add(field, kind)
        for name in table.strangers:
            self.counts.add(name, "extra column")

    def _whole(self, read: Any) -> None:
        try:
            read()
        except SerinusError as error:
            detail = error.details[0] if error.details else {}
            self.counts.add(str(detail.get("field", "*")).split("[")[0], "element")
