"""Whether the evidence lets the candidate take more. Silence is never a yes. Pure.

Three rules (the spec's ``advance``); for each the *next* exposure is what must be proved:

- ``when-safe``: every verdict is SAFE up to the next weight;
- ``when-no-regression`` and ``{after: T}``: there is data, and none is REGRESSED or INVALID.

Before the candidate has any weight there can be no proof, so the first step asks only that nothing
is REGRESSED or INVALID; how much that first step risks is the person's choice of its weight.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from serinus.rollout.amount import show_percent
from serinus.rollout.events import Facts, GuardrailVerdict, Verdict
from serinus.rollout.spec import AdvanceRule, OnFail, OnSilence, RolloutSpec
from serinus.rollout.state import Cause

__all__ = ["Closed", "Danger", "danger", "findings", "gate", "summary"]


@dataclass(frozen=True, slots=True)
class Closed:
    """It may not go on because of ``cause``; ``text`` is what it waits for.

    ``why`` says what stops it, where something does; it must read the same at every look.
    """

    cause: Cause
    text: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Danger:
    """Why it must roll back now."""

    cause: Cause
    reason: str


def findings(spec: RolloutSpec, facts: Facts) -> tuple[GuardrailVerdict, ...]:
    """Every verdict that counts: a guardrail of the spec that says nothing is NO_DATA.

    Without guardrails nothing counts: the person decided to go by time and approvals.
    """
    if not spec.guardrails:
        return ()
    missing = tuple(
        GuardrailVerdict(guardrail.name, Verdict.NO_DATA, "nothing was measured yet")
        for guardrail in spec.guardrails
        if not any(_belongs(each, guardrail.name) for each in facts.verdicts)
    )
    return facts.verdicts + missing


def danger(spec: RolloutSpec, facts: Facts) -> Danger | None:
    """What the verdicts roll back for, at whatever point it stands."""
    holding = [each.name for each in spec.guardrails if each.on_fail is OnFail.HOLD]
    for each in findings(spec, facts):
        held = any(_belongs(each, name) for name in holding)
        if each.verdict is Verdict.REGRESSED and not held:
            return Danger(Cause.REGRESSED, _sentence(each, "regressed"))
        if each.verdict is Verdict.INVALID and spec.on.invalid is OnSilence.ROLLBACK:
            return Danger(Cause.INVALID, _sentence(each, "cannot be judged"))
    return None


def gate(
    spec: RolloutSpec,
    facts: Facts,
    *,
    now_bp: int,
    next_bp: int,
    compare: bool = True,
    forgive_no_data: bool = False,
) -> Closed | None:
    """What keeps the candidate from going from ``now_bp`` to ``next_bp``; None: nothing.

    ``compare=False``: there is no stable traffic to compare with any more, so only REGRESSED and
    INVALID close it. ``forgive_no_data``: the person wrote ``on: {no_data: advance}``.
    """
    found = findings(spec, facts)
    ranked: list[tuple[Cause, list[GuardrailVerdict]]] = [
        (Cause.REGRESSED, [f for f in found if f.verdict is Verdict.REGRESSED]),
        (Cause.INVALID, [f for f in found if f.verdict is Verdict.INVALID]),
    ]
    if now_bp and compare:
        if not forgive_no_data:
            ranked.append((Cause.NO_DATA, [f for f in found if f.verdict is Verdict.NO_DATA]))
        if spec.advance.rule is AdvanceRule.WHEN_SAFE:
            ranked.append((Cause.UNDECIDED, [f for f in found if _unproved(f, next_bp)]))
    for cause, against in ranked:
        if against:
            names = _listed(dict.fromkeys(each.name for each in against))
            return Closed(cause, _wait(cause, names, next_bp), _why(cause, names))
    return None


def summary(spec: RolloutSpec, facts: Facts) -> str:
    """All verdicts in one line."""
    found = findings(spec, facts)
    return ", ".join(f"{each.name} {each.verdict.value}" for each in found) or "no guardrails"


def _unproved(each: GuardrailVerdict, next_bp: int) -> bool:
    if each.verdict is Verdict.SAFE:
        return each.safe_for_bp < next_bp
    return each.verdict is Verdict.UNDECIDED


def _belongs(each: GuardrailVerdict, name: str) -> bool:
    return each.name == name or each.name.startswith(f"{name}.")


def _sentence(each: GuardrailVerdict, what: str) -> str:
    detail = f": {each.reason.rstrip('.')}" if each.reason else ""
    return f"{each.name} {what}{detail}."


def _listed(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _why(cause: Cause, names: str) -> str:
    match cause:
        case Cause.REGRESSED:
            return f"{names} regressed"
        case Cause.INVALID:
            return f"{names} can't be compared"
        case _:
            return ""


def _wait(cause: Cause, names: str, next_bp: int) -> str:
    match cause:
        case Cause.REGRESSED:
            return f"a person, because {names} regressed; promote overrides it, abort goes back"
        case Cause.INVALID:
            return f"a valid comparison of {names}; promote overrides it, abort goes back"
        case Cause.NO_DATA:
            return f"data for {names}"
        case _:
            return f"{names} to be proved safe for {show_percent(next_bp)}"
