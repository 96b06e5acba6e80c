"""Step 7: recorded rows computed again by the model as it was trained, stage by stage.

It catches what depends on inputs that no golden row has. Stages that were not recorded are not
compared.
"""

import numpy as np

from serinus.parity.arrays import differing
from serinus.parity.diagnosis.finding import Confidence, Finding, family
from serinus.parity.diagnosis.view import Found, View, fact
from serinus.parity.stages import tolerance_of

__all__ = ["recompute"]

_FEWEST_ROWS = 20
_CLASS = {
    "S3": "preprocessing.transform",
    "S4": "model.bug",
    "S5": "preprocessing.decision",
    "answer": "model.bug",
}


def recompute(view: View) -> Found:
    """Step 7."""
    found, rows, reference = Found(), view.snapshot.rows, view.snapshot.reference
    if reference is None or len(rows) < _FEWEST_ROWS or not rows.stages:
        found.notes.append(
            "Recorded rows were not computed again: no reference model, or no recorded stages."
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
            if view.snapshot.environment and stage != "S5":
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
