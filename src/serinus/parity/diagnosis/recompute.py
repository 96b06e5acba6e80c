"""Step 7: recorded rows computed again, stage by stage: by the model as it was trained, or alone.

It catches what depends on inputs that no golden row has, and what depends on the company of a row,
on the time or on what came before. Stages that were not recorded are not compared.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from serinus.parity.arrays import StageValues, differing
from serinus.parity.diagnosis.finding import Confidence, Finding, family
from serinus.parity.diagnosis.view import Found, View, fact
from serinus.parity.jumps import excused
from serinus.parity.stages import tolerance_of

__all__ = ["recompute"]

_FEWEST_ROWS = 20
_SHOWN = 5
_CLASS = {
    "S3": "preprocessing.transform",
    "S4": "model.bug",
    "S5": "preprocessing.decision",
    "answer": "model.bug",
}
_DEPENDS = "it depends on the rest of the batch, on the time, or on what came before"


def recompute(view: View) -> Found:
    """Step 7."""
    found = _apart(view)
    again = _again(view)
    if found.findings and again.findings:
        # One cause: what differs at a stage differs in the answer.
        first = found.findings[0]
        both = [*first.evidence, *again.findings[0].evidence]
        found.findings = [msgspec.structs.replace(first, evidence=both)]
        again.findings = []
    found.add(again)
    rows, reference = view.snapshot.rows, view.snapshot.reference
    if reference is None or len(rows) < _FEWEST_ROWS or not rows.stages:
        if view.snapshot.staged is None:
            found.notes.append(
                "Recorded rows were not computed by stages: no reference model, or no recorded "
                "stages."
            )
        return found
    compared, finding = _first(rows.ids, reference.stages(rows), rows.stages)
    if finding is not None:
        detail = _blamed(view, finding.detail)
        finding = msgspec.structs.replace(finding, verdict=family(detail), detail=detail)
        found.findings.append(finding)
    elif compared:
        test = f"{len(rows)} recorded rows computed again, equal at {', '.join(compared)} (step 7)"
        for fault in ("preprocessing", "model"):
            found.exclude(fault, test)
    return found


def _first(
    ids: Sequence[str],
    expected: Mapping[str, StageValues],
    got: Mapping[str, StageValues],
    why: str = "",
) -> tuple[list[str], Finding | None]:
    """The stages that were compared, and the first of them that differs."""
    compared: list[str] = []
    for stage in (each for each in _in_order(expected) if each in got):
        compared.append(stage)
        try:
            far = differing(expected[stage], got[stage], tolerance_of(stage))
        except ValueError as error:
            far = np.ones(len(ids), dtype=bool)
            text = f"{stage} has another shape: {error}"
        else:
            far &= ~excused(far, expected, got, stage)
            text = f"{int(far.sum())} of {len(ids)} recorded rows differ at {stage}{why}"
        if far.any():
            detail = _CLASS[stage.partition(":")[0]]
            return compared, Finding(
                verdict=family(detail),
                detail=detail,
                confidence=Confidence.EXACT,
                share=float(far.mean()),
                evidence=[fact(text, rows=[ids[at] for at in np.flatnonzero(far)[:_SHOWN]])],
                step=7,
                pattern=f"first difference at {stage}",
            )
    return compared, None


def _in_order(stages: Mapping[str, StageValues]) -> list[str]:
    """S3 with its steps before it, then what follows from it."""
    steps = [name for name in stages if name.startswith("S3:")]
    return [each for each in (*steps, "S3", "S4", "S5", "answer") if each in stages]


def _blamed(view: View, detail: str) -> str:
    """The environment, where it differs and can be the cause."""
    if not view.libraries or detail == "preprocessing.decision":
        return detail
    transform = detail == "preprocessing.transform"
    return "environment.transform" if transform else "environment.score"


def _apart(view: View) -> Found:
    """What the serving process computed of sampled rows, beside the same rows each alone.

    The same model computes both: this proves that it contradicts itself, and where, and excludes
    nothing that is wrong each time alike. Libraries that differ are no cause of it.
    """
    found, staged = Found(), view.snapshot.staged
    if staged is None or not staged.ids:
        return found
    compared, finding = _first(
        staged.ids, staged.alone, staged.then, f" from the same row asked alone: {_DEPENDS}"
    )
    if finding is not None:
        found.findings.append(finding)
    elif compared:
        found.notes.append(
            f"{len(staged.ids)} recorded rows, taken apart alone, are what they were when they "
            f"came, at {', '.join(compared)}."
        )
    return found


def _again(view: View) -> Found:
    """Recorded requests that a replica was asked once more, each alone."""
    found, repeated = Found(), view.snapshot.repeated
    if repeated is None or not repeated.rows:
        return found
    count = len(repeated.otherwise)
    if not count:
        # It is the same process: this excludes nothing that is wrong for every request alike.
        found.notes.append(
            f"{repeated.rows} recorded rows, asked again alone, had the same answers as before."
        )
        return found
    found.findings.append(
        Finding(
            verdict=family("model.bug"),
            detail="model.bug",
            confidence=Confidence.EXACT,
            share=count / repeated.rows,
            evidence=[
                fact(
                    f"{count} of {repeated.rows} recorded rows have another answer when they are "
                    f"asked again alone: {_DEPENDS}",
                    rows=repeated.otherwise[:_SHOWN],
                )
            ],
            step=7,
            pattern="another answer to the same request",
        )
    )
    return found
