"""Puts a bug into the controller, and takes it out again at the end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Bug", "Plant", "planted"]

#: Puts something in the place of an attribute until the end.
Plant = Callable[[object, str, Any], None]
Bug = Callable[[Plant], None]


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """The controller has this bug inside."""
    before: list[tuple[object, str, Any]] = []

    def plant(owner: object, name: str, value: Any) -> None:
        before.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    bug(plant)
    try:
        yield
    finally:
        for owner, name, value in reversed(before):
            setattr(owner, name, value)
