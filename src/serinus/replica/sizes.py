"""Counts how many requests the model was handed at once. It never looks at one."""

__all__ = ["PLACES", "Sizes"]

#: Batches of at most 1, 2, 4 … 1024 requests, and larger ones.
PLACES = 12


class Sizes:
    """Of all batches so far. Only one thread may write; any may read."""

    __slots__ = ("batches", "requests", "rows")

    def __init__(self) -> None:
        self.batches = [0] * PLACES
        self.requests = 0
        #: A request whose input has no rows to count is one.
        self.rows = 0

    def count(self, requests: int, rows: int | None = None) -> None:
        """One batch."""
        self.requests += requests
        self.rows += requests if rows is None else rows
        self.batches[min((requests - 1).bit_length(), PLACES - 1)] += 1
