"""What a rollout is held to, and what there is to judge it by: plain values. Pure; decides nothing.

Margins are those wanted when the candidate has all traffic. To let it have a share w, less proof is
asked: the margin divided by w, so that exposure times undetected excess is the same at every step
(for latency: slow answers may be 1/w times as many).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from serinus.entities import WHOLE
from serinus.evidence.eprocess import Events
from serinus.evidence.means import Outcomes
from serinus.evidence.outcomes import OutcomeLine
from serinus.evidence.summary import Arm, PairSummary, StageSummary
from serinus.evidence.windows import Timeline

__all__ = [
    "Case",
    "Confidence",
    "ErrorRate",
    "Evidence",
    "Guardrail",
    "Latency",
    "Predictions",
    "Quality",
]


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """Errors at the model's fault, against stable's."""

    #: 1.0 is "at most twice stable's rate".
    max_increase: float = 1.0
    #: A rate at or under this is never a reason; 0 for none.
    floor: float = 0.01
    name: str = "error_rate"


@dataclass(frozen=True, slots=True)
class Latency:
    """Quantiles of the time to answer, against stable's."""

    #: (quantile, largest relative increase); quantiles are among `windows.QUANTILES`.
    limits: tuple[tuple[float, float], ...] = ((0.5, 0.25), (0.95, 0.25), (0.99, 0.5))
    #: Compare the time inside the model instead of the gateway's view.
    of_model: bool = False
    #: Seconds by which an answer must also be slower; what is less is no reason.
    floor_s: float = 0.0
    name: str = "latency"


@dataclass(frozen=True, slots=True)
class Predictions:
    """How often each class or score range is predicted, against stable's."""

    max_shift: float = 0.05
    name: str = "predictions"


@dataclass(frozen=True, slots=True)
class Quality:
    """A mean of outcomes in [0, 1], higher is better, against stable's."""

    max_drop: float = 0.01
    name: str = "quality"


Guardrail = ErrorRate | Latency | Predictions | Quality


@dataclass(frozen=True, slots=True)
class Confidence:
    """Error probabilities of a whole rollout."""

    #: Any false rollback; split evenly over the guardrails.
    false_rollback: float = 0.01
    #: Each guardrail must be SAFE, so each may spend all of it.
    false_promote: float = 0.05


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of a rollout at one moment."""

    stages: list[StageSummary]
    timeline: Timeline = field(default_factory=Timeline)
    #: Outcomes for every quality guardrail, unit by unit; None: those of `lines`.
    outcomes: Outcomes | None = None
    #: How often one unit may have been counted: with a sticky unit, `Ledger.incarnations`; with
    #: unit ``request``, None.
    unit_copies: int | None = None
    #: By the name of the quality guardrail that asks for them.
    lines: Mapping[str, OutcomeLine] = field(default_factory=dict)

    def trials(self, arm: Arm) -> int:
        """Units, or requests where those are the unit, that could have failed on an arm."""
        if self.unit_copies is None:
            return sum(stage.arm(arm).requests for stage in self.stages)
        return sum(stage.arm(arm).units for stage in self.stages) // max(self.unit_copies, 1)

    def shadow(self) -> PairSummary:
        """All shadowed pairs together."""
        nothing = PairSummary()
        total = nothing
        for stage in self.stages:
            if stage.shadow != nothing:
                total = total.add(stage.shadow)
        return total

    def traffic_share(self) -> float:
        """The candidate's part of the requests of both arms, in stages where it had a share."""
        live = [stage for stage in self.stages if stage.candidate_bp]
        candidate = sum(stage.candidate.requests for stage in live)
        other = sum(
            (stage.control if stage.control_bp else stage.stable).requests for stage in live
        )
        return candidate / max(candidate + other, 1)

    def error_events(self) -> Events:
        """Errors per stage on the candidate and on what it is compared with."""
        rows: list[tuple[float, float, float]] = []
        for stage in self.stages:
            on_candidate = stage.error_events(Arm.CANDIDATE)
            # With a control arm, only that: it is as fresh, as large and as loaded.
            other_arm = Arm.CONTROL if stage.control_bp else Arm.STABLE
            other_bp = stage.control_bp or WHOLE - stage.candidate_bp
            share = stage.candidate_bp / (stage.candidate_bp + other_bp)
            rows.append((on_candidate, on_candidate + stage.error_events(other_arm), share))
        return Events.of(rows)


@dataclass(frozen=True, slots=True)
class Case:
    """One guardrail's evidence, both ways, before anything is concluded from it."""

    #: False when the candidate has shown nothing that could be compared.
    has_data: bool
    #: Log evidence that the candidate is worse than the margin allows.
    log_regressed: float
    #: Log evidence, by exposure in (0, 1], that it is not too bad for that exposure.
    log_safe: Callable[[float], float]
    #: What was seen, as a clause with numbers.
    seen: str
    #: What the regression process takes for granted, e.g. "if it were no worse than allowed".
    allowed: str
    numbers: dict[str, float]
    #: Why nothing can be concluded from it, as a clause; empty when it can.
    invalid: str = ""
    #: What SAFE says, by exposure in (0, 1], as a clause; empty where no harm is possible.
    within: Callable[[float], str] = lambda _: "it is within its margin"
