"""What a rollout would cost before it starts: which strategy, how long, how many users. Pure.

The forecasts are rough on purpose (they tend to be up to twice too long) and never decide
anything; the evidence does.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from serinus.entities import WHOLE
from serinus.rollout.amount import show_percent
from serinus.rollout.spec import (
    GuardrailKind,
    RolloutSpec,
    StepKind,
    Strategy,
    before_full,
    program,
)

__all__ = ["Advice", "Forecast", "Question", "RequestsToVerdict", "advise", "requests_to_verdict"]

#: (base rate, tolerated absolute increase, chance of being wrong) → requests of the candidate.
RequestsToVerdict = Callable[[float, float, float], float]


def requests_to_verdict(base: float, increase: float, alpha: float) -> float:
    """Candidate requests until a rate is known to be within ``increase`` of ``base``.

    The normal approximation ``2 ln(1/alpha) (base + increase) / increase²``. With alpha 5 % and a
    base of 1 % it says 1 200 for twice, 3 600 for 1.5 times and 12 000 for 1.25 times as many
    errors; simulated medians are 1 000, 3 000 and 10 000.
    """
    return 2 * math.log(1 / alpha) * (base + increase) / increase**2


@dataclass(frozen=True, slots=True)
class Question:
    """What is known of the endpoint and of what its users can bear."""

    requests_per_s: float
    #: Share of requests that fail with stable.
    base_error_rate: float = 0.0
    #: How quickly users must be back on stable once it is decided, in seconds.
    way_back_s: float = 1.0
    #: False: users must never see two versions side by side.
    mixed_versions: bool = True
    #: The bad version to be prepared for: the share of its requests that fails.
    bad_error_rate: float = 0.2


@dataclass(frozen=True, slots=True)
class Forecast:
    """One step, expected."""

    step: int
    weight_bp: int
    seconds: float
    #: Requests that the candidate answers (or is sent copies of) meanwhile.
    requests: int
    why: str


@dataclass(frozen=True, slots=True)
class Advice:
    """Which strategy fits, what the asked-for plan costs, and why."""

    strategy: Strategy
    why: str
    steps: tuple[Forecast, ...]
    #: Until 100 %, the bake and approvals apart.
    seconds: float
    #: Users' requests that a bad candidate would answer before it is rolled back.
    met_before_rollback: int


def advise(
    spec: RolloutSpec, question: Question, to_verdict: RequestsToVerdict = requests_to_verdict
) -> Advice:
    """What ``spec`` costs under ``question``; raises ValueError unless there is some traffic."""
    if question.requests_per_s <= 0:
        raise ValueError("requests_per_s must be above 0: without traffic nothing can be learnt")
    steps = _forecasts(spec, question, to_verdict)
    strategy, why = _choose(spec, question, to_verdict, steps)
    return Advice(
        strategy=strategy,
        why=why,
        steps=steps,
        seconds=sum(step.seconds for step in steps),
        met_before_rollback=_met(spec, question, to_verdict, steps),
    )


def _forecasts(
    spec: RolloutSpec, question: Question, to_verdict: RequestsToVerdict
) -> tuple[Forecast, ...]:
    steps, known = program(spec), 0.0
    made: list[Forecast] = []
    for index, step in enumerate(steps):
        if step.kind is StepKind.PAUSE:
            spell = step.for_s or 0.0
            why = "waits for time" if step.for_s else "waits for approval, not counted"
            made.append(Forecast(index, 0, spell, 0, why))
        elif step.kind is StepKind.SHADOW:
            made.append(_shadowed(index, step.shadow_bp, step.requests, step.for_s, question))
        elif index < len(before_full(spec)):
            after = [s.weight_bp for s in before_full(spec)[index + 1 :] if s.weight_bp]
            exposure = after[0] if after else WHOLE
            share, rate = step.weight_bp / WHOLE, question.requests_per_s
            need = _needed(spec, question, to_verdict, exposure) / (1 - share)
            least = max(spec.step.min_duration_s, spec.advance.after_s)
            seconds = max(least, (need - known) / (rate * share))
            known += seconds * rate * share
            why = (
                f"{math.ceil(need)} requests of the candidate until it is safe for "
                f"{show_percent(exposure)}"
            )
            requests = math.ceil(seconds * rate * share)
            made.append(Forecast(index, step.weight_bp, seconds, requests, why))
    return tuple(made)


def _shadowed(
    index: int, share_bp: int, requests: int | None, for_s: float | None, question: Question
) -> Forecast:
    rate = question.requests_per_s * share_bp / WHOLE
    ends = [end for end in ((requests or 0) / rate, for_s or 0.0) if end]
    seconds = min(ends)
    why = f"copies of {show_percent(share_bp)} of the requests; no user is answered by it"
    return Forecast(index, 0, seconds, math.ceil(seconds * rate), why)


def _needed(
    spec: RolloutSpec, question: Question, to_verdict: RequestsToVerdict, exposure_bp: int
) -> float:
    """Requests of the candidate until it is safe for this exposure (constant harm budget)."""
    rule = next((g for g in spec.guardrails if g.kind is GuardrailKind.ERROR_RATE), None)
    if rule is None:
        return 0.0
    base, share = question.base_error_rate, exposure_bp / WHOLE
    tolerated = max(base * rule.max_increase / share, rule.floor / share - base, 1e-6)
    return to_verdict(base, min(tolerated, 1.0), spec.confidence.false_promote)


def _detected(spec: RolloutSpec, question: Question, to_verdict: RequestsToVerdict) -> float:
    """Requests of the candidate until the bad version that was asked about is convicted."""
    excess = max(question.bad_error_rate - question.base_error_rate, 1e-6)
    return to_verdict(question.base_error_rate, excess, spec.confidence.false_rollback)


def _met(
    spec: RolloutSpec,
    question: Question,
    to_verdict: RequestsToVerdict,
    steps: tuple[Forecast, ...],
) -> int:
    if spec.strategy is Strategy.SHADOW:
        return 0
    rate = question.requests_per_s
    if spec.strategy is Strategy.BLUE_GREEN:  # nothing to compare with: somebody has to notice
        return math.ceil(rate * (spec.step.min_duration_s + question.way_back_s))
    convicted = _detected(spec, question, to_verdict)
    answered, share = 0.0, 0.0
    for step in steps:
        if step.weight_bp:
            share = step.weight_bp / WHOLE
            answered += step.requests
            if answered >= convicted:
                break
    return math.ceil(convicted + rate * share * question.way_back_s)


def _choose(
    spec: RolloutSpec,
    question: Question,
    to_verdict: RequestsToVerdict,
    steps: tuple[Forecast, ...],
) -> tuple[Strategy, str]:
    """The smallest blast radius that can still come to a verdict; then the fastest way back."""
    back = (
        "The way back is one change of routes as long as stable is warm; "
        f"rollback.keep_warm is {spec.rollback.keep_warm_s:g}s, after that stable starts first."
    )
    if not question.mixed_versions:
        told = "Users must not see two versions side by side, so all move at once, after a preview."
        return Strategy.BLUE_GREEN, f"{told} {back}"
    full = _needed(spec, question, to_verdict, WHOLE)
    slow = [step for step in steps if step.seconds > spec.step.timeout_s]
    if spec.strategy is not Strategy.CANARY:
        # The last proof is made at half of the traffic, where it costs twice as much.
        lasting = 2 * full / (question.requests_per_s / 2)
        if lasting > spec.step.timeout_s:
            slow = [Forecast(0, WHOLE // 2, lasting, 0, "")]
    if not slow:
        told = "A canary comes to a verdict in time and shows the candidate to the fewest users."
        return Strategy.CANARY, f"{told} {back}"
    hours = slow[0].seconds / 3600
    told = (
        f"With {question.requests_per_s:g} requests per second a canary would wait about "
        f"{hours:.1f} hours for a verdict at {show_percent(slow[0].weight_bp)}"
    )
    if full / question.requests_per_s <= spec.step.timeout_s:
        return Strategy.SHADOW, f"{told}; copies of all requests settle it sooner. {back}"
    return Strategy.BLUE_GREEN, f"{told}, and so would a shadow; verify, preview, switch. {back}"
