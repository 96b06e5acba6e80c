"""Steps 10 and 11: what labels say, and what training should not have believed.

Labels that are late are no proof of anything; then it says nothing but that.
"""

import math

from serinus.parity.contract import Metric
from serinus.parity.diagnosis.distance import ENOUGH
from serinus.parity.diagnosis.finding import Confidence, Finding, family
from serinus.parity.diagnosis.values import Measured
from serinus.parity.diagnosis.view import Found, View, fact
from serinus.parity.metric import higher_is_better

__all__ = ["leakage", "outcomes"]

_FEWEST_LABELS = 200
_ARRIVED = 0.5
_DROP = 0.02
_UNEVEN = 0.25
_SIGMAS, _SIGMAS_OF_PARTS = 3.0, 5.0
#: Standard deviations of squared errors, in those of a normal distribution.
_HEAVY = 5.0


def outcomes(view: View, explained: bool, shifted: bool) -> Found:
    """Step 10; ``explained`` when something exact was found, ``shifted`` when inputs changed."""
    found, measured = Found(), view.snapshot.measured
    if not measured:
        found.missing.append("No outcomes were reported, so a change of concept is not excluded.")
        return found
    for each in measured:
        # Labels that depend on the decision stay uneven, however many have come.
        if _uneven(each):
            found.findings.append(_selected(each))
        elif each.labels < max(_FEWEST_LABELS, _ARRIVED * each.due):
            _too_early(view, found, each)
        else:
            _judge(view, found, each, explained, shifted)
    return found


def _too_early(view: View, found: Found, each: Measured) -> None:
    text = (
        f"Only {each.labels} of {each.due} labels have arrived"
        f"{f' for {each.part}' if each.part else ''}: too early for {each.metric}."
    )
    found.missing.append(text)
    claimed = next((m for m in view.snapshot.contract.metrics if m.name == each.metric), None)
    if claimed is None or not each.labels or found.findings:
        return
    worse = (claimed.offline - each.value) * (1.0 if higher_is_better(each.metric) else -1.0)
    if worse > _DROP:
        found.findings.append(
            Finding(
                verdict=family("inconclusive"),
                detail="inconclusive.labels_late",
                confidence=Confidence.INCONCLUSIVE,
                evidence=[
                    fact(
                        f"{text} So far it is {each.value:.3f}, {claimed.offline:.3f} at training; "
                        "labels that come late are not like those that come first"
                    )
                ],
                step=10,
            )
        )


def _uneven(each: Measured) -> bool:
    if each.labelled_yes is None or each.labelled_no is None:
        return False
    return abs(each.labelled_yes - each.labelled_no) > _UNEVEN


def _selected(each: Measured) -> Finding:
    return Finding(
        verdict=family("drift"),
        detail="drift.scoring",
        confidence=Confidence.STRONG,
        evidence=[
            fact(
                f"{each.labelled_yes or 0:.0%} of the rows decided yes have a label, "
                f"{each.labelled_no or 0:.0%} of those decided no: the labels are chosen by the "
                "model itself, and figures or training on them are biased"
            )
        ],
        step=10,
        pattern="feedback loop",
    )


