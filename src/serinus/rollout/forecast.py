"""What a rollout may be expected to take, by the processes that will judge it. Pure.

Medians for traffic as described, never promises; and nothing is decided by them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from serinus.entities import WHOLE
from serinus.evidence.expectations import Traffic, expected_detection, expected_steps
from serinus.evidence.guardrails import ErrorRate, Quality
from serinus.rollout.amount import show_percent
from serinus.rollout.judging import confidence_of, guardrail_of
from serinus.rollout.plan import Question, advise
from serinus.rollout.spec import AdvanceRule, RolloutSpec, StepKind, Strategy, before_full

__all__ = ["Detection", "Estimate", "StepEstimate", "estimate"]

#: Shares of failing requests that a plan looks at unless it is asked for others.
_BAD_RATES = (0.02, 0.05, 0.2, 1.0)


@dataclass(frozen=True, slots=True)
class StepEstimate:
    """One step, for a candidate that is just like stable."""

    weight_bp: int
    #: Infinite when what it waits for never comes by itself.
    seconds: float
    #: Requests that the candidate answers meanwhile; of a shadow, copies that it is sent.
    candidate_requests: float
    #: What it waits for.
    waits_for: str


@dataclass(frozen=True, slots=True)
class Detection:
    """A candidate that fails too often, from the moment on at which it has this weight."""

    error_rate: float
    weight_bp: int
    #: Until it is REGRESSED; infinite for never.
    seconds: float
    #: Users' requests that meet it until gateways serve without it, and those that fail of them.
    met: float
    failed: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """The plan, expected."""

    #: The strategy that fits the traffic, and why.
    suggested: Strategy
    why: str
    steps: tuple[StepEstimate, ...]
    detections: tuple[Detection, ...]
    #: What the figures leave out, and what will not work as asked for; sentences.
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Until 100 %, the bake and approvals apart."""
        return sum(step.seconds for step in self.steps)

    @property
    def exposed(self) -> float:
        """Users' requests that the candidate answers before 100 %."""
        return sum(step.candidate_requests for step in self.steps if step.weight_bp)


def estimate(
    spec: RolloutSpec,
    traffic: Traffic,
    *,
    mixed_versions: bool = True,
    bad_rates: Sequence[float] = (),
    way_back_s: float = 1.0,
) -> Estimate:
    """What ``spec`` comes to under ``traffic``; raises ValueError unless there is some traffic.

    ``way_back_s``: seconds from the verdict until no gateway serves by the candidate any more.
    """
    question = Question(
        traffic.per_second, traffic.error_rate, way_back_s, mixed_versions=mixed_versions
    )
    advice = advise(spec, question)
    canary = spec.strategy is Strategy.CANARY
    if canary:
        steps = _proved(spec, traffic)
    else:
        steps = tuple(
            StepEstimate(each.weight_bp, each.seconds, float(each.requests), each.why)
            for each in advice.steps
        )
    return Estimate(
        advice.strategy,
        advice.why,
        steps,
        _detections(spec, traffic, bad_rates, way_back_s) if canary else (),
        _notes(spec, steps),
    )


def _proved(spec: RolloutSpec, traffic: Traffic) -> tuple[StepEstimate, ...]:
    """The steps of a canary: each lasts until the next weight is proved, or its time is over."""
    held = [step for step in before_full(spec) if step.kind is StepKind.SET_WEIGHT]
    least = max(spec.step.min_duration_s, spec.step.warmup_s)
    by_proof = spec.advance.rule is AdvanceRule.WHEN_SAFE
    if spec.advance.rule is AdvanceRule.AFTER:
        least = max(least, spec.advance.after_s)
    judged = [guardrail_of(each) for each in spec.guardrails] if by_proof else []
    limits = [each for each in judged if not isinstance(each, Quality)]
    ladder = [step.weight_bp for step in held]
    expected = iter(
        expected_steps(traffic, ladder, limits, confidence_of(spec), least) if ladder else ()
    )
    found = []
    for step in before_full(spec):
        if step.kind is StepKind.PAUSE:
            why = "time" if step.for_s else "approval, not counted"
            found.append(StepEstimate(0, step.for_s or 0.0, 0.0, why))
        elif step.kind is StepKind.SHADOW:
            found.append(_shadowed(step.shadow_bp, step.requests, step.for_s, traffic))
        else:
            each = next(expected)
            waits = f"{each.slowest} to be safe for {show_percent(each.next_bp)}"
            why = waits if each.slowest and each.seconds > least else "its time"
            found.append(StepEstimate(each.bp, each.seconds, each.candidate_requests, why))
    return tuple(found)


def _shadowed(
    share_bp: int, requests: int | None, for_s: float | None, traffic: Traffic
) -> StepEstimate:
    rate = traffic.per_second * share_bp / WHOLE
    ends = [requests / rate] if requests and rate else []
    ends += [for_s] if for_s else []
    seconds = min(ends, default=math.inf)
    return StepEstimate(0, seconds, seconds * rate, f"copies of {show_percent(share_bp)}")


def _detections(
    spec: RolloutSpec, traffic: Traffic, bad_rates: Sequence[float], way_back_s: float
) -> tuple[Detection, ...]:
    judged = [guardrail_of(each) for each in spec.guardrails]
    limits = next((each for each in judged if isinstance(each, ErrorRate)), None)
    if limits is None:
        return ()
    tolerated = max(traffic.error_rate * (1 + limits.max_increase), limits.floor)
    rates = bad_rates or [rate for rate in _BAD_RATES if rate > tolerated]
    shares = [step.weight_bp for step in before_full(spec) if step.weight_bp]
    found = []
    for rate in rates:
        for bp in shares:
            seen = expected_detection(traffic, bp, rate, limits, confidence_of(spec), len(judged))
            met = seen.candidate_requests + traffic.per_second * bp / WHOLE * way_back_s
            found.append(Detection(rate, bp, seen.seconds, met, met * rate))
    return tuple(found)


def _notes(spec: RolloutSpec, steps: Sequence[StepEstimate]) -> tuple[str, ...]:
    notes = []
    for step in steps:
        if step.weight_bp and step.seconds > spec.step.timeout_s:
            notes.append(
                f"At {show_percent(step.weight_bp)} there is no verdict before step.timeout, "
                f"{spec.step.timeout_s:g}s: give it more time, a wider margin or more weight."
            )
    if any(isinstance(guardrail_of(each), Quality) for each in spec.guardrails):
        notes.append(
            "An outcome counts when the label_window of its request is over, so quality is proved"
            " that much later at least; it is left out of the figures."
        )
    if spec.control:
        notes.append("The figures compare with all of stable; a control pool learns more slowly.")
    if spec.strategy is Strategy.BLUE_GREEN:
        notes.append("A blue-green switch has no split to compare in: somebody has to notice.")
    if spec.strategy is Strategy.SHADOW:
        notes.append("A shadow answers no user, so no user meets a bad candidate.")
    elif not spec.guardrails:
        notes.append("Without guardrails nothing is judged, and nothing rolls back by itself.")
    return tuple(notes)
