"""Waits, for a moment, until every gateway goes by what was just changed."""

import time
from collections.abc import Callable

from serinus.errors import ResourceDoesNotExist
from serinus.store.repository import Store
from serinus.traffic import RouteTable

__all__ = ["Settling"]

_POLL_S = 0.02


class Settling:
    """``wake`` has the controller look; ``acknowledged`` is the generation all gateways have."""

    def __init__(
        self,
        store: Store,
        *,
        wake: Callable[[], None],
        acknowledged: Callable[[], int] | None,
        patience_s: float = 5.0,
    ) -> None:
        """Without ``acknowledged`` nobody can say, and nothing is waited for."""
        self._store = store
        self._wake = wake
        self._acknowledged = acknowledged
        self._patience_s = patience_s

    def wait(self, endpoint: str = "") -> bool:
        """Whether every gateway goes by it now; after a while False, and it goes on by itself.

        By the tokens and rights there are, and by what was asked of the ``endpoint`` of that name.
        """
        self._wake()
        if self._acknowledged is None:
            return False
        end = time.monotonic() + self._patience_s
        while True:
            published = self._store.routes()
            settled = published.grants == self._store.tokens.grants()
            if settled and endpoint:
                settled = self._follows(published, endpoint)
            if settled and self._acknowledged() >= published.generation:
                return True
            if time.monotonic() > end:
                return False
            time.sleep(_POLL_S)

    def _follows(self, published: RouteTable, name: str) -> bool:
        """Whether routes are as the endpoint's stop, limits or deletion want them."""
        route = next((each for each in published.endpoints if each.name == name), None)
        if route is None:
            return True
        try:
            wanted = self._store.endpoint(name)
        except ResourceDoesNotExist:
            return False
        limited = not route.served or route.limits == wanted.rate_limits
        return limited and route.stopped == wanted.stopped
