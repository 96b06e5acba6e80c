"""Live values of one slice as counts: what came for each field of one served entity, from one
caller, in one hour. It holds no row.

Counts are exact and additive: however rows are split into batches, replicas, callers or hours,
the sum is the same. Only lists of frequent values (`Frequent`) are approximate, within their bound.
`serinus.parity.folding.fold` counts rows into it.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from serinus.parity.buckets import Bins, Buckets
from serinus.parity.contract import Kind
from serinus.parity.frequent import Frequent
from serinus.parity.moments import Moments
from serinus.parity.profiles import FieldProfile, Profile, ScoreProfile
from serinus.parity.shape import Shape

__all__ = [
    "OTHER_CALLER",
    "WHOLE_HOUR",
    "Bins",
    "Buckets",
    "FieldSketch",
    "Lookup",
    "ScoreSketch",
    "Sketch",
    "SliceKey",
    "pack",
    "unpack",
]

#: The caller of those beyond the first eight of a replica.
OTHER_CALLER = "other"
#: The caller of an hour whose callers were put together to save room.
WHOLE_HOUR = "*"


class SliceKey(msgspec.Struct, frozen=True, order=True):
    """Whose values a sketch counts."""

    served: str
    #: Empty when requests named none.
    caller: str
    #: Whole hours since the epoch, in UTC.
    hour: int


class Lookup:
    """Names of what became of a looked-up value; keys of `FieldSketch.lookups`."""

    PRESENT = "PRESENT"
    NULL = "NULL"
    NOT_FOUND = "NOT_FOUND"
    EXPIRED = "EXPIRED"
    ERROR = "ERROR"
    DEFAULTED = "DEFAULTED"


class _Counts(msgspec.Struct):
    """Adds up field by field: numbers by ``+``, dictionaries by key, parts by their own ``add``."""

    def add(self, other: Any) -> None:
        """Add the other's counts."""
        for name in self.__struct_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, int):
                setattr(self, name, mine + theirs)
            elif isinstance(mine, dict):
                _add_dict(mine, theirs)
            elif not isinstance(mine, str):
                mine.add(theirs)


class FieldSketch(_Counts):
    """Counts of one field. Those named as in `FieldProfile` mean the same."""

    #: Rows; all below are of these, but ``refused``.
    n: int = 0
    #: Sent as null.
    null: int = 0
    #: The request had no such field, where it may.
    missing: int = 0
    nan: int = 0
    #: Plus and minus infinity.
    infinite: int = 0
    #: Of another type than the field's, where the reader let it through.
    wrong_type: int = 0
    #: Rows of refused requests that were refused for this field; they are not in ``n``.
    refused: int = 0
    #: Below the declared minimum, above the declared maximum, not of the declared words or pattern.
    below: int = 0
    above: int = 0
    undeclared: int = 0
    #: Numbers that are (not) whole; where the field is of whole numbers the latter is a violation.
    integral: int = 0
    fractional: int = 0
    #: Never seen in training: numbers below and above its range, words that it had not.
    under: int = 0
    over: int = 0
    new_word: int = 0
    #: Equal to the contract's default for null.
    defaulted: int = 0
    negative: int = 0
    zero: int = 0
    #: Not a multiple of training's grid.
    off_grid: int = 0
    #: Whole numbers beyond 2^53 in size, which JSON readers round.
    beyond_exact: int = 0
    #: Between the shape's edges, as `FieldProfile.counts`.
    bins: Bins = msgspec.field(default_factory=Bins)
    #: Bucket b counts |x| in (GAMMA^(b-1), GAMMA^b]; one histogram for each sign.
    positive_log: Buckets = msgspec.field(default_factory=Buckets)
    negative_log: Buckets = msgspec.field(default_factory=Buckets)
    #: The shape's ``specials`` (as ``repr``) → count.
    specials: dict[str, int] = {}
    #: Words of the shape → count; hashed where the field is private.
    words: dict[str, int] = {}
    #: Rows with another word, and which those were.
    other: int = 0
    unknown: Frequent = msgspec.field(default_factory=Frequent)
    #: Of the unknown ones, how many would be known after: ``case``, ``space``, ``unicode`` or as
    #: ``prefix`` of a known word.
    near: dict[str, int] = {}
    #: The most frequent single numbers, of a sample of rows.
    frequent: Frequent = msgspec.field(default_factory=Frequent)
    empty: int = 0
    padded: int = 0
    non_ascii: int = 0
    #: Length of text: bucket b counts lengths in [2^(b-1), 2^b).
    lengths: dict[str, int] = {}
    hours: Bins = msgspec.field(default_factory=Bins)
    weekdays: Bins = msgspec.field(default_factory=Bins)
    months: Bins = msgspec.field(default_factory=Bins)
    true: int = 0
    #: What became of looked-up values, by `Lookup`.
    lookups: dict[str, int] = {}
    #: Ages of looked-up values: bucket b counts seconds in (2^((b-1)/4), 2^(b/4)].
    ages: Buckets = msgspec.field(default_factory=Buckets)

    @property
    def present(self) -> int:
        """Rows that had a usable value."""
        return self.n - self.null - self.missing - self.nan - self.wrong_type

    @property
    def novel(self) -> int:
        """Rows whose value training never saw."""
        return self.under + self.over + self.new_word

    def profile(self, edges: Any) -> FieldProfile:
        """The same counts in the form of a contract's profile."""
        return FieldProfile(
            n=self.n,
            null=self.null + self.missing,
            nan=self.nan,
            infinite=self.infinite,
            negative=self.negative,
            integral=self.integral,
            edges=[float(each) for each in edges],
            counts=self.bins.counts.tolist(),
            log=self.positive_log.named() | self.negative_log.named("n"),
            zero=self.zero,
            words=dict(self.words),
            other=self.other,
            empty=self.empty,
            padded=self.padded,
            non_ascii=self.non_ascii,
            lengths=dict(self.lengths),
            hours=self.hours.counts.tolist(),
            weekdays=self.weekdays.counts.tolist(),
            months=self.months.counts.tolist(),
            true=self.true,
        )


