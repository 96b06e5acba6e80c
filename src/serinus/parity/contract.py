"""The contract as values: what was declared of a model and, apart from it, what was observed.

Declared is enforced (a violation is a schema fault); observed is compared (novelty is a candidate
for drift). Nothing here reads files or knows of any library.
"""

from enum import Enum

import msgspec

from serinus.parity.canonical import canonical, decode, sha256

__all__ = [
    "FORMAT",
    "Contract",
    "Coverage",
    "Declared",
    "Field",
    "FileEntry",
    "Inputs",
    "Kind",
    "Leak",
    "Metric",
    "ModelIdentity",
    "Nulls",
    "Observed",
    "Origin",
    "Outputs",
    "Privacy",
    "Stage",
    "Timing",
    "Tolerance",
    "Training",
    "Type",
    "contract_id",
    "read_contract_bytes",
]

#: Version of the format. Every field is written, so a new one needs a new number.
FORMAT = 1


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a contract."""


class Origin(Enum):
    """Where a contract comes from."""

    CAPTURED = "captured"
    DERIVED = "derived"


class Kind(Enum):
    """What a column of values is."""

    NUMBER = "number"
    WHOLE = "int"
    FLAG = "bool"
    TEXT = "text"
    INSTANT = "datetime"
    OTHER = "other"


class Privacy(Enum):
    """How much of a field's values a contract may hold."""

    PLAIN = "plain"
    HASH = "hash"
    DROP = "drop"


class Type(_Part, frozen=True):
    """What a field's values are, on the wire and in memory."""

    logical: Kind
    #: JSON types that carry it: ``number``, ``string``, ``boolean``.
    wire: list[str] = []
    #: The signature's type, or NumPy's where there is no signature.
    physical: str = ""
    #: ``lossless``: 5.0 may stand for 5; ``none``: nothing may stand for anything.
    coerce: str = "none"


class Nulls(_Part, frozen=True):
    """Whether a value may be missing, and what is done then."""

    allowed: bool = False
    #: Other values that mean "missing", e.g. ``"-1"``.
    encodings: list[str] = []
    #: ``reject``, ``default`` or ``model-native`` (the model itself deals with it).
    policy: str = "reject"
    default: int | float | str | bool | None = None


class Declared(_Part, frozen=True):
    """What somebody said of the values; None is "nothing was said"."""

    min: float | None = None
    max: float | None = None
    enum: list[str] | None = None
    pattern: str | None = None
    integral: bool | None = None


class Observed(_Part, frozen=True):
    """What was seen of the values in training."""

    n: int = 0
    null_rate: float = 0.0
    min: float | str | None = None
    max: float | str | None = None
    distinct: int | None = None
    #: All values of a text field, sorted, where there are at most a thousand.
    values: list[str] | None = None
    #: True when ``values`` are hashes (privacy ``hash``).
    hashed: bool = False
    #: All numbers are multiples of it.
    grid: float | None = None
    #: ``upper``, ``lower``, ``title`` or ``mixed``.
    case: str | None = None
    #: Single numbers that stand out, with their share.
    spikes: dict[str, float] = {}


class Timing(_Part, frozen=True):
    """When a value is known, and how old it may be; durations as ISO 8601."""

    #: ``request``, ``event+PT1H`` or ``after_label``.
    available_at: str | None = None
    max_age: str | None = None
    #: Seconds between the value and the prediction, as in training.
    train_lag_p50: float | None = None
    train_lag_p99: float | None = None


class Field(_Part, frozen=True):
    """One input of the model."""

    name: str
    type: Type
    role: str = "feature"
    #: ``request``, ``lookup:<table>`` or ``derived:<function>``.
    source: str = "request"
    entity_keys: list[str] = []
    required: bool = True
    unit: str | None = None
    tz: str | None = None
    calendar: str | None = None
    #: Period of a value that goes round, e.g. 24 for an hour.
    cyclic: float | None = None
    null: Nulls = Nulls()
    declared: Declared = Declared()
    observed: Observed = Observed()
    #: ``reject``, ``bucket``, ``model-native``; None: nobody knows.
    unknown_category: str | None = None
    time: Timing = Timing()
    #: How much the metric loses when this field is shuffled.
    importance: float | None = None
    privacy: Privacy = Privacy.PLAIN


class Inputs(_Part, frozen=True):
    """How the fields are put together."""

    names: list[str]
    #: True when the model reads columns by place, so that a swap can't be seen.
    positional: bool = False


