"""How numbers moved together: sums of products of standardised values, exact in any order.

Values are rounded to 1/256 of training's scale and cut at 32 scales, so that all sums are of whole
numbers: adding is exact, whatever was counted first. It must never hold a row.
"""

import math
from typing import Any

import msgspec
import numpy as np

from serinus.parity.profiles import Joint

__all__ = ["STEP", "Moments"]

#: Steps in one scale of training.
STEP = 256
_LIMIT = 32.0 * STEP


class Moments(msgspec.Struct):
    """Sums over rows of z and of z·zᵀ, where z = (value - mean) / scale, in steps of 1/256.

    Means and scales are those of the profile; a missing value counts as the mean, as in training.
    """

    #: The fields, in the order of the sums.
    names: list[str] = []
    n: int = 0
    #: Per field.
    sums: list[int] = []
    #: Field by field, row after row.
    products: list[int] = []

    def count(self, block: Any) -> None:
        """Count rows of z (rows by fields, NaN for missing)."""
        steps = np.rint(np.where(np.isnan(block), 0.0, block) * STEP).clip(-_LIMIT, _LIMIT)
        # Doubles hold these whole numbers exactly: 2^26 a product, of at most 2^27 rows.
        self._add(len(steps), steps.sum(axis=0), steps.T @ steps)

    def add(self, other: "Moments") -> None:
        """Add the other's sums; raises ValueError when it is of other fields."""
        if not other.n:
            return
        if self.n and self.names != other.names:
            raise ValueError("moments of different fields can't be added")
        self.names = other.names
        self._add(other.n, np.array(other.sums), np.array(other.products))

    def _add(self, n: int, sums: Any, products: Any) -> None:
        if not self.n:
            self.sums, self.products = [0] * len(self.names), [0] * len(self.names) ** 2
        self.n += n
        self.sums = (np.array(self.sums) + sums.astype(np.int64)).tolist()
        flat = products.reshape(-1).astype(np.int64)
        self.products = (np.array(self.products) + flat).tolist()

    def matrix(self) -> Any:
        """The mean of z·zᵀ, fields by fields; zeros when nothing was counted."""
        size = len(self.names)
        if not self.n:
            return np.zeros((size, size))
        return np.array(self.products, dtype=float).reshape(size, size) / (self.n * STEP**2)

    def residual(self, field: str, joint: Joint) -> float | None:
        """The root mean square of the residual of that field's regression on the others.

        In units of its scale, as `Joint.residual` is; None when a field of it was not counted.
        """
        places = {name: at for at, name in enumerate(self.names)}
        if not self.n or field not in places or not places.keys() >= set(joint.on):
            return None
        weights = np.zeros(len(self.names))
        weights[places[field]] = 1.0
        weights[[places[name] for name in joint.on]] = [-each for each in joint.weights]
        return math.sqrt(max(float(weights @ self.matrix() @ weights), 0.0))
