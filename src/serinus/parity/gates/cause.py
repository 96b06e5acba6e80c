"""What differing golden rows say: the class of their fault, and the words that tell it."""

from typing import Any

import numpy as np

from serinus.parity.folder import Bundle
from serinus.parity.gates.comparing import Mismatch, shown
from serinus.parity.wire import Running

__all__ = ["fault_of", "in_words"]


def fault_of(
    stage: str, bundle: Bundle, running: Running, *, environment: bool, hidden: bool
) -> str:
    """The class, by the first stage that differs.

    ``environment``: a library that is known to matter differs. ``hidden``: no stage before the
    answer was seen.
    """
    if stage in ("S1", "S2"):
        return "preprocessing.parse"
    if stage == "S5":
        return "preprocessing.decision"
    if environment:
        return "environment"
    if stage == "S4" or hidden:
        if _changed(bundle.contract.model.parameters, running.parameters):
            return "model.artefact"
        return "model" if hidden else "model.bug"
    if stage == "answer":
        return "model.bug"
    return "preprocessing.transform"


def _changed(trained: dict[str, str], running: dict[str, str]) -> list[str]:
    return sorted(name for name in trained if running.get(name, trained[name]) != trained[name])


def in_words(bundle: Bundle, bad: Mismatch, running: Running, unseen: str) -> str:
    """The first stage that differs, what its rows have in common, and what else has changed."""
    sentences = [
        f"{bad.stage} differs on {bad.count} of {len(bad.rows)} golden rows; {bad.detail}."
    ]
    cases = _kind_of_rows(bundle, bad)
    if cases:
        sentences.append(f"Only rows {cases} differ.")
    for what, trained, now in (
        ("fitted parameters", bundle.contract.model.parameters, running.parameters),
        ("code", bundle.contract.model.code, running.code),
    ):
        changed = _changed(trained, now)
        if changed:
            sentences.append(f"The {what} of {', '.join(changed[:5])} are not those of training.")
    zone = "" if running.lock is None else running.lock.timezone
    if zone and bundle.lock.timezone and zone != bundle.lock.timezone:
        sentences.append(f"The time zone is {zone}; at training it was {bundle.lock.timezone}.")
    if unseen:
        sentences.append(f"Not seen: {unseen}.")
    return " ".join(sentences)


def _kind_of_rows(bundle: Bundle, bad: Mismatch) -> str:
    """What the differing rows have in common and no other row has: a null, or one text."""
    stage = next((each for each in bundle.contract.stages if each.name == "S1"), None)
    values = bundle.stages.get("S1")
    if stage is None or values is None or bad.count in (0, len(bad.rows)):
        return ""
    for name, column in zip(stage.columns, values, strict=False):
        cells = np.array([_cell(each) for each in column], dtype=object)
        inside, outside = set(cells[bad.rows]), set(cells[~bad.rows])
        if len(inside) == 1 and not inside & outside and bad.count > 1:
            one = next(iter(inside))
            return f"with a null in '{name}'" if one is None else f"with '{name}' = {shown(one)}"
    return ""


def _cell(value: Any) -> Any:
    return None if value is None or value != value else value
