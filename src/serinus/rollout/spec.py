"""What a person asked for: the rollout spec as frozen values with every default. Pure data.

Weights are integer basis points (`serinus.entities.WHOLE` = 100 %), times are seconds, margins are
fractions. `serinus.rollout.parse` reads one from YAML or JSON, `serinus.rollout.render` writes it.
"""

from dataclasses import dataclass
from enum import Enum

from serinus.entities import WHOLE, Optimize
from serinus.traffic import Unit

__all__ = [
    "NO_BAKE",
    "Advance",
    "AdvanceRule",
    "Bake",
    "Confidence",
    "Cutover",
    "Guardrail",
    "GuardrailKind",
    "Moment",
    "OnFail",
    "OnSilence",
    "Preview",
    "RollbackRule",
    "RolloutSpec",
    "Silence",
    "Step",
    "StepKind",
    "StepLimits",
    "Strategy",
    "Webhook",
    "before_full",
    "default_guardrails",
    "default_steps",
    "full_bp",
    "program",
]


class Strategy(Enum):
    """How a candidate meets traffic."""

    CANARY = "canary"
    BLUE_GREEN = "blue-green"
    SHADOW = "shadow"


class StepKind(Enum):
    """What one step does."""

    SHADOW = "shadow"
    SET_WEIGHT = "set_weight"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Step:
    """One step. Which fields count depends on ``kind``."""

    kind: StepKind
    #: set_weight: the candidate's share of requests.
    weight_bp: int = 0
    #: shadow: the share of stable's requests that the candidate is sent a copy of.
    shadow_bp: int = 0
    #: shadow: ends after so many compared requests …
    requests: int | None = None
    #: … or after so many seconds, whichever is first. pause: how long; None waits for approval.
    for_s: float | None = None


class AdvanceRule(Enum):
    """What lets a step end."""

    WHEN_SAFE = "when-safe"
    WHEN_NO_REGRESSION = "when-no-regression"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Advance:
    """The rule, and for ``AFTER`` how many seconds a step lasts at least."""

    rule: AdvanceRule = AdvanceRule.WHEN_SAFE
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class StepLimits:
    """Seconds, counted from the moment every gateway serves by the step."""

    min_duration_s: float = 30.0
    #: Without a verdict by then the rollout pauses (or what ``on`` says).
    timeout_s: float = 7200.0
    #: Requests this early do not count as evidence.
    warmup_s: float = 10.0


class GuardrailKind(Enum):
    """What a guardrail compares between candidate and stable."""

    ERROR_RATE = "error_rate"
    LATENCY = "latency"
    PREDICTIONS = "predictions"
    QUALITY = "quality"


class OnFail(Enum):
    """What REGRESSED leads to."""

    ROLLBACK = "rollback"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A comparison that can stop a rollout. Which fields count depends on ``kind``."""

    kind: GuardrailKind
    on_fail: OnFail = OnFail.ROLLBACK
    #: error_rate: tolerated relative increase at 100 %, as a fraction (1.0 = twice as many).
    max_increase: float = 1.0
    #: error_rate: an error rate below this is never a regression.
    floor: float = 0.01
    #: latency: tolerated relative increase of each percentile; None is not watched.
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    #: latency: seconds by which an answer must also be slower: a pool with 1 % of the traffic is
    #: colder than one with 99 %, whatever it serves.
    latency_floor_s: float = 0.005
    #: predictions: tolerated share of answers that change.
    max_shift: float = 0.05
    #: predictions: |score difference| above which two paired answers disagree.
    tolerance: float = 1e-6
    #: quality: the metric of delayed labels, the drop it may take, how long a label may take.
    metric: str = ""
    max_drop: float = 0.01
    label_window_s: float = 86_400.0
    #: quality: a request without a label in time counts as 0; else it does not count.
    absent_is_zero: bool = False

    @property
    def name(self) -> str:
        """The name of its verdicts, e.g. ``latency`` or ``quality:accuracy``."""
        return f"{self.kind.value}:{self.metric}" if self.metric else self.kind.value


@dataclass(frozen=True, slots=True)
class Confidence:
    """Chances, over the whole rollout, of being wrong in either direction."""

    false_rollback: float = 0.01
    false_promote: float = 0.05


class OnSilence(Enum):
    """What missing evidence leads to once a step has timed out (``invalid``: at once)."""

    HOLD = "hold"
    ROLLBACK = "rollback"
    #: Only for ``no_data`` and ``diagnosis``, and only because the person wrote it.
    ADVANCE = "advance"


@dataclass(frozen=True, slots=True)
class Silence:
    """The spec's ``on``: what to do without a usable verdict, and on a diagnosed fault."""

    undecided: OnSilence = OnSilence.HOLD
    no_data: OnSilence = OnSilence.HOLD
    invalid: OnSilence = OnSilence.HOLD
    #: A diagnosis that proves a fault: hold or advance. It never rolls back by itself.
    diagnosis: OnSilence = OnSilence.HOLD


