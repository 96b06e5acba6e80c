"""A share of simulated rollouts, with what it may be."""

import math
from dataclasses import dataclass

__all__ = ["Rate"]


@dataclass(frozen=True)
class Rate:
    """Rollouts in which something happened, of how many, and what is allowed."""

    name: str
    hits: int
    runs: int
    #: 1 where nothing is promised: a contrast, there to be seen.
    nominal: float

    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval."""
        z = 1.96
        p, n = self.hits / self.runs, self.runs
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(middle - half, 0.0), middle + half

    @property
    def broken(self) -> bool:
        """True when the rate is above its level beyond doubt."""
        return self.interval()[0] > self.nominal
