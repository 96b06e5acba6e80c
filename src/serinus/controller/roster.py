"""Which gateways may be serving, kept on disk for the next controller.

A new controller that knew nobody would take everything for acknowledged. It never says that a
gateway lives; only that one was there.
"""

import os
from pathlib import Path

import msgspec
import structlog

from serinus.traffic import GatewayHello

__all__ = ["Roster"]

_log = structlog.get_logger("serinus.controller")


class _Kept(msgspec.Struct):
    #: Gateways of another supervisor ended with it, and their process ids may be others' by now.
    supervisor: int
    gateways: list[GatewayHello]


class Roster:
    """A file of hellos."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[GatewayHello]:
        """Who was there under this supervisor; nobody when that can't be read."""
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=_Kept)
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            _log.warning("roster_unreadable", path=str(self._path), error=str(error))
            return []
        return kept.gateways if kept.supervisor == os.getppid() else []

    def write(self, gateways: list[GatewayHello]) -> None:
        """Keep these instead."""
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            temporary.write_bytes(msgspec.json.encode(_Kept(os.getppid(), gateways)))
            temporary.replace(self._path)
        except OSError as error:
            # Only the next controller's first moments would suffer.
            _log.error("roster_not_saved", path=str(self._path), error=str(error))
