"""How often a reader let something pass, by field and kind. It counts; it never refuses."""

from collections.abc import Iterator, Mapping

__all__ = ["Counts"]

#: Clients choose names of fields; this many are told apart, the rest is counted under ``*``.
_MOST = 1000


class Counts(Mapping[tuple[str, str], int]):
    """(field, kind) → how often so far; ``*`` as a field stands for any."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def add(self, field: str, kind: str, times: int = 1) -> None:
        """Count."""
        key = (field if len(field) <= 200 else field[:197] + "...", kind)
        if key not in self._counts and len(self._counts) >= _MOST:
            key = ("*", kind)
        self._counts[key] = self._counts.get(key, 0) + times

    def clear(self) -> None:
        """Begin anew."""
        self._counts.clear()

    def __getitem__(self, key: tuple[str, str]) -> int:
        return self._counts.get(key, 0)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(dict(self._counts))

    def __len__(self) -> int:
        return len(self._counts)

    def total(self, kind: str = "") -> int:
        """How often in all, or how often of one kind."""
        return sum(each for (_, found), each in self._counts.items() if kind in ("", found))
