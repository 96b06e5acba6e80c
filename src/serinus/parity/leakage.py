"""Finds features that know what serving will not know, and what the model is worth without them.

What is declared or shown by timestamps is a leak; a feature that alone carries the metric is only
suspected. Nothing is dropped from the model here.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serinus.errors import InvalidParameterValue
from serinus.parity.columns import Column
from serinus.parity.contract import Field, Kind, Leak, Timing
from serinus.parity.declarations import lag_seconds
from serinus.parity.metric import higher_is_better

__all__ = ["Lateness", "LeakageFound", "importances", "lateness", "masked", "suspects"]

#: A single feature that takes this share of what the model is better than chance is suspected.
_SUSPICIOUS = 0.5
_CHANCE = {"roc_auc": 0.5}


class LeakageFound(InvalidParameterValue):
    """A feature of the model is not known when a prediction is asked for."""


@dataclass
class Lateness:
    """Which values come too late, and how old the others were."""

    #: Field → rows whose value serving will not have.
    late: dict[str, Any] = field(default_factory=dict)
    leaks: list[Leak] = field(default_factory=list)
    timing: dict[str, Timing] = field(default_factory=dict)


def lateness(
    fields: list[Field], asked: Any | None, known: Mapping[str, Any], rows: int
) -> Lateness:
    """Judge by ``available_at`` and by times: ``asked`` of the predictions, ``known`` by field.

    Both are arrays of datetime64[ns]. Raises InvalidParameterValue when they don't fit the sample.
    """
    found = Lateness()
    for each in fields:
        said = each.time.available_at
        lag = lag_seconds(said) if said else 0.0
        if lag is None:
            found.late[each.name] = np.ones(rows, dtype=bool)
            found.leaks.append(
                Leak(
                    field=each.name,
                    kind="after_label",
                    detail="it is declared to be known only after the label",
                    rows=rows,
                )
            )
        elif each.name in known:
            _by_times(found, each, _asked(asked, each.name), known[each.name], lag)
    return found


def _asked(asked: Any | None, name: str) -> Any:
    if asked is None:
        raise InvalidParameterValue(
            f"feature_times has times of '{name}', but entity_times is missing: give the time at "
            "which each row's prediction is asked for."
        )
    return asked


def _by_times(found: Lateness, each: Field, asked: Any, known: Any, lag: float) -> None:
    if len(known) != len(asked):
        raise InvalidParameterValue(
            f"There are {len(known)} times of '{each.name}' for {len(asked)} rows."
        )
    age = (asked - known) / np.timedelta64(1, "s")
    late = age < lag
    there = age[np.isfinite(age)]
    if len(there):
        p50, p99 = np.quantile(there, [0.5, 0.99])
        found.timing[each.name] = Timing(
            available_at=each.time.available_at,
            max_age=each.time.max_age,
            train_lag_p50=float(p50),
            train_lag_p99=float(p99),
        )
    if late.any():
        worst = float(-(age[late] - lag).min())
        found.late[each.name] = late
        found.leaks.append(
            Leak(
                field=each.name,
                kind="too_late",
                detail=(
                    f"in {int(late.sum())} of {len(late)} rows its value is known up to "
                    f"{worst:.0f} s after the prediction is asked for"
                ),
                rows=int(late.sum()),
            )
        )


def masked(
    frame: Any, columns: Mapping[str, Column], rows: Mapping[str, Any], works: Callable[[Any], Any]
) -> Any:
    """What ``works`` makes of a frame in which those rows of those columns are missing.

    A value that the model can't do without becomes zero, false or its column's commonest text.
    """
    try:
        return works(_blanked(frame, columns, rows, nulls=True))
    except Exception:  # noqa: BLE001 - a model may raise anything for a null that it can't take
        return works(_blanked(frame, columns, rows, nulls=False))


def _blanked(
    frame: Any, columns: Mapping[str, Column], rows: Mapping[str, Any], *, nulls: bool
) -> Any:
    changed = frame.copy(deep=False)
    names = [str(name) for name in frame.columns]
    for name, late in rows.items():
        column, at = columns[name], names.index(name)
        series = frame.iloc[:, at]
        if nulls and column.kind in (Kind.NUMBER, Kind.TEXT, Kind.INSTANT):
            changed.isetitem(at, series.mask(late))
        elif nulls and column.kind is Kind.WHOLE:
            changed.isetitem(at, series.astype(float).mask(late))
        else:
            changed.isetitem(at, series.mask(late, _filler(column, series)))
    return changed


def _filler(column: Column, series: Any) -> Any:
    if column.kind in (Kind.NUMBER, Kind.WHOLE):
        return 0
    if column.kind is Kind.FLAG:
        return False
    return series.mode().iloc[0]


def importances(
    frame: Any,
    columns: Mapping[str, Column],
    measure: Callable[[Any], float],
    metric: str,
    random: np.random.Generator,
) -> dict[str, float]:
    """How much worse the metric is with each column shuffled; columns that fail are left out."""
    base = measure(frame)
    sign = 1.0 if higher_is_better(metric) else -1.0
    found = {}
    for at, name in enumerate(map(str, frame.columns)):
        shuffled = frame.copy(deep=False)
        order = random.permutation(len(frame))
        series = frame.iloc[:, at]
        shuffled.isetitem(at, series.iloc[order].set_axis(series.index))
        loss = sign * (base - measure(shuffled))
        if name in columns and math.isfinite(loss):
            found[name] = round(float(loss), 6)
    return found


def suspects(
    fields: list[Field], importance: Mapping[str, float], metric: str, value: float
) -> list[Leak]:
    """Features that alone carry the metric and of which nobody said when they are known."""
    chance = _CHANCE.get(metric)
    if chance is None or value - chance < 0.2:
        return []
    return [
        Leak(
            field=each.name,
            kind="suspected",
            detail=(
                f"it alone carries {importance[each.name]:.3f} of {metric} {value:.3f}; declare "
                "its available_at if it is known when a prediction is asked for"
            ),
        )
        for each in fields
        if each.time.available_at is None
        and importance.get(each.name, 0.0) >= _SUSPICIOUS * (value - chance)
    ]