class ScoreSketch(_Counts):
    """Counts of what the model answered."""

    n: int = 0
    nan: int = 0
    #: Answers that are neither one number nor one label a row.
    unread: int = 0
    #: Between the shape's score edges, as `ScoreProfile.counts`.
    bins: Bins = msgspec.field(default_factory=Bins)
    positive_log: Buckets = msgspec.field(default_factory=Buckets)
    negative_log: Buckets = msgspec.field(default_factory=Buckets)
    zero: int = 0
    #: Scores at or above the contract's threshold.
    decided: int = 0
    labels: Frequent = msgspec.field(default_factory=Frequent)

    def profile(self, edges: Any) -> ScoreProfile:
        """The same counts in the form of a contract's profile."""
        return ScoreProfile(
            n=self.n,
            nan=self.nan,
            edges=[float(each) for each in edges],
            counts=self.bins.counts.tolist(),
            decisions={label: count for label, (count, _) in self.labels.kept.items()},
        )


class Sketch(_Counts):
    """All counts of one slice."""

    #: The id of the contract by whose shape it was counted.
    contract: str = ""
    #: Requests and rows that were answered and counted.
    requests: int = 0
    rows: int = 0
    #: Rows that were answered and not counted: beyond the rate of sampling, or no room.
    skipped: int = 0
    #: Requests that had fields which the model doesn't know.
    extra: int = 0
    #: Kind of violation → field (empty: the whole request) → requests refused for it.
    refused: dict[str, dict[str, int]] = {}
    #: Kind → field (empty: none of the model's) → values let pass that strict reading refuses.
    #: All are counted, also of requests whose values are not.
    coerced: dict[str, dict[str, int]] = {}
    fields: dict[str, FieldSketch] = {}
    score: ScoreSketch = msgspec.field(default_factory=ScoreSketch)
    moments: Moments = msgspec.field(default_factory=Moments)
    #: Stage of a request's way through the replica → how long it took (`took.STAGES`).
    took: dict[str, Buckets] = {}

    def add(self, other: "Sketch") -> None:
        """Add the other's counts; raises ValueError when it was counted by another contract."""
        if self.contract and other.contract and self.contract != other.contract:
            raise ValueError("live values counted by different contracts can't be added")
        self.contract = self.contract or other.contract
        _Counts.add(self, other)

    def __add__(self, other: "Sketch") -> "Sketch":
        found = unpack(pack(self))
        found.add(other)
        return found

    def profile(self, shape: Shape) -> Profile:
        """The same counts in the form of a contract's profile."""
        return Profile(
            rows=self.rows,
            fields={
                name: field.profile(shape.fields[name].edges)
                for name, field in self.fields.items()
                if name in shape.fields and shape.fields[name].kind is not Kind.OTHER
            },
            score=self.score.profile(shape.score.edges),
        )


def _add_dict(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    for key, value in theirs.items():
        if isinstance(value, int):
            mine[key] = mine.get(key, 0) + value
        elif isinstance(value, dict):
            _add_dict(mine.setdefault(key, {}), value)
        else:
            mine.setdefault(key, type(value)()).add(value)


def _out(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        # Most counts are small, and msgpack writes small numbers in a byte or two.
        return value.tolist()
    raise TypeError(f"a sketch can't hold a {type(value).__name__}")


_encoder = msgspec.msgpack.Encoder(enc_hook=_out)
_decoder = msgspec.msgpack.Decoder(Sketch)


def pack(sketch: Sketch, pause: Callable[[], None] = lambda: None) -> bytes:
    """The sketch as bytes; ``pause`` is called after each field, for others to run."""
    whole: dict[str, Any] = {name: getattr(sketch, name) for name in sketch.__struct_fields__}
    fields = whole["fields"] = {}
    for name, counts in sketch.fields.items():
        fields[name] = msgspec.Raw(_encoder.encode(counts))
        pause()
    return _encoder.encode(whole)


def unpack(content: bytes) -> Sketch:
    """The sketch in bytes of `pack`; raises msgspec.DecodeError."""
    return _decoder.decode(content)
