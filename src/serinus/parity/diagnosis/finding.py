"""What a diagnosis says: findings ranked by their proof, and what was excluded by which test.

Only values, named as they stand in JSON; nothing here decides.
"""

from enum import Enum

import msgspec

__all__ = [
    "Confidence",
    "Diagnosis",
    "Evidence",
    "Exclusion",
    "Finding",
    "Locus",
    "Verdict",
    "family",
    "locus_of",
]


class Verdict(Enum):
    """The class of failure."""

    HEALTHY = "healthy"
    SCHEMA = "schema"
    PREPROCESSING = "preprocessing"
    AVAILABILITY = "availability"
    STALENESS = "staleness"
    ENVIRONMENT = "environment"
    ROUTING = "routing"
    MODEL = "model"
    DRIFT = "drift"
    INCONCLUSIVE = "inconclusive"


class Confidence(Enum):
    """How good the proof is, best first."""

    #: Something was compared that must be equal, and was not.
    EXACT = "exact"
    #: A pattern of values with an inverse, and at least two things that speak for it.
    STRONG = "strong"
    SUSPECTED = "suspected"
    INCONCLUSIVE = "inconclusive"


class Locus(Enum):
    """Where the cause is."""

    CLIENT = "client"
    ENDPOINT = "endpoint"
    STORE = "store"
    RUNTIME = "runtime"
    ROUTER = "router"
    ARTEFACT = "artefact"
    WORLD = "world"
    NOWHERE = ""


_LOCUS = {
    "schema": Locus.CLIENT,
    "preprocessing": Locus.ENDPOINT,
    "availability": Locus.STORE,
    "staleness": Locus.STORE,
    "environment": Locus.RUNTIME,
    "routing": Locus.ROUTER,
    "model": Locus.ARTEFACT,
    "drift": Locus.WORLD,
}


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fact: a sentence, with the numbers and the rows behind it."""

    text: str
    numbers: dict[str, float] = {}
    #: Ids of recorded rows that show it.
    rows: list[str] = []


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One cause that the evidence speaks for."""

    verdict: Verdict
    #: The class in full, e.g. ``schema.semantics``.
    detail: str
    confidence: Confidence
    features: list[str] = []
    #: Share of the window's rows that are touched, 0 to 1; None: not known.
    share: float | None = None
    evidence: list[Evidence] = []
    #: The step that found it, 1 to 11.
    step: int = 0
    #: What exactly, in few words: ``unit: x 1.609``.
    pattern: str = ""
    #: The callers that send or suffer it; empty: all of them, or not known.
    callers: list[str] = []
    since: str | None = None
    locus: Locus = Locus.NOWHERE


class Exclusion(msgspec.Struct, frozen=True, kw_only=True):
    """A class that can't be the cause, and the test that says so."""

    fault: str = msgspec.field(name="class")
    test: str


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """The answer; the fields of the first finding are repeated on top."""

    verdict: Verdict
    detail: str
    confidence: Confidence
    locus: Locus = Locus.NOWHERE
    features: list[str] = []
    #: Since when, RFC 3339; None: all of the window, or not known.
    since: str | None = None
    share: float | None = None
    findings: list[Finding] = []
    excluded: list[Exclusion] = []
    #: Evidence that there was none of, and how to have it.
    missing: list[str] = []
    #: What to do next, and what not to do.
    next: list[str] = []
    do_not: list[str] = []
    #: What happened nearest to the onset.
    event: str | None = None
    notes: list[str] = []
    rows: int = 0
    window: list[str] = []


def family(detail: str) -> Verdict:
    """The verdict that a class in full belongs to: ``schema.semantics`` is SCHEMA."""
    return Verdict(detail.partition(".")[0])


def locus_of(detail: str) -> Locus:
    """Where the causes of a class are, unless a finding knows better."""
    return _LOCUS.get(detail.partition(".")[0], Locus.NOWHERE)
