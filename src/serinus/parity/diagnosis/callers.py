"""Whether a change in one caller's rows is one at all: callers differ from each other by nature.

Training had the rows of all of them together, so only all together can be laid beside it. It looks
for no change by itself.
"""

from serinus.parity.contract import Kind
from serinus.parity.diagnosis.distance import ENOUGH
from serinus.parity.diagnosis.moved import expected_new, field_gap
from serinus.parity.diagnosis.suspect import Suspect
from serinus.parity.diagnosis.view import Part, View

__all__ = ["others_as_trained", "seen_in_all", "senders"]

#: How improbable the difference of all rows together must be without any change.
_CHANCE = 1e-3
#: A caller with fewer rows shows nothing of how it is distributed.
_FEWEST_ROWS = 200
_FEWEST, _STRANGE = 5, 0.005
#: Share of the strange values that those who send them have together.
_NEARLY_ALL = 0.98


def seen_in_all(view: View, suspect: Suspect) -> bool:
    """False when all callers together look as in training: then this one sends what it always did.

    What one caller changed is missing from the counts of all, or new in them.
    """
    if suspect.part.caller is None or view.whole.sketch.rows < ENOUGH:
        return True
    for name in suspect.fields:
        field = view.snapshot.contract.field(name)
        least = max(_FEWEST, _STRANGE * suspect.part.field(name).n)
        if field is None or _strange(suspect.part, name) >= least:
            return True
        found = field_gap(view, field, view.whole.field(name))
        if found is None or found.chance <= _CHANCE:
            return True
    return False


def senders(view: View, name: str) -> list[str]:
    """The callers that nearly all values came from that training could not have had.

    Empty when everybody sends them, or when there are none.
    """
    counts = {caller: _strange(part, name) for caller, part in view.callers.items()}
    total = sum(counts.values())
    if total < max(_FEWEST, _STRANGE * view.whole.field(name).n):
        return []
    found: list[str] = []
    for caller in sorted(counts, key=lambda each: -counts[each]):
        if sum(counts[each] for each in found) >= _NEARLY_ALL * total:
            break
        found.append(caller)
    rest = sum(part.sketch.rows for each, part in view.callers.items() if each not in found)
    # Some few rows might lack them by chance.
    return sorted(found) if rest >= _FEWEST_ROWS else []


def _strange(part: Part, name: str) -> int:
    """How many values no caller of training had."""
    sketch, trained = part.field(name), part.view.baseline(name)
    counts = [sketch.novel, sketch.off_grid]
    if not trained.negative:
        counts.append(sketch.negative)
    gone, usual = sketch.null + sketch.missing + sketch.nan, trained.null + trained.nan
    if not usual:
        counts.append(gone)
    if not trained.empty:
        counts.append(sketch.empty)
    field = part.view.snapshot.contract.field(name)
    if field is not None and field.type.logical is Kind.TEXT:
        counts.append(int(sketch.other - 2 * expected_new(trained) * sketch.n))
    return max(counts)


def others_as_trained(view: View, name: str, guilty: list[str]) -> bool:
    """Whether a field of every other caller is as in training: where all differ, one says nothing.

    False when there is none other that has enough rows.
    """
    field = view.snapshot.contract.field(name)
    others = [
        part
        for caller, part in view.callers.items()
        if caller not in guilty and part.sketch.rows >= _FEWEST_ROWS
    ]
    if field is None or not others:
        return False
    gaps = [field_gap(view, field, part.field(name)) for part in others]
    return all(each is None or not each.apart for each in gaps)
