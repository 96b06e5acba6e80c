"""What a request's input is once it is read: one unit of work, and how an intake makes it."""

from collections.abc import Hashable, Sequence
from random import Random
from typing import Any, Protocol

import msgspec

from serinus.replica.counts import Counts
from serinus.replica.protocol import Format

__all__ = ["Intake", "Unit"]


class Unit(msgspec.Struct, gc=False):
    """One request's rows, checked. It is answered whole or refused whole."""

    #: What the intake that made it understands.
    data: Any
    #: How many rows it has; None when the input has no rows to count.
    rows: int | None
    #: Units with equal keys may share a batch; None: this one goes alone.
    key: Hashable | None
    params: dict[str, Any] | None = None
    #: Columns that the model doesn't know and that were dropped.
    extra: int = 0
    #: Field, kind and number of what was let pass; None: this reader lets nothing pass.
    coerced: tuple[tuple[str, str, int], ...] | None = None
    #: What else was asked for, by requests of the Open Inference Protocol.
    asked: Any = None


class Intake(Protocol):
    """Turns request bodies into model input."""

    #: What was let pass that is not quite right: (field, kind) → how often.
    counts: Counts

    def parse(self, body: bytes, format_: Format) -> Unit:
        """Read one body; raises BadRequest or UnsupportedMediaType, which say what is wrong."""
        ...

    def take(self, tensors: dict[str, Any], params: dict[str, Any] | None) -> Unit:
        """The same for tensors as nested lists; raises BadRequest."""
        ...

    def join(self, units: Sequence[Unit]) -> Any:
        """The model's input for units of one key, in their order."""
        ...

    def widen(self, example: Unit, count: int, random: Random) -> list[Unit]:
        """``count`` one-row units of one key: the example's rows and perturbed ones.

        Empty when the example can't be cut into rows.
        """
        ...
