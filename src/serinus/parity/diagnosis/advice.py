"""What to do next and what not to do, by class. Sentences only."""

from serinus.parity.diagnosis.finding import Confidence, Diagnosis, Finding, Verdict

__all__ = ["advice", "fault_in", "may_retrain"]

_LEARN_BUG = "Do not retrain: training on these rows would learn the bug."
_NO_ROUTING = "Do not roll back for this: every version gets the same wrong values."

#: Of requests that were refused: the rule is there, and nothing wrong was answered.
_REFUSED = (
    ["Show the evidence to {who}, and have the requests corrected: they get no answer."],
    ["Do not retrain: what is refused gets no answer, so no answer is wrong by it."],
)
_NEXT: dict[Verdict, tuple[list[str], list[str]]] = {
    Verdict.SCHEMA: (
        [
            "Show the evidence to {who}, and have the requests corrected.",
            "Declare the rule in the contract, so that such values are refused.",
        ],
        [_LEARN_BUG, _NO_ROUTING],
    ),
    Verdict.PREPROCESSING: (
        [
            "Compare the endpoint's code with training's ({pattern}), and deploy the corrected "
            "version as a rollout."
        ],
        [_LEARN_BUG],
    ),
    Verdict.AVAILABILITY: (
        ["Find out why the feature store has no value for {features}; backfill it."],
        [_LEARN_BUG, _NO_ROUTING],
    ),
    Verdict.STALENESS: (
        ["Look at the job that fills {features}: it is late or has stopped."],
        [_LEARN_BUG, _NO_ROUTING],
    ),
    Verdict.ENVIRONMENT: (
        ["Pin the libraries of training in the model's requirements and deploy again."],
        ["Do not retrain: the model is right, what runs it is not."],
    ),
    Verdict.ROUTING: (
        ["Compare the endpoint's config with what serves: serinus endpoints get {endpoint}."],
        ["Do not retrain: another version than intended answers."],
    ),
    Verdict.MODEL: (
        ["Verify the model's files and deploy the version again: serinus verify."],
        ["Do not shift more traffic to this version."],
    ),
    Verdict.DRIFT: (
        ["Retrain on newer data; parity has passed, so the rows are fit to learn from."],
        ["Do not look for a bug in the pipeline first: it was excluded."],
    ),
    Verdict.INCONCLUSIVE: (
        ["Bring the missing evidence, then diagnose again."],
        ["Do not retrain and do not call it drift: neither is proved."],
    ),
    Verdict.HEALTHY: ([], []),
}


def advice(
    endpoint: str, findings: list[Finding], verdict: Verdict, missing: list[str]
) -> tuple[list[str], list[str]]:
    """What to do next and what not to do, for the first finding and whatever else holds."""
    first = findings[0] if findings else None
    words = {
        "who": ", ".join(first.callers) if first and first.callers else "whoever sends them",
        "features": ", ".join(first.features) if first and first.features else "it",
        "pattern": (first.pattern if first else "") or "the stage that differs",
        "endpoint": endpoint,
    }
    todo, avoid = _REFUSED if _refused(first) else _NEXT[verdict]
    following = [each.format(**words) for each in todo]
    forbidden = list(avoid)
    if verdict is Verdict.INCONCLUSIVE:
        following += missing[:3]
    if verdict is Verdict.DRIFT and any(each.verdict is not Verdict.DRIFT for each in findings):
        following = ["Settle the other findings first; they may be part of it."]
    if verdict is not Verdict.DRIFT and any(each.verdict is Verdict.DRIFT for each in findings):
        following.append("Correct this first; then diagnose the drift again.")
    return following, forbidden


def _refused(first: Finding | None) -> bool:
    return first is not None and first.pattern.startswith("refused")


def fault_in(found: Diagnosis) -> str | None:
    """The first fault that is proved, as a phrase; empty: none is; None: it proves neither.

    A change of the world is no fault, and a suspicion no proof.
    """
    proved = (Confidence.EXACT, Confidence.STRONG)
    for each in found.findings:
        if each.verdict not in (Verdict.DRIFT, Verdict.INCONCLUSIVE) and each.confidence in proved:
            where = f" in {', '.join(each.features[:5])}" if each.features else ""
            return f"{each.detail}{where} ({each.confidence.value})"
    return "" if found.verdict in (Verdict.HEALTHY, Verdict.DRIFT) else None


def may_retrain(last: Diagnosis | None, *, fresh: bool) -> tuple[bool, str]:
    """Whether CI may retrain or promote by the last diagnosis, and why (not)."""
    if last is None:
        return False, "No diagnosis was made yet; make one first."
    if last.verdict not in (Verdict.HEALTHY, Verdict.DRIFT):
        return False, (
            f"The last diagnosis is {last.detail} ({last.confidence.value}): training now would "
            "learn from rows that are wrong or not proved."
        )
    others = [each for each in last.findings if each.verdict is not Verdict.DRIFT]
    if others:
        return False, f"Beside drift there is {others[0].detail}; settle that first."
    if not fresh:
        return (
            False,
            "The evidence for parity is older than the window; diagnose again with --live.",
        )
    return True, f"The last diagnosis is {last.verdict.value}, and parity passed in its window."
