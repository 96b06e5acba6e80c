"""The meters of this gateway: one for each served entity, and one an endpoint for what was refused.

They only count: nothing is decided by them, and a request costs one call.
"""

from collections.abc import Iterable

from serinus.evidence.meter import Meter
from serinus.traffic import EndpointRoutes

__all__ = ["Meters"]

#: Served entities of one endpoint that are remembered when they are served no more.
_MOST_GONE = 32


class Meters:
    """Meters by (endpoint, served entity); they live as long as their endpoint."""

    def __init__(self) -> None:
        self._meters: dict[tuple[str, str], Meter] = {}
        #: What was told last: requests, those in flight, and bytes of answers that are kept.
        self._told: dict[tuple[str, str], tuple[int, int, int]] = {}

    def of(self, endpoint: str, served: str = "") -> Meter:
        """The meter of that served entity; without one, of what the endpoint refused.

        Without both, of what was refused before it was known what it is for.
        """
        key = (endpoint, served)
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = Meter(endpoint, served)
        return meter

    def keep(self, endpoints: Iterable[EndpointRoutes]) -> None:
        """Forget endpoints that are gone, and the oldest of many entities that are."""
        served = {each.name: {route.name for route in each.served} | {""} for each in endpoints}
        served[""] = {""}
        gone: dict[str, list[tuple[str, str]]] = {}
        for key, meter in self._meters.items():
            if key[1] not in served.get(key[0], ()) and not meter.in_flight:
                gone.setdefault(key[0], []).append(key)
        for endpoint, keys in gone.items():
            for key in keys[:-_MOST_GONE] if endpoint in served else keys:
                del self._meters[key]
                self._told.pop(key, None)

    def all(self) -> list[Meter]:
        """Every meter; what of it has changed is asked by `changed` from now on."""
        self._told.clear()
        return self.changed()

    def changed(self) -> list[Meter]:
        """Meters that have moved since they were asked for last."""
        moved = []
        for key, meter in self._meters.items():
            now = (meter.requests, meter.in_flight, meter.cached_bytes)
            if self._told.get(key, (0, 0, 0)) != now:
                self._told[key] = now
                moved.append(meter)
        return moved
