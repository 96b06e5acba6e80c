"""The contracts of pinned models: each read once, and in one way for everybody who asks."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import structlog

from serinus.errors import SerinusError
from serinus.parity.derived import as_found
from serinus.parity.folder import Bundle

__all__ = ["Bundles", "Found"]

_log = structlog.get_logger("serinus.api")


class Found(NamedTuple):
    """What is beside a model, and why it can't be trusted."""

    bundle: Bundle | None
    error: SerinusError | None


class Bundles:
    """``model_directory``: where the pinned files of a model digest are; None: nowhere."""

    def __init__(self, model_directory: Callable[[str], Path] | None) -> None:
        self._directory = model_directory
        # A pinned model never changes.
        self._read = lru_cache(maxsize=64)(self._find)

    @property
    def any(self) -> bool:
        """False where no model's files can be looked at."""
        return self._directory is not None

    def find(self, digest: str) -> Found:
        """The model's contract, else a derived one, with what is wrong with it."""
        return self._read(digest)

    def of(self, digest: str) -> Bundle | None:
        """The same, for who can do with a contract that is another model's; None without any."""
        return self._read(digest).bundle

    def _find(self, digest: str) -> Found:
        if self._directory is None:
            return Found(None, None)
        try:
            return Found(*as_found(self._directory(digest)))
        except SerinusError as error:
            _log.warning("contract_not_read", model=digest[:12], why=error.message)
            return Found(None, error)
