"""Proves, when a model is loaded, that it answers rows together as it answers them alone.

Only such a model is given batches. It can show a difference, never exclude one for ever: a model
that treats rows differently only for values far from its example gets past it.
"""

import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec
import numpy as np

from serinus.errors import described
from serinus.replica.answer import Uncuttable, count_rows, jsonable
from serinus.replica.excerpt import excerpt
from serinus.replica.unit import Intake, Unit

__all__ = ["Proof", "prove"]

#: Sizes of the batches that are compared with rows answered alone.
SIZES = (2, 7, 64)
#: Units in the last place by which floats may differ: BLAS sums in another order by batch size.
ULPS = 32
_BUDGET_S = 0.6
_MOST, _LEAST = 32, 8

Predict = Callable[[Any, dict[str, Any] | None], Any]


class Proof(msgspec.Struct, frozen=True):
    """Whether a model may be given batches, and why (not), for people."""

    batched: bool
    reason: str


def prove(
    intake: Intake,
    predict: Predict,
    example: Unit,
    random: Random,
    clock: Callable[[], float] = time.perf_counter,
    rows: Sequence[Unit] = (),
    what: str = "rows",
) -> Proof:
    """Ask for the same rows alone and together and compare.

    ``rows`` are units of one key and one row each, named ``what``; without them the example's rows
    and perturbed ones are taken.
    """
    units = _spread(rows) if rows else intake.widen(example, _MOST, random)
    if not units:
        return Proof(False, "the model's input example can't be cut into rows")
    began = clock()
    known: list[tuple[Unit, Any]] = []
    for unit in units:
        if len(known) >= _LEAST and clock() - began > _BUDGET_S:
            break
        try:
            known.append((unit, _rows(predict(intake.join([unit]), example.params), 1)[0]))
        except (Uncuttable, _WrongCount) as error:
            return Proof(False, f"its answer for one row is not one row: {error}")
        except Exception as error:  # noqa: BLE001 - a perturbed row may be one it rightly refuses
            if unit is units[0] and not rows:
                return Proof(False, f"it refuses a row of its own input example: {error}")
    if not known:
        return Proof(False, f"it refuses all of its {what}")
    difference = _any_difference(intake, predict, known, example.params, what)
    if difference:
        return Proof(False, difference)
    sizes = ", ".join(map(str, SIZES))
    return Proof(True, f"{len(known)} {what} got the same answers alone and in batches of {sizes}")


def _any_difference(
    intake: Intake,
    predict: Predict,
    known: Sequence[tuple[Unit, Any]],
    params: dict[str, Any] | None,
    what: str,
) -> str:
    """How batches of these rows differ from the rows alone; empty when none does."""
    scale = _scales([answer for _, answer in known])
    for size in SIZES:
        for order in (1, -1):
            some = [known[at % len(known)] for at in range(size)][::order]
            difference = _differ(intake, predict, some, params, scale)
            if difference:
                return f"{size} {what} together and alone differ: {difference}"
    return ""


def _spread(rows: Sequence[Unit]) -> list[Unit]:
    """Half from the beginning, where the telling ones are, and half from all over."""
    half = _MOST // 2
    if len(rows) <= _MOST:
        return list(rows)
    rest = rows[half:]
    return [*rows[:half], *(rest[at * len(rest) // half] for at in range(half))]


class _WrongCount(Exception):
    pass


def _differ(
    intake: Intake,
    predict: Predict,
    rows: Sequence[tuple[Unit, Any]],
    params: dict[str, Any] | None,
    scale: Any,
) -> str:
    try:
        together = _rows(predict(intake.join([unit for unit, _ in rows]), params), len(rows))
    except (Uncuttable, _WrongCount) as error:
        return str(error) or "the answer has no rows"
    except Exception as error:  # noqa: BLE001 - a model may raise anything
        return f"it raised {described(error)}"
    for at, (answer, (_, alone)) in enumerate(zip(together, rows, strict=True)):
        if not _alike(alone, answer, scale):
            return f"row {at} was {_short(alone)} alone and is {_short(answer)}"
    return ""


def _rows(output: Any, count: int) -> list[Any]:
    """The answer as one JSON-like value per row, with the type of its floats."""
    found = count_rows(output)
    if found is None:
        raise Uncuttable("it is nothing that has rows")
    if found != count:
        raise _WrongCount(f"the model returned {found} predictions for {count} rows")
    if isinstance(output, dict):
        columns = {key: _rows(each, count) for key, each in output.items()}
        return [{key: column[at] for key, column in columns.items()} for at in range(count)]
    if isinstance(output, np.ndarray) and output.dtype.kind == "f" and output.dtype.itemsize < 8:
        return list(output)
    rows: list[Any] = jsonable(output)
    return rows


def _alike(one: Any, other: Any, scale: dict[Any, float], at: Any = ()) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.shape == other.shape and all(
            _alike(a, b, scale, (*at, i))
            for i, (a, b) in enumerate(zip(one.ravel(), other.ravel(), strict=True))
        )
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _alike(each, other[key], scale, (*at, key)) for key, each in one.items()
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            _alike(a, b, scale, (*at, i)) for i, (a, b) in enumerate(zip(one, other, strict=True))
        )
    if isinstance(one, float | np.floating) and isinstance(other, float | np.floating):
        if one == other or (one != one and other != other):
            return True
        eps = float(np.finfo(type(one)).eps)
        largest = max(abs(float(one)), abs(float(other)), scale.get(at, 0.0))
        return bool(abs(float(one) - float(other)) <= ULPS * eps * largest)
    return bool(type(one) is type(other) and one == other)


def _scales(answers: Sequence[Any]) -> dict[Any, float]:
    """The usual size of each float of an answer: sums that cancel out are only as exact."""
    sizes: dict[Any, list[float]] = {}
    for answer in answers:
        _collect(answer, (), sizes)
    return {at: float(np.median(values)) for at, values in sizes.items()}


def _collect(answer: Any, at: tuple[Any, ...], sizes: dict[Any, list[float]]) -> None:
    if isinstance(answer, dict):
        for key, each in answer.items():
            _collect(each, (*at, key), sizes)
    elif isinstance(answer, list):
        for place, each in enumerate(answer):
            _collect(each, (*at, place), sizes)
    elif isinstance(answer, np.ndarray):
        for place, each in enumerate(answer.ravel()):
            _collect(each, (*at, place), sizes)
    elif isinstance(answer, float | np.floating) and np.isfinite(answer):
        sizes.setdefault(at, []).append(abs(float(answer)))


def _short(value: Any) -> str:
    return excerpt(repr(value), 80)
