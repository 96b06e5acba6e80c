"""Nested types of signatures (arrays, objects, maps): checked leaf by leaf, as cells are.

What comes out has the types that MLflow's own schema enforcement lets through unchanged.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from serinus.replica.card import ColumnType
from serinus.replica.cells import DTYPES, EXPECTED, Refused, check
from serinus.replica.excerpt import excerpt

__all__ = ["Nested", "describe", "nested"]

#: A value, and whether null may stand for it → the value as the model takes it.
Nested = Callable[[Any, bool], Any]

_LEAVES = {each.value: each for each in ColumnType if each is not ColumnType.NESTED}
#: Items that a list would turn into their wider brothers.
_NARROW = frozenset((ColumnType.INTEGER, ColumnType.FLOAT))
_NULL_ITEMS = frozenset((ColumnType.FLOAT, ColumnType.DOUBLE))


class Misfit(Refused):
    """A value inside a nested one does not fit; ``path`` leads to it."""

    def __init__(self, refused: Refused, step: str, expected: str) -> None:
        super().__init__(str(refused), refused.kind)
        self.path = step + getattr(refused, "path", "")
        self.expected: str = getattr(refused, "expected", expected)


def nested(spec: dict[str, Any]) -> Nested:
    """The check of one nested type; raises ValueError for a type that is not known."""
    kind = spec.get("type")
    if kind == "array":
        items = spec["items"]
        leaf = _LEAVES.get(items.get("type"))
        return _leaf_array(leaf) if leaf else _array(nested(items))
    if kind == "object":
        properties = spec["properties"]
        return _object(
            {name: nested(each) for name, each in properties.items()},
            {name for name, each in properties.items() if each.get("required", True)},
        )
    if kind == "map":
        return _map(nested(spec["values"]))
    if kind == "any":
        return lambda value, _optional: value
    if kind in _LEAVES:
        return _leaf(_LEAVES[kind])
    raise ValueError(f"the signature has a type that is not known: {kind}")


def describe(spec: dict[str, Any]) -> str:
    """The type in words."""
    kind = str(spec.get("type"))
    if kind == "array":
        return f"an array of {describe(spec['items'])}"
    if kind == "map":
        return f"an object with values of {describe(spec['values'])}"
    if kind == "object":
        return f"an object with {', '.join(repr(name) for name in spec['properties'])}"
    return kind


def _leaf(type_: ColumnType) -> Nested:
    dtype = DTYPES[type_]

    def take(value: Any, optional: bool) -> Any:
        if value is None:
            if optional:
                return None
            raise Misfit(Refused("null", "null"), "", EXPECTED[type_].replace(" or null", ""))
        found = _checked(value, type_, "")
        return found if dtype.kind == "O" else dtype.type(found)

    return take


def _leaf_array(type_: ColumnType) -> Nested:
    def take(value: Any, optional: bool) -> Any:
        if not _is_list(value, optional, "an array"):
            return None
        for at, each in enumerate(value):
            if each is None and type_ not in _NULL_ITEMS:
                words = EXPECTED[type_].replace(" or null", "")
                raise Misfit(Refused("null", "null"), f"[{at}]", words)
        found = [_checked(each, type_, f"[{at}]") for at, each in enumerate(value)]
        if type_ is ColumnType.DATETIME:
            return [np.datetime64(each, "ns") for each in found]
        if type_ is ColumnType.DOUBLE:
            return [np.nan if each is None else each for each in found]
        return np.array(found, DTYPES[type_]) if type_ in _NARROW else found

    return take


def _array(inner: Nested) -> Nested:
    def take(value: Any, optional: bool) -> Any:
        if not _is_list(value, optional, "an array"):
            return None
        return [_inside(inner, each, optional, f"[{at}]") for at, each in enumerate(value)]

    return take


def _object(properties: dict[str, Nested], required: set[str]) -> Nested:
    def take(value: Any, optional: bool) -> Any:
        if not _is_object(value, optional):
            return None
        for name in sorted(required - value.keys()):
            raise Misfit(Refused("nothing", "missing"), f".{excerpt(name)}", "a value")
        for name in sorted(value.keys() - properties.keys()):
            raise Misfit(
                Refused("a property that the signature does not name", "extra"),
                f".{excerpt(name)}",
                f"nothing but {', '.join(sorted(properties))}",
            )
        return {
            name: _inside(properties[name], each, name not in required, f".{excerpt(name)}")
            for name, each in value.items()
        }

    return take


def _map(inner: Nested) -> Nested:
    def take(value: Any, optional: bool) -> Any:
        if not _is_object(value, optional):
            return None
        return {
            name: _inside(inner, each, optional, f".{excerpt(name)}")
            for name, each in value.items()
        }

    return take


def _inside(inner: Nested, value: Any, optional: bool, step: str) -> Any:
    try:
        return inner(value, optional)
    except Refused as refused:
        raise Misfit(refused, step, "") from None


def _is_list(value: Any, optional: bool, expected: str) -> bool:
    if value is None and optional:
        return False
    if isinstance(value, np.ndarray):
        return True
    if not isinstance(value, list):
        raise Misfit(_other(value), "", expected)
    return True


def _is_object(value: Any, optional: bool) -> bool:
    if value is None and optional:
        return False
    if not isinstance(value, dict):
        raise Misfit(_other(value), "", "an object")
    return True


def _other(value: Any) -> Refused:
    try:
        check(value, ColumnType.STRING)
    except Refused as refused:
        return refused
    if value is None:
        return Refused("null", "null")
    return Refused("a string", "string")


def _checked(value: Any, type_: ColumnType, step: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    try:
        return check(value, type_)
    except Refused as refused:
        raise Misfit(refused, step, EXPECTED[type_]) from None
