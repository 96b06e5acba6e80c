"""Two fields mixed up in some of the rows: each is a blend of its own values and of the other's."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from serinus.parity.contract import Field, Kind
from serinus.parity.diagnosis.blends import Blend, Tried, fitted, stirred
from serinus.parity.diagnosis.cells import Cells, cells_for
from serinus.parity.diagnosis.distance import ENOUGH
from serinus.parity.diagnosis.suspect import Suspect
from serinus.parity.diagnosis.view import Part

__all__ = ["traded"]

#: A mix-up moves two fields; where more than these have moved it is something else.
_MOST = 6
#: Both must be touched in about the same share of rows.
_UNEVEN = 1.5


def traded(part: Part, fields: list[Field]) -> Iterator[Suspect]:
    """Every such pair in this part of the traffic."""
    if part.sketch.rows < ENOUGH:
        return
    known: dict[str, tuple[Field, Cells]] = {}
    for field in fields:
        if field.type.logical in (Kind.NUMBER, Kind.WHOLE):
            cells = cells_for(part.view, field)
            if cells is not None and stirred(part, field, cells):
                known[field.name] = field, cells
    if not 2 <= len(known) <= _MOST:
        return
    for one, other in combinations(sorted(known), 2):
        pair = [_into(part, known[a], known[b]) for a, b in ((one, other), (other, one))]
        first, second = pair
        if first is None or second is None:
            continue
        low, high = sorted((first.share, second.share))
        if high > _UNEVEN * low:
            continue
        yield Suspect(
            part,
            [one, other],
            f"swapped: {one} and {other}",
            f"in {low:.1%} of rows '{one}' has the values of '{other}' and the other way round; "
            f"swapped back, both are as in training",
            low,
            first.before,
            first.after,
            hard=True,
            why="each has the values of the other",
        )


def _into(part: Part, mine: tuple[Field, Cells], other: tuple[Field, Cells]) -> Blend | None:
    field, cells = mine
    values = np.asarray(other[1].values)
    placed = cells.placed(values, other[1].weights)
    if np.abs(placed - cells.trained).sum() < 0.1:
        return None  # they always looked alike
    return fitted(part, field, cells, Tried(["swapped"], placed[None, :], np.zeros(1)), alone=False)
