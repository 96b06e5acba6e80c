"""How much of its queue a replica takes at once, learned from what its turns have cost.

A turn costs something fixed and something for each row. The largest turn is taken that keeps within
the target; a larger one only where a smaller would serve fewer requests a second, for then nobody
gains by it. Reads no clock, and never goes over the bound that a person set.
"""

from serinus.replica.sizes import Sizes

__all__ = ["Pace"]

#: Weight of a turn against that of the next one: what was ten turns ago counts for a third.
_FADES = 0.9
#: Share of the throughput of endless batches that the target may not cost.
_EFFICIENT = 0.8
#: Share of the time that its first request has left which a turn may take.
_OF_DEADLINE = 0.25
#: Turns without variety say nothing of the fixed part; it is then taken for none.
_PRIOR = 0.01
#: A turn counts for at most so many times what was expected: the machine may have stood still. The
#: second such turn in a row shows another model than before, and what was learned is forgotten.
_SURPRISE = 3.0
#: Of those turns that it cuts short, each so-manieth has another size, to learn from.
_TRIAL = 8
_ALL = float("inf")


class Pace:
    """The pace of one replica. ``sizes`` counts what its model is asked."""

    def __init__(self, sizes: Sizes, most: int, target_s: float, *, together: bool = True) -> None:
        """``together``: rows share a call. If not, a row is a whole request: each costs a call."""
        self._sizes = sizes
        self._most = max(most, 1)
        self._target_s = target_s
        self._together = together
        self._counted = self._total()
        #: What a turn costs, in seconds.
        self.fixed_s = 0.0
        self.per_row_s = 0.0
        self._turns = 0
        self._cut = 0
        self._surprised = False
        self._bytes_a_row = 0.0
        # Weighted sums over the turns so far: of 1, rows, seconds, rows², rows x seconds.
        self._n = self._x = self._y = self._xx = self._xy = 0.0

    def room(self, left_s: float = _ALL) -> tuple[int, float]:
        """Most requests of the next turn, and most bytes of them; the first one goes in any case.

        ``left_s`` is the time that the first has until its deadline.
        """
        if not self._turns:
            return 1, _ALL
        rows = self._rows(left_s)
        if rows >= self._most and not self._together:
            return self._most, _ALL
        if not self._together:
            return max(int(rows), 1), _ALL
        if rows != _ALL:
            self._cut += 1
            if self._cut % _TRIAL == 0:
                rows = rows / 2 if rows >= 2 else 2.0
        return self._most, max(rows, 1.0) * self._bytes_a_row

    def note(self, size: int, took_s: float) -> None:
        """A turn over requests of ``size`` bytes took that long."""
        total = self._sizes.rows if self._together else self._sizes.requests
        rows, self._counted = total - self._counted, total
        if rows <= 0:
            return  # nothing reached the model
        most_s = _SURPRISE * (self.fixed_s + self.per_row_s * rows)
        surprised = took_s > most_s and self._turns > 0
        if surprised and self._surprised:
            self._n = self._x = self._y = self._xx = self._xy = 0.0
        elif surprised:
            took_s = most_s
        self._surprised = surprised
        self._turns += 1
        self._bytes_a_row += (size / rows - self._bytes_a_row) * max(1.0 / self._turns, 0.1)
        self._n = self._n * _FADES + 1.0
        self._x = self._x * _FADES + rows
        self._y = self._y * _FADES + took_s
        self._xx = self._xx * _FADES + rows * rows
        self._xy = self._xy * _FADES + rows * took_s
        self._fit()

    def _total(self) -> int:
        return self._sizes.rows if self._together else self._sizes.requests

    def _rows(self, left_s: float) -> float:
        """Rows of the largest good turn."""
        fixed, each = self.fixed_s, self.per_row_s
        if each <= 0.0:
            return _ALL
        within = (self._target_s - fixed) / each
        efficient = _EFFICIENT / (1.0 - _EFFICIENT) * fixed / each
        in_time = (left_s * _OF_DEADLINE - fixed) / each
        return max(within, min(efficient, in_time), 1.0)

    def _fit(self) -> None:
        """Least squares, leaning towards nothing fixed, neither part below zero."""
        weight = self._n * (1.0 + _PRIOR)
        spread = weight * self._xx - self._x * self._x
        each = (weight * self._xy - self._x * self._y) / spread
        fixed = (self._y - each * self._x) / weight
        if fixed < 0.0:
            fixed, each = 0.0, self._xy / self._xx
        elif each < 0.0:
            fixed, each = self._y / self._n, 0.0
        self.fixed_s, self.per_row_s = fixed, each
