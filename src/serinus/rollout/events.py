"""What a rollout is told and what it wants done: events, facts, effects. Plain data, no behaviour.

Everything that can be read off the state (routes, pools) is *not* an effect: see
`serinus.rollout.routing`. What is here happens once, and carries an id so that twice is once.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from serinus.rollout.spec import Moment

__all__ = [
    "Abort",
    "Activate",
    "Approve",
    "Diagnosed",
    "DropUpdate",
    "Effect",
    "Event",
    "Facts",
    "FailUpdate",
    "Fault",
    "GuardrailVerdict",
    "MoveAlias",
    "Notify",
    "Observed",
    "Pause",
    "PoolState",
    "Promote",
    "RememberRefused",
    "Resume",
    "Retry",
    "Revert",
    "Side",
    "Superseded",
    "Verdict",
    "Verification",
]


class PoolState(Enum):
    """Whether a version's replicas can answer."""

    READY = "ready"
    #: Also while it recovers from a crash.
    STARTING = "starting"
    #: It does not come up: a crash loop, a model that cannot be loaded.
    FAILED = "failed"


class Verification(Enum):
    """How far the parity gates before traffic have come."""

    NONE = "none"  # not begun yet; a policy without verification says WAIVED
    RUNNING = "running"
    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    #: Nobody asked for it, or somebody let it through; the reason says which.
    WAIVED = "waived"
    #: It failed, and the policy only warns.
    WARNED = "warned"


class Verdict(Enum):
    """What a guardrail says of the candidate."""

    REGRESSED = "REGRESSED"
    SAFE = "SAFE"
    UNDECIDED = "UNDECIDED"
    NO_DATA = "NO_DATA"
    INVALID = "INVALID"


@dataclass(frozen=True, slots=True)
class GuardrailVerdict:
    """One guardrail's verdict at this moment.

    ``name`` is `Guardrail.name`, or that name, a dot and more (``latency.p99``); then all of them
    must agree. A name of no guardrail (``split``) is a check of its own.
    """

    name: str
    verdict: Verdict
    reason: str = ""
    #: SAFE holds up to this exposure.
    safe_for_bp: int = 0
    #: How often there was something to judge, and the smallest p that any look came to: how near
    #: it has been to an alarm.
    looks: int = 0
    smallest_p: float = 1.0


@dataclass(frozen=True, slots=True)
class Facts:
    """One look at the world, taken whole."""

    candidate: PoolState = PoolState.STARTING
    #: Why it failed, as a sentence.
    candidate_reason: str = ""
    stable_ready: bool = True
    #: Only asked for when the spec has ``control: true``.
    control: PoolState = PoolState.READY
    #: The highest stage whose routing every live gateway serves by; -1 for none.
    acknowledged_stage: int = -1
    #: When the last gateway took that stage up.
    acknowledged_at: datetime | None = None
    verification: Verification = Verification.NONE
    verification_reason: str = ""
    #: Shadowed and compared requests of the current stage.
    shadow_requests: int = 0
    verdicts: tuple[GuardrailVerdict, ...] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """The tick: what is the case now. Telling it twice does nothing new."""

    at: datetime
    facts: Facts


@dataclass(frozen=True, slots=True)
class Promote:
    """A person overrides: on to the next step, or (``full``) straight to 100 %."""

    at: datetime
    actor: str
    full: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """A person wants it to stay as it is. A regression still rolls back."""

    at: datetime
    actor: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Lifts a person's pause, or gives a timed-out step its time again."""

    at: datetime
    actor: str


@dataclass(frozen=True, slots=True)
class Approve:
    """A person says yes to a step that waits for it, or lets it by the verification."""

    at: datetime
    actor: str
    #: Why it needs no verification; empty: the yes is to the step.
    waive: str = ""


@dataclass(frozen=True, slots=True)
class Abort:
    """Back to stable, now."""

    at: datetime
    actor: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try a rolled-back candidate again; by default what was learnt about it still counts."""

    at: datetime
    actor: str
    fresh_evidence: bool = False
    #: Why it needs no verification from now on; empty: as before.
    waive: str = ""


@dataclass(frozen=True, slots=True)
class Superseded:
    """A newer candidate has come; this one makes room."""

    at: datetime
    #: The newer candidate's model URI.
    by: str


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """Somebody looked for a fault behind the candidate's answers."""

    at: datetime
    actor: str
    #: What was proved, as a phrase; empty: nothing is wrong (any more).
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """The controller itself cannot carry this rollout on."""

    at: datetime
    reason: str


Event = (
    Observed | Promote | Pause | Resume | Approve | Abort | Retry | Superseded | Diagnosed | Fault
)


class Side(Enum):
    """One of the two versions."""

    STABLE = "stable"
    CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True)
class Activate:
    """The target config becomes the active one: the candidate serves at full weight."""

    id: str


@dataclass(frozen=True, slots=True)
class Revert:
    """The old config becomes active again: rolled back after it had been activated."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class FailUpdate:
    """The target config's update failed: rolled back before it was ever active."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class DropUpdate:
    """The target config is given up as if it had never been: a self-test changes nothing."""

    id: str


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell whom the spec names, if they asked for this moment."""

    id: str
    moment: Moment
    text: str


@dataclass(frozen=True, slots=True)
class MoveAlias:
    """Point the spec's registry alias at this side's model version."""

    id: str
    to: Side


@dataclass(frozen=True, slots=True)
class RememberRefused:
    """This model must not be rolled out again but by ``retry``."""

    id: str
    digest: str
    reason: str


Effect = Activate | Revert | FailUpdate | DropUpdate | Notify | MoveAlias | RememberRefused
