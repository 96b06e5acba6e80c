"""Logs cost more than what they tell of: in a simulation nobody writes them."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from serinus.controller import executor, links, loop, messages, rollouts, roster

__all__ = ["quiet"]

_MODULES: tuple[ModuleType, ...] = (executor, links, loop, messages, rollouts, roster)


class _Silence:
    def _nothing(self, *_: object, **__: object) -> None:
        """Not said."""

    info = warning = error = exception = debug = _nothing


@contextmanager
def quiet() -> Iterator[None]:
    """No log lines from the controller inside."""
    silence: Any = _Silence()
    before = [vars(module)["_log"] for module in _MODULES]
    for module in _MODULES:
        vars(module)["_log"] = silence
    try:
        yield
    finally:
        for module, log in zip(_MODULES, before, strict=True):
            vars(module)["_log"] = log
