"""What is known of each field before a value is counted: training's bins, words and limits.

Live values are counted by the shape of their contract, so that both can be laid side by side.
It is made from a contract and its profile; it holds no count.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serinus.parity.contract import Contract, Kind, Privacy, contract_id
from serinus.parity.contract import Field as ContractField
from serinus.parity.profiles import FieldProfile, Profile

__all__ = ["SENTINELS", "FieldShape", "ScoreShape", "Shape", "shape_of"]

#: Numbers that stand for "no value" in many systems.
SENTINELS = (-1.0, -9.0, -99.0, -999.0, -9999.0, 0.0, 99.0, 999.0, 9999.0, 99999.0)


@dataclass(frozen=True)
class FieldShape:
    """How one field is counted."""

    name: str
    kind: Kind
    #: Inner edges of the bins, from training's quantiles; empty: one bin for all.
    edges: Any = field(default_factory=lambda: np.empty(0))
    #: Seen in training; None: not known.
    low: float | None = None
    high: float | None = None
    #: Said by somebody.
    least: float | None = None
    most: float | None = None
    enum: frozenset[str] | None = None
    pattern: str | None = None
    whole: bool = False
    grid: float | None = None
    #: Words that are counted each for itself (hashed ones, where the contract has hashes).
    words: frozenset[str] = frozenset()
    #: True when ``words`` are all that training saw, so that another one is new.
    closed: bool = False
    #: Single numbers that are counted: training's spikes, and sentinels outside of its range.
    specials: tuple[float, ...] = ()
    default: float | str | bool | None = None
    privacy: Privacy = Privacy.PLAIN


@dataclass(frozen=True)
class ScoreShape:
    """How answers are counted."""

    #: ``class``, ``probability``, ``number`` or ``other``, as in `Outputs`.
    kind: str = "other"
    column: int | None = None
    threshold: float | None = None
    edges: Any = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class Shape:
    """How one model's live values are counted."""

    #: The contract's id; counts of different shapes are never added.
    contract: str
    fields: dict[str, FieldShape]
    score: ScoreShape = ScoreShape()
    #: Fields of the joint checks, with the means and scales that standardise them.
    joint: tuple[str, ...] = ()
    means: Any = field(default_factory=lambda: np.empty(0))
    scales: Any = field(default_factory=lambda: np.empty(0))
    #: Stands before private texts when they are hashed.
    salt: str = ""


def shape_of(contract: Contract, profile: Profile) -> Shape:
    """The shape that a contract and its profile give."""
    joint = tuple(name for name in profile.joint if name in profile.means)
    score = profile.score
    return Shape(
        contract=contract_id(contract),
        fields={
            each.name: _field(each, profile.fields.get(each.name, FieldProfile(n=0)))
            for each in contract.fields
        },
        score=ScoreShape(
            kind=contract.outputs.kind,
            column=contract.outputs.column,
            threshold=contract.outputs.threshold,
            edges=np.array(score.edges if score else [], dtype=np.float64),
        ),
        joint=joint,
        means=np.array([profile.means[name] for name in joint]),
        scales=np.array([profile.scales[name] for name in joint]),
        salt=contract.training.fingerprint,
    )


def _field(each: ContractField, profile: FieldProfile) -> FieldShape:
    observed, declared = each.observed, each.declared
    low = observed.min if isinstance(observed.min, float | int) else None
    high = observed.max if isinstance(observed.max, float | int) else None
    closed = observed.values is not None
    number = each.type.logical in (Kind.NUMBER, Kind.WHOLE)
    return FieldShape(
        name=each.name,
        kind=each.type.logical,
        edges=np.array(profile.edges, dtype=np.float64),
        low=low,
        high=high,
        least=declared.min,
        most=declared.max,
        enum=None if declared.enum is None else frozenset(declared.enum),
        pattern=declared.pattern,
        whole=bool(declared.integral) or each.type.logical is Kind.WHOLE,
        grid=observed.grid,
        words=frozenset([*(observed.values or profile.words), *(declared.enum or [])]),
        closed=closed,
        specials=_specials(observed.spikes, low, high) if number else (),
        default=each.null.default,
        privacy=each.privacy,
    )


def _specials(spikes: dict[str, float], low: float | None, high: float | None) -> tuple[float, ...]:
    found = {float(each) for each in spikes}
    if low is not None and high is not None:
        found |= {each for each in SENTINELS if not low <= each <= high}
    return tuple(sorted(found))
