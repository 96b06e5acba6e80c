"""One array in place of a data frame, where an estimator is seen to compute the same bits with it.

scikit-learn spends most of a one-row call on taking a frame apart. Nothing of the author's own code
may see the difference: it could look at names, or at the kind of its input.
"""

import logging
import warnings
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from serinus.replica.arithmetic import arithmetic
from serinus.replica.intake import ColumnIntake
from serinus.replica.layout import block_type
from serinus.replica.unit import Unit

__all__ = ["identical", "shortened", "try_block"]

_log = logging.getLogger(__name__)
Predict = Callable[[Any, dict[str, Any] | None], Any]
#: Estimators whose work depends on column names, or is any function at all.
_NAME_READERS = ("ColumnTransformer", "FunctionTransformer")
#: Where estimators come from that look at numbers alone.
_KNOWN = ("sklearn.", "xgboost.sklearn", "lightgbm.sklearn")


def try_block(estimator: Any, predict: Predict, intake: ColumnIntake, example: Unit) -> bool:
    """Switch ``intake`` to blocks if that changes no bit of any answer; says whether it did."""
    inside = _numeric(estimator) if block_type(intake.types.values()) else []
    if not inside:
        return False
    units = intake.widen(example, 32, Random(1))  # noqa: S311 - no secret
    tried = [some for some in (units, units[:1], units[-1:], units[1:8]) if some]
    try:
        frames, told = _asked(predict, [intake.frame(some) for some in tried])
    except Exception as error:  # noqa: BLE001 - a model may raise anything; frames remain
        _log.info("action=block_not_tried error=%r", error)
        return False
    # With names to compare, each call would warn that a block of numbers has none.
    names = [(each, vars(each).pop("feature_names_in_", None)) for each in inside]
    intake.as_block = True
    try:
        blocks, said = _asked(predict, [intake.join(some) for some in tried])
    except Exception as error:  # noqa: BLE001 - as above
        _log.info("action=block_refused error=%r", error)
        blocks, said = [], told
    if said <= told and len(blocks) == len(frames) and all(map(identical, frames, blocks)):
        return True
    intake.as_block = False
    for each, known in names:
        if known is not None:
            each.feature_names_in_ = known
    return False


def _asked(predict: Predict, inputs: list[Any]) -> tuple[list[Any], set[str]]:
    """The answers, and what was warned of: a warning at every call is no short way."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        return [predict(each, None) for each in inputs], {str(each.message) for each in told}


def shortened(estimator: Any, method: str) -> Callable[[Any], Any]:
    """The estimator's method; of a plain pipeline its steps one by one, past its own checks.

    Where all that is arithmetic of a few arrays, only that.
    """
    whole: Callable[[Any], Any] = getattr(estimator, method)
    kind = type(estimator)
    if kind.__module__ != "sklearn.pipeline" or kind.__name__ != "Pipeline":
        return arithmetic([estimator], method, whole)
    if getattr(estimator, "transform_input", None) or any(
        not hasattr(each, "fit") for _, each in estimator.steps
    ):
        return whole
    steps = [step.transform for _, step in estimator.steps[:-1]]
    last = getattr(estimator.steps[-1][1], method)

    def short(data: Any) -> Any:
        for transform in steps:
            data = transform(data)
        return last(data)

    return arithmetic([step for _, step in estimator.steps], method, short)


def _numeric(estimator: Any) -> list[Any]:
    """The estimator and all inside it, if only known numeric code sees the input.

    Empty when something of the author's could: it may look at names or at the kind of the input.
    """
    seen: list[Any] = []
    inside = [estimator]
    while inside:
        each = inside.pop()
        kind = type(each)
        if not kind.__module__.startswith(_KNOWN) or kind.__name__ in _NAME_READERS:
            return []
        seen.append(each)
        for part in _parts([*each.get_params(deep=False).values(), *vars(each).values()]):
            if hasattr(part, "get_params"):
                if not any(part is other for other in [*seen, *inside]):
                    inside.append(part)
            elif callable(part) and not _is_sklearns(part):
                return []
    return seen


def _is_sklearns(part: Any) -> bool:
    """A function of its own, or a callable thing such as a loss."""
    names = [getattr(part, "__module__", None), type(part).__module__]
    return any(str(name).startswith(("sklearn.", "_loss")) for name in names)


def _parts(values: list[Any]) -> list[Any]:
    """The values and what lists and tuples among them hold."""
    found: list[Any] = []
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, list | tuple):
            waiting += value
        else:
            found.append(value)
    return found


def identical(one: Any, other: Any) -> bool:
    """The same bits in arrays of the same kind."""
    return (
        isinstance(one, np.ndarray)
        and isinstance(other, np.ndarray)
        and one.dtype == other.dtype
        and one.shape == other.shape
        and one.tobytes() == other.tobytes()
    )
