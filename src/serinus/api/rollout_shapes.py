"""What our own calls about rollouts answer, for the OpenAPI document alone; see `shapes`.

Fields may be added to these; those that are here stay.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from serinus.rollout.state import Phase

__all__ = [
    "EvidenceReply",
    "JournalPage",
    "OpenShape",
    "PolicyReply",
    "ReplayReply",
    "RolloutPage",
    "RolloutReply",
]

BasisPoints = Annotated[int, Field(ge=0, le=10_000)]
Rfc3339 = Annotated[str, Field(description="RFC 3339, in UTC")]
VerdictWord = Literal["REGRESSED", "SAFE", "UNDECIDED", "NO_DATA", "INVALID"]


class OpenShape(BaseModel):
    """A reply to which fields may be added."""

    # Not pydantic's own names, but those of the wire.
    model_config = ConfigDict(extra="allow", protected_namespaces=())


class GuardrailShape(OpenShape):
    """What a guardrail says."""

    name: str
    verdict: VerdictWord
    reason: str


class _Caution(OpenShape):
    detail: str
    confidence: str
    at: Rfc3339
    why: str


class RolloutReply(OpenShape):
    """A rollout as it is now."""

    id: str
    endpoint: str
    strategy: Literal["canary", "blue-green", "shadow"]
    phase: Phase
    reason: str
    cause: str | None
    stable: str
    candidate: str
    weight_bp: BasisPoints
    shadow_bp: BasisPoints
    stage: int
    step: int
    steps: list[Any]
    unit: Any
    guardrails: list[GuardrailShape]
    waiting_for: str
    why: str
    config_version: int
    attempt: int
    created_by: str
    started_at: Rfc3339
    updated_at: Rfc3339
    ended_at: Rfc3339 | None
    spec: dict[str, Any]
    verification: dict[str, Any]
    caution: _Caution | None


class RolloutPage(OpenShape):
    """Rollouts, the newest first."""

    rollouts: list[RolloutReply]


class _Entry(OpenShape):
    id: int
    at: Rfc3339
    actor: str
    kind: str
    rollout: str | None
    data: dict[str, Any]


class JournalPage(OpenShape):
    """What happened, the oldest first; ``next`` is the ``after`` of the page after this."""

    entries: list[_Entry]
    next: int | None


class _Stage(OpenShape):
    stage: int
    weight_bp: BasisPoints
    shadow_bp: BasisPoints
    guardrails: list[GuardrailShape]


class _Counted(OpenShape):
    stage: int
    weight_bp: BasisPoints
    arms: dict[str, dict[str, Any]]


class EvidenceReply(OpenShape):
    """What guardrails said last and at the end of each stage, and what was counted."""

    guardrails: list[GuardrailShape]
    stages: list[_Stage]
    counts: list[_Counted]
    outcomes: list[dict[str, Any]]


class _Decision(OpenShape):
    entry: int
    at: Rfc3339
    actor: str
    judged: bool
    stands: bool
    against: list[str]
    verdicts: list[GuardrailShape]


class ReplayReply(OpenShape):
    """Every decision made again, and whether it stands."""

    rollout: str
    endpoint: str
    stands: bool
    judged: int
    decisions: list[_Decision]


class PolicyReply(OpenShape):
    """The policy of an endpoint."""

    rollout: dict[str, Any] | None
    verification: Literal["required", "warn", "off"]
    direct_updates: Literal["allow", "refuse"]
    caller: dict[str, str] | None
