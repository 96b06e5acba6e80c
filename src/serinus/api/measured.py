"""How good sampled answers were, by the outcomes that were told of their requests.

An outcome named ``label`` is the true class (0 or 1); any other is how good the answer was, and one
without a name counts as accuracy. It judges nothing.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np

from serinus.api.sliced import Answered, Earlier, parts_of
from serinus.parity.contract import Contract, Outputs
from serinus.parity.diagnosis.values import Measured
from serinus.parity.metric import METRICS
from serinus.parity.scores import one_a_row
from serinus.store.samples import Sampled

__all__ = ["LABEL", "answer_of", "measured_of"]

#: The outcome that is the truth itself.
LABEL = "label"
_UNNAMED = "accuracy"
#: Of a side of the decision, and standard errors between the two: else their shares mean nothing.
_FEWEST, _SIGMAS = 10, 5.0
_HALF = 0.5
#: Outcomes of earlier requests that are enough to compare with.
_FEWEST_BEFORE = 200


class _Answer(msgspec.Struct):
    predictions: Any = None


def measured_of(
    some: Iterable[Sampled],
    contract: Contract,
    since: float,
    others: Callable[[], list[Sampled]] = list,
) -> list[Measured] | None:
    """One figure for each metric, of the requests since a time; those before it are to compare.

    Parts of the traffic come behind all of it; where this version has no past, they are compared
    with what the versions before it answered, of which ``others`` gives the requests. None when no
    outcome of any sampled request was told.
    """
    rows: list[Answered] = []
    earlier: list[Answered] = []
    for each, answer in _answered(some, contract):
        (rows if each.record.at >= since else earlier).append((each, answer))
    found: list[Measured] = []
    for name in sorted({name for each, _ in rows for name in each.outcomes}):
        told = _told(rows, name)
        yes, no = _labelled(rows, name, contract.outputs)
        past = _told(earlier, name)
        before = dict(_figures(name, past, contract)) if len(past) >= _FEWEST_BEFORE else {}
        for metric, value in _figures(name, told, contract):
            found.append(
                Measured(
                    metric=metric,
                    value=value,
                    labels=len(told),
                    due=len(rows),
                    before=before.get(metric),
                    labelled_yes=yes,
                    labelled_no=no,
                )
            )
    if found:
        names = {name for each, _ in rows for name in each.outcomes}
        then = _before(earlier, names, contract, others)
        for name in sorted(names):
            figure = partial(_share_right, name, contract.outputs)
            found += parts_of(rows, then, contract, name, figure)
    return found or None


def _answered(some: Iterable[Sampled], contract: Contract) -> Iterator[Answered]:
    for each in some:
        if not each.record.violation:
            answer = answer_of(each.record.answer, contract.outputs)
            if answer is not None:
                yield each, answer


def _before(
    own: list[Answered],
    names: set[str],
    contract: Contract,
    others: Callable[[], list[Sampled]],
) -> Earlier:
    if sum(not names.isdisjoint(each.outcomes) for each, _ in own) >= _FEWEST_BEFORE:
        return Earlier(own)
    found = list(_answered(others(), contract))
    version = Counter(each.served_name for each, _ in found).most_common(1)
    return Earlier(found, version[0][0] if version else "")


def _share_right(
    name: str, outputs: Outputs, told: Sequence[tuple[float, Any]]
) -> tuple[str, float]:
    if name != LABEL:
        return name or _UNNAMED, float(np.mean([value for value, _ in told]))
    decided = _decider(outputs)
    return _UNNAMED, float(np.mean([decided(answer) == (value > _HALF) for value, answer in told]))


def _told(rows: list[tuple[Sampled, Any]], name: str) -> list[tuple[float, Any]]:
    return [(each.outcomes[name], answer) for each, answer in rows if name in each.outcomes]


def answer_of(body: bytes, outputs: Outputs) -> Any | None:
    """The answer to a request of one row, as a number or a text; None where it can't be read."""
    try:
        predictions = msgspec.json.decode(body, type=_Answer).predictions
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    values = one_a_row(predictions, 1, outputs.column)
    return None if values is None else values[0].item()


def _figures(
    name: str, told: list[tuple[float, Any]], contract: Contract
) -> Iterable[tuple[str, float]]:
    values = np.array([value for value, _ in told], dtype=np.float64)
    if name != LABEL:
        yield name or _UNNAMED, float(values.mean())
        return
    decided = _decider(contract.outputs)
    claimed = [each.name for each in contract.metrics if each.name in ("accuracy", "roc_auc")]
    if contract.outputs.kind not in ("probability", "number"):
        claimed = []  # a class has no order among the rows
    for metric in dict.fromkeys([*claimed, "accuracy"]):
        of: list[Any] = [answer for _, answer in told]
        if metric == "accuracy":
            of = [decided(answer) for answer in of]
        if any(isinstance(each, str) or each is None for each in of):
            continue
        figure = METRICS[metric](values > _HALF, np.array(of, dtype=np.float64))
        if math.isfinite(figure):
            yield metric, figure


def _labelled(
    rows: list[tuple[Sampled, Any]], name: str, outputs: Outputs
) -> tuple[float | None, float | None]:
    """Of the rows decided yes, and of those decided no, the share that has this outcome."""
    decided = _decider(outputs)
    sides: dict[bool, list[bool]] = {True: [], False: []}
    for each, answer in rows:
        decision = decided(answer)
        if decision is not None:
            sides[decision].append(name in each.outcomes)
    if min(map(len, sides.values())) < _FEWEST:
        return None, None
    yes, no = float(np.mean(sides[True])), float(np.mean(sides[False]))
    both = float(np.mean(sides[True] + sides[False]))
    spread = math.sqrt(both * (1 - both) * sum(1 / len(each) for each in sides.values()))
    return (yes, no) if abs(yes - no) >= _SIGMAS * spread else (None, None)


def _decider(outputs: Outputs) -> Callable[[Any], bool | None]:
    """What an answer decides; None where it is neither yes nor no."""

    def decide(answer: Any) -> bool | None:
        if isinstance(answer, bool):
            return answer
        if len(outputs.classes) == 2 and (outputs.kind == "class" or isinstance(answer, str)):
            place = [_text(each) for each in outputs.classes]
            said = _text(answer)
            return said == place[1] if said in place else None
        if isinstance(answer, str):
            return None
        if outputs.threshold is not None:
            return bool(answer >= outputs.threshold)
        if outputs.kind == "probability":
            return bool(answer >= _HALF)
        return bool(answer) if answer in (0, 1) else None

    return decide


def _text(value: Any) -> str:
    try:
        return repr(float(value))
    except (TypeError, ValueError):
        return str(value)
