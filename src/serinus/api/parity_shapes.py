"""What our own calls about parity answer, for the OpenAPI document alone; see `shapes`.

Fields may be added to these; those that are here stay.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from serinus.api.rollout_shapes import OpenShape, Rfc3339
from serinus.parity.diagnosis.finding import Confidence, Verdict
from serinus.parity.skew import SkewVerdict

__all__ = [
    "ContractsReply",
    "DiagnosisReply",
    "KeysReply",
    "MayRetrainReply",
    "OutcomesReply",
    "SkewReply",
    "VerificationsReply",
]

Share = Annotated[float, Field(ge=0, le=1)]


class _Gate(OpenShape):
    name: str
    result: Literal["pass", "fail", "skipped"]
    # Named by a word that Python has for itself.
    fault: str = Field("", alias="class")
    stage: str = ""
    detail: str = ""


class _Verification(OpenShape):
    served_entity: str
    config_version: int
    model: str
    status: Literal["none", "asked", "running", "ended"]
    result: Literal["pass", "fail", "waived"] | None
    waived: str | None
    gates: list[_Gate]
    notes: list[str]
    rows: int
    contract_id: str
    started_at: Rfc3339 | None
    ended_at: Rfc3339 | None


class VerificationsReply(OpenShape):
    """What is known of each version that an endpoint serves or prepares."""

    policy: Literal["required", "warn", "off"]
    verifications: list[_Verification]


class _Contract(OpenShape):
    served_entity: str
    config_version: int
    model: str
    origin: Literal["captured", "derived"] | None
    id: str | None
    contract: dict[str, Any] | None
    error: str | None


class ContractsReply(OpenShape):
    """The contract of each version that an endpoint serves or prepares."""

    contracts: list[_Contract]


class _FieldSkew(OpenShape):
    field: str
    verdict: SkewVerdict
    rows: int
    other_rows: int
    is_answer: bool


class _Skew(OpenShape):
    against: str
    verdict: SkewVerdict
    detail: str
    rows: int
    fields: list[_FieldSkew]


class _VersionSkew(OpenShape):
    version: str
    contract: str
    rows: int
    callers: dict[str, int]
    verdict: SkewVerdict
    training: _Skew
    between: list[_Skew]


class SkewReply(OpenShape):
    """Live values beside training's, and versions beside each other."""

    endpoint: str
    since: Rfc3339
    until: Rfc3339
    caller: str | None
    verdict: SkewVerdict
    versions: list[_VersionSkew]


class _Finding(OpenShape):
    verdict: Verdict
    detail: str
    confidence: Confidence
    features: list[str]
    share: Share | None
    evidence: list[dict[str, Any]]


class DiagnosisReply(OpenShape):
    """What is wrong with an endpoint, or that nothing is known to be."""

    endpoint: str
    version: str
    caller: str | None
    at: Rfc3339
    verdict: Verdict
    detail: str
    confidence: Confidence
    locus: str
    features: list[str]
    since: str | None
    share: Share | None
    findings: list[_Finding]
    excluded: list[dict[str, Any]]
    next: list[str]
    do_not: list[str]


class MayRetrainReply(OpenShape):
    """Whether to retrain or promote by the last diagnosis."""

    allowed: bool
    reason: str
    verdict: Verdict | None
    diagnosed_at: Rfc3339 | None


class KeysReply(OpenShape):
    """Values of sampled rows."""

    keys: list[dict[str, Any]]


class OutcomesReply(OpenShape):
    """What became of each label, in the order given, and how many of each."""

    accepted: int
    duplicate: int
    too_late: int
    sampled: int
    unknown: int
    results: list[Literal["accepted", "duplicate", "too_late", "sampled", "unknown"]]
