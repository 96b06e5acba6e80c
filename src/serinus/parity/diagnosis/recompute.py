"""Step 7: recorded rows computed again by the model as it was trained, or asked once more.

It catches what depends on inputs that no golden row has, and answers that depend on what else was
asked. Stages that were not recorded are not compared.
"""

import numpy as np

from serinus.parity.arrays import differing
from serinus.parity.diagnosis.finding import Confidence, Finding, family
from serinus.parity.diagnosis.view import Found, View, fact
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


def recompute(view: View) -> Found:
    """Step 7."""
    found = _again(view)
    rows, reference = view.snapshot.rows, view.snapshot.reference
    if reference is None or len(rows) < _FEWEST_ROWS or not rows.stages:
        found.notes.append(
            "Recorded rows were not computed by stages: no reference model, or no recorded stages."
        )
        return found
    expected = reference.stages(rows)
    compared = []
    for stage in ("S3", "S4", "S5", "answer"):
        if stage not in expected or stage not in rows.stages:
            continue
        compared.append(stage)
        try:
            far = differing(expected[stage], rows.stages[stage], tolerance_of(stage))
        except ValueError as error:
            far = np.ones(len(rows), dtype=bool)
            text = f"{stage} has another shape: {error}"
        else:
            text = f"{int(far.sum())} of {len(rows)} recorded rows differ at {stage}"
        if far.any():
            detail = _CLASS[stage]
            if view.libraries and stage != "S5":
                detail = "environment.transform" if stage == "S3" else "environment.score"
            found.findings.append(
                Finding(
                    verdict=family(detail),
                    detail=detail,
                    confidence=Confidence.EXACT,
                    share=float(far.mean()),
                    evidence=[fact(text, rows=rows.examples(far))],
                    step=7,
                    pattern=f"first difference at {stage}",
                )
            )
            return found
    if compared:
        test = f"{len(rows)} recorded rows computed again, equal at {', '.join(compared)} (step 7)"
        for fault in ("preprocessing", "model"):
            found.exclude(fault, test)
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
                    "asked again alone: it depends on the rest of the batch, on the time, or on "
                    "what came before",
                    rows=repeated.otherwise[:_SHOWN],
                )
            ],
            step=7,
            pattern="another answer to the same request",
        )
    )
    return found
