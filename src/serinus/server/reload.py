"""Replaces the gateways one by one: the new one serves before the old one lets go of the socket.

It decides; starting, signalling and listing processes is the supervisor's.
"""

import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

import msgspec
import structlog

from serinus.server.children import Child

__all__ = ["Reload", "ReloadState", "ReloadStatus", "read_status"]

_log = structlog.get_logger("serinus.supervisor")
#: A replacement that does not serve by then never will.
_START_S = 60.0
#: What a retired gateway gets beyond the time for its requests.
_GRACE_S = 5.0


class ReloadState(Enum):
    """How far it is."""

    IDLE = "IDLE"
    REPLACING = "REPLACING"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class ReloadStatus:
    """What `serinus reload` reads in the home."""

    #: Counts the reloads of this server.
    number: int = 0
    state: ReloadState = ReloadState.IDLE
    #: Names of the gateways that serve.
    gateways: tuple[str, ...] = ()
    why: str = ""


class Keeper(Protocol):
    """The hands of the supervisor."""

    def gateways(self) -> list[Child]:
        """All gateways, also those that start or end."""
        ...

    def add_gateway(self) -> Child:
        """One more gateway, which is started at once and started again if it ends."""
        ...

    def forget(self, child: Child) -> None:
        """Keep it no longer. A process that is still there is killed."""
        ...

    def tell(self, child: Child, number: signal.Signals) -> None:
        """Signal its process."""
        ...


def read_status(path: Path) -> ReloadStatus | None:
    """The status that a server wrote; None when there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=ReloadStatus)
    except (OSError, msgspec.DecodeError):
        return None


class Reload:
    """One reload after the other. ``show`` is told of each change."""

    def __init__(
        self, keeper: Keeper, show: Callable[[ReloadStatus], None], *, drain_s: float
    ) -> None:
        self._keeper = keeper
        self._show = show
        self._drain_s = drain_s
        self._number = 0
        self._state = ReloadState.IDLE
        #: Those that are to go, in order.
        self._old: deque[Child] = deque()
        self._new: Child | None = None
        self._since = 0.0
        self._again = False

    def ask(self) -> None:
        """Begin, or begin once more after the one under way."""
        if self._state is ReloadState.REPLACING:
            self._again = True
            return
        self._number += 1
        self._old.extend(self._keeper.gateways())
        _log.info("reloading", gateways=[child.name for child in self._old])
        self._move(ReloadState.REPLACING)

    def turn(self, now: float) -> None:
        """Do what can be done by now."""
        for child in self._keeper.gateways():
            limit = self._drain_s + _GRACE_S
            if child.retired_at and (child.pid <= 0 or now - child.retired_at > limit):
                self._keeper.forget(child)
        if self._state is not ReloadState.REPLACING:
            return
        new = self._new
        if new is None:
            self._next(now)
        elif new.ready:
            self._hand_over(now)
        elif new.failures or new.pid < 0 or now - self._since > _START_S:
            self._give_up(new)

    def announce(self) -> None:
        """Say how things stand."""
        self._move(self._state)

    def _next(self, now: float) -> None:
        if self._old:
            self._new, self._since = self._keeper.add_gateway(), now
        elif not any(child.retired_at for child in self._keeper.gateways()):
            _log.info("reloaded", gateways=[child.name for child in self._keeper.gateways()])
            self._move(ReloadState.DONE)
            if self._again:
                self._again = False
                self.ask()

    def _hand_over(self, now: float) -> None:
        old, self._new = self._old.popleft(), None
        old.retired_at = now
        if old.pid > 0:
            self._keeper.tell(old, signal.SIGUSR1)

    def _give_up(self, new: Child) -> None:
        """The old one has served all along and goes on."""
        self._keeper.forget(new)
        self._old.clear()
        self._new = None
        self._again = False
        _log.error("reload_failed", gateway=new.name)
        self._move(
            ReloadState.FAILED,
            f"{new.name} did not begin to serve; the gateways that were here serve on. "
            "The server's log says why.",
        )

    def _move(self, state: ReloadState, why: str = "") -> None:
        self._state = state
        serving = tuple(each.name for each in self._keeper.gateways() if not each.retired_at)
        self._show(ReloadStatus(self._number, state, serving, why))
