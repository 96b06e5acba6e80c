"""How each gateway divides the requests of an endpoint, as it told last. Judges nothing."""

import threading
from collections.abc import Callable, Collection
from typing import Protocol

from serinus.evidence.meter import Counts
from serinus.evidence.routed import Routed

__all__ = ["Dividing", "settled"]

#: (gateway id, incarnation)
_Gateway = tuple[str, str]
_LOOKS, _PAUSE_S = 16, 0.3


class _Next(Protocol):
    def take(self, counts: Counts) -> None: ...

    def gone(self, gateway: _Gateway) -> None: ...

    def keep(self, endpoints: Collection[str]) -> None: ...


class Dividing:
    """The newest of every gateway that is connected. Any thread. ``then`` hears the same."""

    def __init__(self, then: _Next) -> None:
        self._then = then
        self._lock = threading.Lock()
        self._told: dict[_Gateway, list[Routed]] = {}

    def take(self, counts: Counts) -> None:
        """Keep what a gateway told."""
        with self._lock:
            self._told[counts.gateway_id, counts.incarnation] = counts.routed
        self._then.take(counts)

    def gone(self, gateway: _Gateway) -> None:
        """That gateway divides nothing any more, as far as anybody knows."""
        with self._lock:
            self._told.pop(gateway, None)
        self._then.gone(gateway)

    def keep(self, endpoints: Collection[str]) -> None:
        """These are all endpoints that there are; a gateway says itself what it divides."""
        self._then.keep(endpoints)

    def of(self, endpoint: str) -> dict[str, dict[str, tuple[int, int]]]:
        """Gateway → served name → (basis points it divides by, requests it sent there)."""
        with self._lock:
            return {
                gateway_id: {
                    name: (weight, each.chosen.get(name, 0))
                    for name, weight in each.weights.items()
                }
                for (gateway_id, _), some in self._told.items()
                for each in some
                if each.endpoint == endpoint
            }


def settled(
    look: Callable[[], tuple[int, dict[str, int]]], wait: Callable[[float], None]
) -> tuple[int, dict[str, int]]:
    """The newest generation at the first look, and what gateways serve by after a moment for it.

    What other endpoints publish meanwhile is not chased: where routes change all the time no
    gateway would ever be seen at the newest, and none of them is late.
    """
    newest, serving = look()
    for _ in range(_LOOKS):
        if all(each >= newest for each in serving.values()):
            break
        wait(_PAUSE_S)
        _, serving = look()
    return newest, serving