@dataclass(frozen=True, slots=True)
class Bake:
    """After 100 %: watched for a while with rollback armed and stable kept warm."""

    #: Share that stays on the old version, so that there is something to compare with.
    holdback_bp: int = 500
    for_s: float = 172_800.0


#: What "no bake" comes to: nothing held back, for no time.
NO_BAKE = Bake(holdback_bp=0, for_s=0.0)


@dataclass(frozen=True, slots=True)
class RollbackRule:
    """What is kept for the way back."""

    keep_warm_s: float = 600.0
    keep_revisions: int = 3


class Cutover(Enum):
    """Who throws the blue-green switch."""

    AUTO = "auto"
    APPROVE = "approve"


@dataclass(frozen=True, slots=True)
class Preview:
    """Blue-green: how long at least the candidate is reachable by its pinned path alone."""

    for_s: float = 0.0


class Moment(Enum):
    """What somebody may be told about."""

    #: The verification failed, and the policy only warns.
    WARNED = "warned"
    PAUSED = "paused"
    ROLLED_BACK = "rolled_back"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where to tell it, and on which moments."""

    url: str
    on: tuple[Moment, ...] = tuple(Moment)


#: Every request is a unit of its own.
_EACH_REQUEST = Unit()


def default_steps(strategy: Strategy) -> tuple[Step, ...]:
    """The steps of a spec that names none."""
    if strategy is Strategy.CANARY:
        shares = (100, 500, 2_500, 5_000)
        return tuple(Step(StepKind.SET_WEIGHT, weight_bp=share) for share in shares)
    if strategy is Strategy.SHADOW:
        return (Step(StepKind.SHADOW, shadow_bp=WHOLE, requests=2_000),)
    return ()


def default_guardrails() -> tuple[Guardrail, ...]:
    """Errors and latency roll back; a shift of the predictions holds."""
    return (
        Guardrail(GuardrailKind.ERROR_RATE),
        Guardrail(GuardrailKind.LATENCY, p50=0.25, p95=0.25, p99=0.5),
        Guardrail(GuardrailKind.PREDICTIONS, on_fail=OnFail.HOLD),
    )


@dataclass(frozen=True, slots=True)
class RolloutSpec:
    """A whole rollout as asked for; ``candidate`` alone is a valid one."""

    #: A model URI, e.g. ``models:/flight-delay/2``.
    candidate: str
    #: The form in which the candidate serves; None: stable's.
    optimize: Optimize | None = None
    #: Empty when the path of the call names it.
    endpoint: str = ""
    unit: Unit = _EACH_REQUEST
    strategy: Strategy = Strategy.CANARY
    steps: tuple[Step, ...] = default_steps(Strategy.CANARY)
    #: Blue-green only.
    preview: Preview = Preview()
    cutover: Cutover = Cutover.AUTO
    advance: Advance = Advance()
    step: StepLimits = StepLimits()
    #: True: a fresh pool of stable takes as much as the candidate, to compare with.
    control: bool = False
    #: Empty: the person decided to go by time and approvals.
    guardrails: tuple[Guardrail, ...] = default_guardrails()
    confidence: Confidence = Confidence()
    on: Silence = Silence()
    #: None: no bake.
    bake: Bake | None = None
    rollback: RollbackRule = RollbackRule()
    notify: tuple[Webhook, ...] = ()
    #: Alias of the registered model that follows the rollout, e.g. ``champion``; empty: none.
    registry_alias: str = ""
    #: The candidate is stable once more, in a pool of its own: what the gate says then is about the
    #: gate. It never comes to full weight.
    self_test: bool = False


def program(spec: RolloutSpec) -> tuple[Step, ...]:
    """All steps that will run, the last one to full weight (less the holdback) included.

    A shadow rollout has no such last step; `serinus.rollout.moves` adds it when a person promotes.
    A self-test has none either: nobody is to be moved anywhere.
    """
    full = Step(StepKind.SET_WEIGHT, weight_bp=full_bp(spec))
    if spec.strategy is Strategy.SHADOW:
        return spec.steps
    if spec.strategy is Strategy.BLUE_GREEN:
        gates = []
        if spec.preview.for_s:
            gates.append(Step(StepKind.PAUSE, for_s=spec.preview.for_s))
        if spec.cutover is Cutover.APPROVE:
            gates.append(Step(StepKind.PAUSE))
        return (*spec.steps, *gates, full)
    below = tuple(step for step in spec.steps if step.weight_bp < full.weight_bp)
    return below if spec.self_test else (*below, full)


def before_full(spec: RolloutSpec) -> tuple[Step, ...]:
    """The steps of `program` during which stable still has a share."""
    return program(spec) if spec.self_test else program(spec)[:-1]


def full_bp(spec: RolloutSpec) -> int:
    """The candidate's weight at "100 %": all but what the bake holds back."""
    return WHOLE - (spec.bake or NO_BAKE).holdback_bp
