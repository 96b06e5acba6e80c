"""The counts of one replica by caller and hour, within a fixed amount of memory.

Callers are told apart in this hour and the last; older hours are kept as wholes. Only one thread
may use it.
"""

from dataclasses import dataclass, field

from serinus.parity.sketch import OTHER_CALLER, WHOLE_HOUR, Sketch

__all__ = ["MOST_CALLERS", "Tally"]

#: Callers with a name of their own; the rest are `OTHER_CALLER`.
MOST_CALLERS = 8
_LONGEST_NAME = 64
#: Hours that are kept as wholes.
_HOURS = 24


@dataclass
class _Counted:
    sketch: Sketch = field(default_factory=Sketch)
    #: The sequence number of its last change.
    changed: int = 0


class Tally:
    """Sketches by (caller, hour). ``most_fields`` bounds how many fields' counts are held."""

    def __init__(self, most_fields: int = 8000) -> None:
        self._most_fields = most_fields
        self._cells: dict[tuple[str, int], _Counted] = {}
        self._seen: dict[str, int] = {}
        self.sequence = 0
        self.evicted = 0

    def caller(self, name: str, hour: int) -> str:
        """The name under which a caller is counted."""
        name = name[:_LONGEST_NAME]
        if not name:
            return ""
        if name in (WHOLE_HOUR, OTHER_CALLER):
            return OTHER_CALLER
        if name not in self._seen and len(self._seen) >= MOST_CALLERS:
            # Whoever was silent for two hours makes room.
            self._seen = {each: at for each, at in self._seen.items() if at >= hour - 1}
            if len(self._seen) >= MOST_CALLERS:
                return OTHER_CALLER
        self._seen[name] = max(hour, self._seen.get(name, hour))
        return name

    def sketch(self, caller: str, hour: int) -> Sketch:
        """The counts to add to; they count as changed now."""
        cell = self._cells.get((caller, hour))
        if cell is None:
            self._grow_old(hour)
            cell = self._cells.setdefault((caller, hour), _Counted())
        self.sequence += 1
        cell.changed = self.sequence
        return cell.sketch

    def changed(self, since: int) -> list[tuple[str, int, Sketch]]:
        """(caller, hour, counts) of all that changed after that sequence number."""
        return [
            (caller, hour, cell.sketch)
            for (caller, hour), cell in self._cells.items()
            if cell.changed > since
        ]

    def _grow_old(self, hour: int) -> None:
        """Put the callers of hours before the last together; forget what is a day old."""
        for key in [key for key in self._cells if key[1] <= hour - _HOURS]:
            del self._cells[key]
        for key in sorted(key for key in self._cells if key[1] < hour - 1):
            self._join(key)
        while len(self._cells) > 1 and self._fields() > self._most_fields:
            self._make_room()

    def _join(self, key: tuple[str, int]) -> None:
        caller, hour = key
        if caller == WHOLE_HOUR:
            return
        gone = self._cells.pop(key)
        self.sequence += 1
        whole = self._cells.setdefault((WHOLE_HOUR, hour), _Counted())
        if whole.sketch.contract and whole.sketch.contract != gone.sketch.contract:
            self.evicted += 1
            return
        whole.sketch.add(gone.sketch)
        whole.changed = self.sequence

    def _make_room(self) -> None:
        """Give up the oldest whole hour, or else the detail of the oldest callers."""
        oldest = min(self._cells, key=lambda key: (key[1], key[0]))
        self.evicted += 1
        wholes = [key for key in self._cells if key[0] == WHOLE_HOUR]
        if wholes:
            del self._cells[min(wholes, key=lambda key: key[1])]
        else:
            del self._cells[oldest]

    def _fields(self) -> int:
        return sum(len(cell.sketch.fields) for cell in self._cells.values())
