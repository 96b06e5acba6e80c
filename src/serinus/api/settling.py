"""Waits, for a moment, until every gateway goes by what was just changed of tokens and rights."""

import time
from collections.abc import Callable

from serinus.store.repository import Store

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

    def wait(self) -> bool:
        """Whether every gateway goes by it now; after a while False, and it goes on by itself."""
        self._wake()
        if self._acknowledged is None:
            return False
        end = time.monotonic() + self._patience_s
        while True:
            published = self._store.routes()
            settled = published.grants == self._store.tokens.grants()
            if settled and self._acknowledged() >= published.generation:
                return True
            if time.monotonic() > end:
                return False
            time.sleep(_POLL_S)