class Outputs(_Part, frozen=True):
    """What the model answers."""

    #: ``class``, ``probability``, ``number`` or ``other``.
    kind: str = "other"
    #: The method behind the answer: ``predict``, ``predict_proba`` …
    method: str = "predict"
    names: list[str] = []
    #: Labels in the order of the score's columns.
    classes: list[str] = []
    #: Which column of the score decides.
    column: int | None = None
    threshold: float | None = None
    #: Names the calibration, if there is one.
    calibration: str | None = None


class Tolerance(_Part, frozen=True):
    """How far two values of a stage may lie apart: ``exact``, ``ulp`` or ``rtol``."""

    kind: str = "exact"
    ulp: int = 0
    rtol: float = 0.0
    #: Relative to the largest value of its column among the golden rows.
    atol: float = 0.0


class Stage(_Part, frozen=True):
    """One step on the way from a request to a decision."""

    #: ``S1`` parsed, ``S2`` joined, ``S3`` vector, ``S4`` raw score, ``S5`` decision, ``answer``;
    #: ``S3:<step>`` for the steps in between.
    name: str
    #: How to compute it again: ``fields``, ``sklearn``, ``method:<name>``; empty: not possible.
    how: str = ""
    #: Names of its columns, in the order of the arrays; empty: one array without names.
    columns: list[str] = []
    tolerance: Tolerance = Tolerance()


class Training(_Part, frozen=True):
    """Which data the model learned from."""

    rows: int = 0
    columns: int = 0
    #: Over all values in their order.
    fingerprint: str = ""
    #: First and last time of a prediction, as ISO 8601.
    since: str | None = None
    until: str | None = None
    label: str | None = None
    label_delay: str | None = None
    positive_rate: float | None = None


class Metric(_Part, frozen=True):
    """A figure that training claimed, and how to have it again."""

    #: ``roc_auc``, ``accuracy``, ``rmse``, or the user's own.
    name: str
    offline: float
    rows: int
    #: With each feature as serving will see it; equal to ``offline`` when nothing is masked.
    as_served: float | None = None
    #: Fields that were masked for that.
    masked: list[str] = []
    #: Two standard errors to each side.
    low: float | None = None
    high: float | None = None
    #: The same on the golden rows that have labels.
    golden: float | None = None


class Leak(_Part, frozen=True):
    """A feature that knows what serving will not know."""

    field: str
    #: ``after_label``, ``too_late`` (by its timestamps) or ``suspected``.
    kind: str
    detail: str
    rows: int = 0


class Coverage(_Part, frozen=True):
    """What the golden rows hold."""

    rows: int = 0
    made: int = 0
    #: Kind of case → how many of these there are, and how many have a row.
    wanted: dict[str, int] = {}
    covered: dict[str, int] = {}
    #: The first hundred cases that found no place.
    missing: list[str] = []


class ModelIdentity(_Part, frozen=True):
    """The model that the contract belongs to."""

    #: Over its files but the contract's; empty until it is written beside a model.
    digest: str = ""
    flavor: str = ""
    #: True when every row's answer was the same alone and among others.
    rows_independent: bool | None = None
    #: Functions and classes of the author's → SHA-256 of their source.
    code: dict[str, str] = {}
    #: Path of a fitted part → SHA-256 of its parameters.
    parameters: dict[str, str] = {}


class FileEntry(_Part, frozen=True):
    """Another file of the contract."""

    sha256: str
    size: int


class Contract(_Part, frozen=True):
    """All that training promised; its id is the SHA-256 of its bytes."""

    format: int
    origin: Origin
    model: ModelIdentity
    fields: list[Field]
    inputs: Inputs
    outputs: Outputs
    stages: list[Stage] = []
    training: Training = Training()
    metrics: list[Metric] = []
    leaks: list[Leak] = []
    golden: Coverage = Coverage()
    files: dict[str, FileEntry] = {}
    #: RFC 3339; None unless a time was given.
    captured_at: str | None = None
    #: What it can't promise, in sentences.
    cannot: list[str] = []

    def field(self, name: str) -> Field | None:
        """The field of that name, or None."""
        return next((each for each in self.fields if each.name == name), None)


def contract_id(contract: Contract) -> str:
    """The id: the SHA-256 of the canonical bytes, in hex."""
    return sha256(canonical(contract))


def read_contract_bytes(content: bytes) -> Contract:
    """The contract in the bytes of ``contract.json``; raises ContractBroken."""
    return decode(content, Contract, "contract.json")
