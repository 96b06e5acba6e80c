"""Counts the NaN and infinities in answers, which JSON can only say as ``null``.

It counts each of them, sampled nowhere, and never changes an answer.
"""

import logging
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["Nulled"]

_log = logging.getLogger(__name__)
#: Kinds of arrays that have neither.
_WHOLE = frozenset("biu")


class Nulled:
    """How many so far. Only one thread may write; any may read."""

    def __init__(self) -> None:
        self.nan = 0
        self.infinite = 0
        self._said_at = 1

    def look(self, output: Any, bodies: Iterable[bytes]) -> None:
        """Count those in what the model returned; ``bodies`` are the answers made of it."""
        if type(output) is np.ndarray and output.dtype.kind in _WHOLE:
            return
        # Few answers have any; to search the bytes costs a hundredth of walking the values, and
        # `in` would first try whether the word is a number.
        if b"".join(bodies).find(b"null") < 0:
            return
        try:
            self._count(output)
        except Exception:  # noqa: BLE001 - see below
            # A model may return objects of any make; to count must never cost an answer.
            _log.warning("action=nulls_not_counted type=%s", type(output).__name__, exc_info=True)
        if self.nan + self.infinite >= self._said_at:
            self._said_at = 10 * (self.nan + self.infinite)
            _log.warning("action=answered_null nan=%d infinite=%d", self.nan, self.infinite)

    def _count(self, value: Any) -> None:
        if isinstance(value, float | np.floating):
            self.nan += int(math.isnan(value))
            self.infinite += int(math.isinf(value))
        elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
            self.nan += int(np.isnan(value).sum())
            self.infinite += int(np.isinf(value).sum())
        elif isinstance(value, np.ndarray):
            self._all(value.tolist() if value.dtype.kind == "O" and value.ndim else ())
        elif isinstance(value, dict):
            self._all(value.values())
        elif isinstance(value, list | tuple):
            self._all(value)
        elif hasattr(value, "columns") and hasattr(value, "iloc"):
            self._all(value.iloc[:, at] for at in range(value.shape[1]))
        elif hasattr(value, "to_numpy") and hasattr(value, "dtype"):
            # pandas has NaN for texts that are missing, too; those are no numbers.
            if value.dtype.kind == "f" or value.dtype == object:
                self._count(value.to_numpy())
        elif hasattr(value, "toarray"):  # only a sparse matrix's own numbers can be NaN
            self._count(np.asarray(value.data))

    def _all(self, values: Iterable[Any]) -> None:
        for each in values:
            self._count(each)
