"""Rows by which a converted model is compared with its original: golden ones and made ones.

Made rows take each column from what training saw of it (the contract's profile), or from the input
example; now and then a value that training never had.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from random import Random
from typing import Any

from serinus.errors import SerinusError
from serinus.parity.contract import Field
from serinus.parity.folder import Bundle
from serinus.parity.made import UNKNOWN
from serinus.parity.profiles import FieldProfile
from serinus.replica.card import Column, ColumnType
from serinus.replica.intake import ColumnIntake
from serinus.replica.unit import Unit

__all__ = ["Rows", "rows_of"]

#: How many are made.
MADE = 256
_WHOLE = (ColumnType.LONG, ColumnType.INTEGER)
_FLOAT = (ColumnType.DOUBLE, ColumnType.FLOAT)
_STRANGE = 0.08


@dataclass(frozen=True)
class Rows:
    """One-row units, and what each is in words."""

    units: list[Unit]
    names: list[str]
    golden: int

    def and_(self, more: Sequence[tuple[str, Unit]]) -> "Rows":
        """These and further ones."""
        names = [*self.names, *(name for name, _ in more)]
        return Rows([*self.units, *(unit for _, unit in more)], names, self.golden)

    def known(self) -> list[tuple[Any, ...]]:
        """The cells of those that nobody made up."""
        return [
            unit.data.cells[0]
            for unit, name in zip(self.units, self.names, strict=True)
            if not name.startswith("made")
        ]


def rows_of(
    intake: ColumnIntake,
    columns: Sequence[Column],
    example: Unit,
    golden: Sequence[Unit],
    bundle: Bundle | None,
    random: Random,
    filled: Set[int] = frozenset(),
) -> Rows:
    """Golden rows, the example's, and made ones.

    ``filled``: places of columns whose nulls the original refuses, which is compared elsewhere.
    """
    known = [row for unit in (*golden, example) for row in unit.data.cells]
    names = [f"golden row {at}" for at in range(sum(unit.rows or 0 for unit in golden))]
    names += [f"example row {at}" for at in range(len(known) - len(names))]
    draws = [
        _Draw(column, at, known, bundle, nullable=at not in filled)
        for at, column in enumerate(columns)
    ]
    rows = list(known)
    for number in range(MADE):
        base = random.choice(known)
        rows.append(
            tuple(
                draw.value(random) if random.random() < 0.5 else base[at]
                for at, draw in enumerate(draws)
            )
        )
        names.append(f"made row {number}")
    units, kept = [], []
    for row, name in zip(rows, names, strict=True):
        try:
            cells = {column.name: [cell] for column, cell in zip(columns, row, strict=True)}
            units.append(intake.take(cells, None))
        except SerinusError:
            continue  # such a row never reaches the model
        kept.append(name)
    return Rows(units, kept, sum(name.startswith("golden") for name in kept))


class _Draw:
    """Draws values of one column."""

    def __init__(
        self,
        column: Column,
        at: int,
        known: Sequence[tuple[Any, ...]],
        bundle: Bundle | None,
        *,
        nullable: bool,
    ) -> None:
        self._column = column
        self._pool = [row[at] for row in known]
        field = None if bundle is None else bundle.contract.field(column.name)
        profile = None if bundle is None else bundle.profile.fields.get(column.name)
        #: A null that a contract does not allow is nothing that has to come out the same.
        self._nullable = nullable and (field is None or field.null.allowed)
        self._words = _words(field, profile)
        self._edges = [] if profile is None else list(profile.edges)

    def value(self, random: Random) -> Any:
        """One value; raises nothing, and may be one that the intake refuses."""
        type_ = self._column.type
        if type_ is ColumnType.BOOLEAN:
            return random.random() < 0.5
        if type_ is ColumnType.STRING:
            return self._text(random)
        if type_ in (*_WHOLE, *_FLOAT):
            return self._number(random)
        return random.choice(self._pool)

    def _text(self, random: Random) -> Any:
        if random.random() < _STRANGE:
            return random.choice([UNKNOWN, "", *([None] if self._nullable else [])])
        return random.choice(self._words or self._pool)

    def _number(self, random: Random) -> Any:
        whole = self._column.type in _WHOLE
        if self._nullable and not whole and random.random() < _STRANGE / 2:
            return None
        if len(self._edges) > 1:
            at = random.randrange(len(self._edges) - 1)
            value = random.uniform(self._edges[at], self._edges[at + 1])
            if random.random() < _STRANGE:  # beyond what training had
                value = self._edges[-1] + abs(self._edges[-1] - self._edges[0]) * random.random()
            return round(value) if whole else value
        value, other = random.choice(self._pool), random.choice(self._pool)
        if value is None:
            return None
        if other is not None and random.random() < 0.5:
            between = value + (other - value) * random.random()
            return round(between) if whole else between
        factor = random.choice((1.0, 0.5, 2.0, -1.0, 1.01, 0.99, 10.0, 0.0))
        return int(value * factor) if whole else value * factor


def _words(field: Field | None, profile: FieldProfile | None) -> list[str]:
    """Texts that training had; none where they are private."""
    if field is None or field.observed.hashed:
        return []
    return list(field.observed.values or (profile.words if profile is not None else ()))
