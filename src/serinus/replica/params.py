"""The ``params`` of a request: names and types as the signature declares them.

Names that it does not declare are dropped, as MLflow does; no value is turned into another one.
"""

from collections.abc import Sequence
from typing import Any

from serinus.errors import BadRequest
from serinus.replica.card import ColumnType
from serinus.replica.cells import EXPECTED, Refused, check
from serinus.replica.nested import Nested, nested

__all__ = ["Params"]

_SIMPLE = {each.value: each for each in ColumnType}


class Params:
    """The strict reader of one signature's params."""

    def __init__(self, declared: Sequence[dict[str, Any]]) -> None:
        """Take the params as the signature writes them; raises ValueError for unknown types."""
        self._declared: dict[str, tuple[ColumnType | None, Nested | None, bool]] = {}
        for each in declared:
            word = each.get("type", each.get("dtype"))
            type_ = _SIMPLE.get(str(word))
            inner = None if type_ else nested(each)
            self._declared[each["name"]] = (type_, inner, each.get("shape") is not None)

    def take(self, given: dict[str, Any] | None) -> tuple[dict[str, Any] | None, list[str]]:
        """The params for the model and the names that were dropped; raises BadRequest."""
        if not given:
            return None, []
        dropped = [name for name in given if name not in self._declared]
        taken = {name: self._one(name, each) for name, each in given.items() if name not in dropped}
        return taken or None, dropped

    def _one(self, name: str, value: Any) -> Any:
        type_, inner, many = self._declared[name]
        if value is None:
            return None
        if many:
            if not isinstance(value, list):
                raise _wrong(name, "an array", "something else", type_)
            return [self._leaf(name, each, type_) for each in value]
        if inner is not None:
            try:
                inner(value, False)
            except Refused as refused:
                path, expected = getattr(refused, "path", ""), getattr(refused, "expected", "")
                raise _wrong(name + path, expected, str(refused), None) from None
            return value
        return self._leaf(name, value, type_)

    def _leaf(self, name: str, value: Any, type_: ColumnType | None) -> Any:
        if type_ is None:
            return value
        try:
            return check(value, type_)
        except Refused as refused:
            raise _wrong(name, EXPECTED[type_], str(refused), type_) from None


def _wrong(name: str, expected: str, got: str, type_: ColumnType | None) -> BadRequest:
    return BadRequest(
        f"Param '{name}': expected {expected}, got {got}.",
        details=[
            {"field": f"params.{name}", "expected": type_.value if type_ else expected, "got": got}
        ],
    )
