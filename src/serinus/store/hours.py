"""Stored hours of live values put together: the counts of each served version, by caller and hour.

What several replicas saw of one slice is added up; what one replica said of a whole hour never
counts beside what it said of that hour's callers.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from serinus.parity.decayed import decayed
from serinus.parity.sketch import Sketch, SliceKey, unpack
from serinus.store.live import LiveHour, without_doubles

__all__ = ["VersionSeen", "versions_seen"]


@dataclass(frozen=True)
class VersionSeen:
    """The live values of one served entity, all counted by one contract."""

    served: str
    contract: str
    model_digest: str
    slices: dict[SliceKey, Sketch] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows that were counted."""
        return sum(sketch.rows for sketch in self.slices.values())

    @property
    def callers(self) -> dict[str, int]:
        """Caller → rows."""
        found: dict[str, int] = {}
        for key, sketch in self.slices.items():
            found[key.caller] = found.get(key.caller, 0) + sketch.rows
        return found

    def total(self, caller: str | None = None) -> Sketch:
        """All of it, or of one caller, as one sketch."""
        whole = Sketch()
        for key, sketch in self.slices.items():
            if caller is None or key.caller == caller:
                whole.add(sketch)
        return whole

    def decayed(self, caller: str | None, now_h: float, span_h: float) -> Sketch:
        """As `total`, each hour by its age at ``now_h`` (hours since the epoch)."""
        return decayed(
            [
                (now_h - key.hour - 0.5, sketch)
                for key, sketch in self.slices.items()
                if caller is None or key.caller == caller
            ],
            span_h,
        )


def versions_seen(hours: Iterable[LiveHour]) -> list[VersionSeen]:
    """What these hours hold, the version with most rows first.

    Those of before a contract was known are left out.
    """
    found: dict[tuple[str, str, str], VersionSeen] = {}
    for hour in without_doubles(list(hours)):
        if not hour.contract:
            continue
        key = (hour.served_name, hour.contract, hour.model_digest)
        seen = found.get(key)
        if seen is None:
            seen = found[key] = VersionSeen(*key)
        sketch = unpack(hour.content)
        if sketch.contract not in ("", hour.contract):
            continue
        at = SliceKey(hour.served_name, hour.caller, hour.hour)
        if at in seen.slices:
            seen.slices[at].add(sketch)
        else:
            seen.slices[at] = sketch
    return sorted(found.values(), key=lambda each: (-each.rows, each.served, each.contract))
