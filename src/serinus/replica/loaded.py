"""A loaded model, what it is loaded from, and the rows that it is tried with.

It loads nothing: `serinus.replica.model` and `serinus.replica.optimized` do.
"""

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serinus.entities import Optimize, Reading
from serinus.errors import SerinusError
from serinus.parity.folder import GoldenRow
from serinus.replica.card import Card
from serinus.replica.form import Standing
from serinus.replica.protocol import Format
from serinus.replica.question import format_of
from serinus.replica.unit import Intake, Unit

__all__ = ["Model", "Predict", "Source", "golden_units", "with_example"]

Predict = Callable[[Any, dict[str, Any] | None], Any]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Model:
    """A loaded model: how its requests are read and how it is asked."""

    intake: Intake
    #: Model input and params → what the model returns.
    predict: Predict
    #: The author's example, read; None when there is none that can be.
    example: Unit | None
    #: Why there is no example, for people.
    no_example: str = ""
    #: Rows of the answer to the example; None when it has none to count.
    example_rows: int | None = None
    #: The estimator, or what MLflow loaded: for looking inside, never for answering.
    loaded: Any = None
    #: Which way it is asked, and why.
    standing: Standing = field(default_factory=Standing)


@dataclass(frozen=True, slots=True)
class Source:
    """What a model is loaded from, and what is known of it already."""

    path: Path
    intake: Reading = Reading.STRICT
    golden: Sequence[GoldenRow] = ()
    optimize: Optimize = Optimize.NONE
    #: Where what was found out of the model is kept; None: it is found out each time.
    forms: Path | None = None
    #: Seconds that a conversion may take; then the original serves.
    convert_s: float = 60.0


def with_example(model: Model, card: Card) -> Model:
    """The model with its author's example, read as a request is."""
    if card.example is None:
        model.no_example = "the model was logged without an input example"
        return model
    try:
        model.example = model.intake.parse(card.example, Format.JSON)
    except SerinusError as error:
        model.no_example = f"the model's input example does not fit its signature: {error.message}"
        _log.warning("%s", model.no_example)
    return model


def golden_units(intake: Intake, golden: Sequence[GoldenRow]) -> list[Unit]:
    """The golden rows that the intake takes and that may share a batch, nulls first."""
    groups: dict[Hashable, list[Unit]] = {}
    for row in sorted(golden, key=lambda each: not any("null" in case for case in each.covers)):
        try:
            unit = intake.parse(row.body.encode(), format_of(row.content_type))
        except SerinusError:
            continue  # refused alone as among others: the verification says so
        if unit.key is not None and unit.rows == 1:
            groups.setdefault(unit.key, []).append(unit)
    return max(groups.values(), key=len, default=[])