def _judge(view: View, found: Found, each: Measured, explained: bool, shifted: bool) -> None:
    claimed = next((m for m in view.snapshot.contract.metrics if m.name == each.metric), None)
    target = each.before if each.part and each.before is not None else None
    if target is None and claimed is not None and not each.part:
        target = claimed.as_served if claimed.as_served is not None else claimed.offline
    earlier = target is None or bool(each.part)
    target = each.before if target is None else target
    if target is None:
        found.missing.append(
            f"{each.metric} is {each.value:.3f} on {each.labels} labels, but neither training nor "
            "the time before the window has a figure to compare it with."
        )
        return
    worse = (target - each.value) * (1.0 if higher_is_better(each.metric) else -1.0)
    least = _DROP if higher_is_better(each.metric) else _DROP * abs(target)
    if worse < max(least, _significant(claimed, each, target)):
        if not each.part:
            found.exclude(
                "drift.concept",
                f"{each.metric} on {each.labels} labels is {each.value:.3f}, "
                f"{'as before' if earlier else 'as claimed'} (step 10)",
            )
        return
    text = (
        f"{each.metric} is {each.value:.3f} on {each.labels} labels"
        f"{f' of {each.part}' if each.part else ''}, {target:.3f} "
        f"{'before' if earlier else 'at training'}"
        f"{f' by {each.before_version}' if each.before_version else ''}"
    )
    if each.part and found.findings:
        return  # all of the traffic is worse, and this is part of it
    if explained or shifted:
        found.notes.append(f"{text}; what was found above may explain it.")
        return
    if not (each.part or _inputs_compared(view)):
        found.findings.append(_of_unknown_inputs(text))
        return
    detail = "model.quality" if each.part else "drift.concept"
    found.findings.append(
        Finding(
            verdict=family(detail),
            detail=detail,
            confidence=Confidence.STRONG,
            evidence=[
                fact(text),
                *([fact("the inputs are as in training")] if _inputs_compared(view) else []),
            ],
            step=10,
            pattern=each.part,
        )
    )


def _inputs_compared(view: View) -> bool:
    """Whether step 9 had enough rows on both sides to say that the inputs are unchanged."""
    return view.profiled and view.whole.sketch.rows >= ENOUGH


def _of_unknown_inputs(text: str) -> Finding:
    return Finding(
        verdict=family("inconclusive"),
        detail="inconclusive.inputs_unknown",
        confidence=Confidence.INCONCLUSIVE,
        evidence=[
            fact(
                f"{text}; whether the inputs or what they mean has changed can't be said, since "
                "there are too few rows to compare the inputs with training's"
            )
        ],
        step=10,
    )


def _significant(claimed: Metric | None, each: Measured, target: float) -> float:
    """How much worse it must be to be no chance."""
    if each.part and each.before_labels:
        # Many parts are looked at, and both of their figures are of samples.
        spread = max(target * (1 - target), 1e-4) if 0 <= target <= 1 else 1e-4
        return _SIGMAS_OF_PARTS * math.sqrt(spread / each.labels + spread / each.before_labels)
    return _SIGMAS * _error(claimed, each, target)


def _error(claimed: Metric | None, each: Measured, target: float) -> float:
    """One standard error of the live figure, from the interval that training gave."""
    if claimed is not None and claimed.low is not None and claimed.high is not None:
        offline = (claimed.high - claimed.low) / 4
        return offline * math.sqrt(1 + max(claimed.rows, 1) / max(each.labels, 1))
    if not higher_is_better(each.metric):
        # Of a root mean square on both sides; how heavy the tails of the errors are is not known.
        rows = claimed.rows if claimed is not None and claimed.rows else each.labels
        return _HEAVY * abs(target) * math.sqrt(0.5 / max(each.labels, 1) + 0.5 / max(rows, 1))
    share = min(max(target, 0.0), 1.0)
    return math.sqrt(max(share * (1 - share), 1e-4) / max(each.labels, 1))


def leakage(view: View) -> Found:
    """Step 11."""
    found = Found()
    for each in view.snapshot.contract.metrics:
        if each.as_served is None or not each.masked:
            continue
        worse = (each.offline - each.as_served) * (1.0 if higher_is_better(each.name) else -1.0)
        if worse > _DROP:
            found.findings.append(
                Finding(
                    verdict=family("model"),
                    detail="model.leakage",
                    confidence=Confidence.EXACT,
                    features=list(each.masked),
                    share=1.0,
                    evidence=[
                        fact(
                            f"{each.name} was {each.offline:.3f} at training and is "
                            f"{each.as_served:.3f} with what serving knows: "
                            f"{', '.join(each.masked)} come too late"
                        )
                    ],
                    step=11,
                    pattern="known only after the prediction",
                )
            )
    if not found.findings and view.snapshot.contract.metrics:
        found.exclude("model.leakage", "the metric as served equals the one of training (step 11)")
    return found
