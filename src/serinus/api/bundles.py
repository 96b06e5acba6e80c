"""The contracts of pinned models, each read once."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import structlog

from serinus.errors import SerinusError
from serinus.parity.derived import derive
from serinus.parity.folder import DIRECTORY, Bundle, has_contract, read_bundle

__all__ = ["Bundles"]

_log = structlog.get_logger("serinus.api")


class Bundles:
    """``model_directory``: where the pinned files of a model digest are; None: nowhere."""

    def __init__(self, model_directory: Callable[[str], Path] | None) -> None:
        self._directory = model_directory
        # A pinned model never changes.
        self._read = lru_cache(maxsize=64)(self._find)

    def of(self, digest: str) -> Bundle | None:
        """The model's contract, else a derived one; None where neither can be had."""
        return self._read(digest)

    def _find(self, digest: str) -> Bundle | None:
        if self._directory is None:
            return None
        path = self._directory(digest)
        try:
            return read_bundle(path / DIRECTORY) if has_contract(path) else derive(path)
        except SerinusError as error:
            _log.warning("contract_not_read", model=digest[:12], why=error.message)
            return None
