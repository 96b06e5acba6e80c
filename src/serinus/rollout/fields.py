"""Reads one mapping that a person wrote: known keys only, each refusal names its path. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from enum import Enum
from typing import TypeVar

from serinus.errors import InvalidParameterValue

__all__ = ["Fields", "items", "one_of", "read_bool", "read_count", "read_text", "single"]

_T = TypeVar("_T")
_E = TypeVar("_E", bound=Enum)


class Fields:
    """The keys of one mapping, checked against those that are known here."""

    def __init__(self, value: object, path: str, known: Sequence[str]) -> None:
        """An empty ``value`` (None, as YAML reads ``pause:``) is an empty mapping."""
        if not isinstance(value, Mapping):
            if value is not None:
                keys = ", ".join(known)
                raise InvalidParameterValue(
                    f"{path or 'a rollout'} must be a mapping with the keys {keys}; "
                    f"it is {value!r}."
                )
            value = {}
        self.path = path
        # YAML 1.1 reads the key `on` as the truth.
        self._values = {("on" if key is True else str(key)): each for key, each in value.items()}
        for key in self._values:
            if key not in known:
                raise InvalidParameterValue(f"{self.at(key)} is not known; {_nearest(key, known)}")

    def __contains__(self, key: str) -> bool:
        """True when the person wrote this key."""
        return key in self._values

    def at(self, key: str) -> str:
        """The path of ``key``, e.g. ``steps[2].set_weight``."""
        return f"{self.path}.{key}" if self.path else key

    def raw(self, key: str) -> object:
        """The value as it was written; None when it was not."""
        return self._values.get(key)

    def read(self, key: str, read: Callable[[object, str], _T], default: _T) -> _T:
        """What ``read`` makes of the value, or ``default`` when the key is not there."""
        return read(self._values[key], self.at(key)) if key in self._values else default


def _nearest(word: str, known: Sequence[str]) -> str:
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word).replace("-", "_").lower()
    near = get_close_matches(word, known, 1) or get_close_matches(snake, known, 1)
    if near:
        return f"did you mean {near[0]}? Known are {', '.join(known)}."
    return f"known are {', '.join(known)}."


def one_of(kind: type[_E]) -> Callable[[object, str], _E]:
    """A reader of one of an enum's values."""
    names = [str(each.value) for each in kind]

    def read(value: object, path: str) -> _E:
        for each in kind:
            if value == each.value:
                return each
        raise InvalidParameterValue(f"{path} is {value!r}; {_nearest(str(value), names)}")

    return read


def single(value: object, path: str, known: Sequence[str]) -> tuple[str, object]:
    """The one key of a mapping like ``{pause: {}}`` and its value; a bare word has no value."""
    fields = Fields({value: None} if isinstance(value, str) else value, path, known)
    present = [key for key in known if key in fields]
    if len(present) != 1:
        raise InvalidParameterValue(
            f"{path} must have exactly one of the keys {', '.join(known)}; "
            f"it has {' and '.join(present) or 'none'}."
        )
    return present[0], fields.raw(present[0])


def items(value: object, path: str) -> list[tuple[object, str]]:
    """The elements of a list, each with its path."""
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise InvalidParameterValue(f"{path} must be a list; it is {value!r}.")
    return [(each, f"{path}[{index}]") for index, each in enumerate(value)]


def read_text(value: object, path: str) -> str:
    """A text with something in it."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidParameterValue(f"{path} must be a text that is not empty; it is {value!r}.")
    return value.strip()


def read_bool(value: object, path: str) -> bool:
    """True or false, and nothing that merely resembles it."""
    if not isinstance(value, bool):
        raise InvalidParameterValue(f"{path} must be true or false; it is {value!r}.")
    return value


def read_count(value: object, path: str) -> int:
    """A whole number above zero."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidParameterValue(f"{path} must be a whole number from 1; it is {value!r}.")
    return value
