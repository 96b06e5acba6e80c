"""A suspicion: a change of values that, undone, brings training's values back.

There is no true value to compare with, so it needs things that speak for it beside its inverse.
"""

from dataclasses import dataclass, field
from typing import Any

from serinus.parity.diagnosis.distance import Gap, alike
from serinus.parity.diagnosis.view import Part

__all__ = ["Suspect"]


@dataclass
class Suspect:
    """One such change, in one part of the traffic."""

    part: Part
    fields: list[str]
    pattern: str
    #: What is seen and how it is undone, as a sentence.
    text: str
    #: Share of the part's rows that are touched.
    share: float
    before: Gap | None = None
    after: Gap | None = None
    #: Values that training could not have had (another grid, unknown words, a wrong sign) and
    #: that it has after the inverse.
    hard: bool = False
    #: False for a factor that was fitted and has no name: it explains no other field's change.
    named: bool = True
    #: What a hard one has that no change of the world has.
    why: str = "training could not have had these values"
    #: Of a change that can't be undone: what else there is to see in the values.
    besides: str = ""
    rows: list[str] = field(default_factory=list)
    #: The numbers with the inverse applied, one for each recorded row of the part (NaN: none).
    undone: Any | None = None
    #: What speaks for it.
    proofs: list[str] = field(default_factory=list)

    @property
    def restored(self) -> bool:
        """Whether nothing but noise is left of the difference once it is undone."""
        if self.after is None or self.before is None:
            return False
        return alike(self.after, self.before)

    @property
    def quality(self) -> tuple[bool, float]:
        """To choose among several for one field: hard ones, then the best restored."""
        return self.hard, -(self.after.psi if self.after is not None else 1.0)
