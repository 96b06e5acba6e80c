"""Where a rollout stands, as one frozen value that survives a trip through JSON. No behaviour."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from serinus.rollout.events import Effect
from serinus.rollout.spec import RolloutSpec

__all__ = ["Cause", "Decision", "Override", "Phase", "Position", "RolloutState", "begin"]


class Phase(Enum):
    """What people and clients are shown."""

    PENDING = "PENDING"
    VERIFYING = "VERIFYING"
    SHADOWING = "SHADOWING"
    PROGRESSING = "PROGRESSING"
    PAUSED = "PAUSED"
    BAKING = "BAKING"
    SUCCEEDED = "SUCCEEDED"
    ROLLING_BACK = "ROLLING_BACK"
    ROLLED_BACK = "ROLLED_BACK"
    FAILED = "FAILED"

    @property
    def terminal(self) -> bool:
        """True when nothing but ``retry`` leads out of it."""
        return self in (Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.FAILED)


class Position(Enum):
    """The part of the way it is on; a pause changes the phase and not this."""

    START = "start"
    VERIFY = "verify"
    STEPS = "steps"
    BAKE = "bake"
    #: The bake is over; the held-back share moves too.
    SETTLE = "settle"
    BACK = "back"
    END = "end"


class Cause(Enum):
    """Why it is paused or rolled back, in a word for programs; ``reason`` is for people."""

    STEP = "step"  # a timed pause of the spec
    APPROVAL = "approval"
    USER = "user"
    REGRESSED = "regressed"
    UNDECIDED = "undecided"
    NO_DATA = "no_data"
    INVALID = "invalid"
    DIAGNOSED = "diagnosed"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"
    CANDIDATE_FAILED = "candidate_failed"
    VERIFICATION_FAILED = "verification_failed"
    FAULT = "fault"


class Override(Enum):
    """A person's ``promote`` that the next look carries out."""

    NONE = "none"
    NEXT = "next"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class RolloutState:
    """All that is known of one rollout; only `serinus.rollout.machine.decide` makes a new one."""

    id: str
    endpoint: str
    spec: RolloutSpec
    #: Served names, as the gateways know them.
    stable: str
    candidate: str
    candidate_digest: str
    #: Version of the endpoint config that the candidate is part of.
    config_version: int
    created_by: str
    started_at: datetime
    updated_at: datetime
    #: Keyed into the assignment of units; the same for the whole rollout.
    salt: str
    #: Evidence is kept under this; a retry keeps it.
    evidence_key: str
    reason: str
    waiting_for: str
    #: From when the patience with the current wait is counted.
    waiting_since: datetime
    phase: Phase = Phase.PENDING
    position: Position = Position.START
    cause: Cause | None = None
    #: Index into `program(spec)` while the position is STEPS.
    step: int = 0
    #: Grows with every change of routing, and never falls.
    stage: int = 0
    candidate_bp: int = 0
    control_bp: int = 0
    shadow_bp: int = 0
    #: When every gateway served by this stage; None until then.
    stage_at: datetime | None = None
    #: A person said yes to the pause it stands at.
    approved: bool = False
    #: A person wants it to stay as it is.
    held: bool = False
    override: Override = Override.NONE
    #: A shadow rollout that a person promoted: it goes on to full weight.
    promoted: bool = False
    #: Some stage of this attempt sent the candidate requests or copies of them.
    exposed: bool = False
    #: Who let it by the verification, and why; empty: nobody.
    waived: str = ""
    #: How the verification ended, as a sentence; empty until it has.
    verified: str = ""
    #: The verification failed, and the policy only warns.
    warned: bool = False
    #: What the last diagnosis of the candidate proved, as a phrase; empty: nothing.
    fault: str = ""
    #: The target config is the active one.
    activated: bool = False
    attempt: int = 1
    #: Effects handed out so far; ids are ``<rollout>/<n>``.
    effects: int = 0
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The state after an event, and what must be done because of it, in order."""

    state: RolloutState
    effects: tuple[Effect, ...] = ()


def begin(
    *,
    id: str,  # noqa: A002 - the field's name everywhere
    endpoint: str,
    spec: RolloutSpec,
    stable: str,
    candidate: str,
    candidate_digest: str,
    config_version: int,
    actor: str,
    at: datetime,
    salt: str = "",
) -> RolloutState:
    """A rollout that has just been asked for. ``salt`` is its id unless given."""
    return RolloutState(
        id=id,
        endpoint=endpoint,
        spec=spec,
        stable=stable,
        candidate=candidate,
        candidate_digest=candidate_digest,
        config_version=config_version,
        created_by=actor,
        started_at=at,
        updated_at=at,
        salt=salt or id,
        evidence_key=id,
        reason=f"Started by {actor or 'nobody in particular'}.",
        waiting_for="the candidate to be ready",
        waiting_since=at,
    )
