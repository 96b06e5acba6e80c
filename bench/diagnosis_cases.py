"""The 72 fault cases of the diagnosis matrix, controls and genuine shifts, for any study.

Each case names the class that is right. Cases of a study that has no such field are left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.diagnosis_data import Study
from bench.diagnosis_traffic import Traffic
from serinus.parity.diagnosis.distance import TRAINED
from serinus.parity.diagnosis.values import LibraryDifference
from serinus.testing.faults import fault

__all__ = ["Case", "cases", "controls", "shifts"]


@dataclass(frozen=True)
class Case:
    """One run and the class that is right for it."""

    number: str
    name: str
    right: str
    traffic: Traffic
    #: Also asked of one caller from noon on; not for faults that no single caller has.
    by_caller: bool = False
    #: Classes that must be told beside it: of two faults at once neither may hide the other.
    #: Where ``right`` is empty, either may stand first.
    also: tuple[str, ...] = ()
    #: What is no miss either: that it can't be said.
    unless: str = ""
    #: Fields that findings must name.
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Names:
    """Which field of a study plays which part."""

    number: str
    whole: str
    clock: str
    period: int
    weekday: str
    first_weekday: int
    word: str
    other_number: str
    flag: str
    date: str
    looked_up: str
    other_looked_up: str
    unit: str
    clip: float
    limit: float
    new_word: str


NAMES = {
    "nycflights13": Names(
        "distance", "distance", "hour", 24, "weekday", 0, "carrier", "month", "weekend",
        "scheduled", "temp", "wind_speed", "1.609344", 1000, 1000, "ZZ",
    ),
    "diamonds": Names(
        "carat", "price", "sold_hour", 24, "", 0, "clarity", "z", "gift",
        "", "depth", "table", "0.2", 5000, 2.0, "FL",
    ),
}  # fmt: skip

#: Rows below which nothing is said of distributions, of training's and of live ones.
_ENOUGH = 1000
_LIBRARY = (LibraryDifference(name="scikit-learn", trained="1.5.2", serving="1.9.1"),)


def _client(number: str, spec: str, right: str = "schema", **more: Any) -> Case:
    share = more.pop("share", 1.0)
    return Case(number, f"{spec}{f' in {share:.0%}' if share < 1 else ''}", right,
                Traffic(fault(spec, share=share), **more), by_caller=share == 1.0)  # fmt: skip


def _inside(number: str, spec: str, right: str, **more: Any) -> Case:
    return Case(number, spec, right, Traffic(fault(spec), **more))


def _looked_up(number: str, spec: str, right: str, share: float = 1.0) -> Case:
    return Case(number, spec, right, Traffic(fault(spec, share=share)))


def cases(study: Study) -> Iterator[Case]:
    """All that can be injected into this study."""
    n = NAMES[study.name]
    yield from _of_clients(n)
    yield from _of_endpoints(n)
    yield from _of_stores(study, n)
    yield from _of_the_rest(study, n)


def _of_clients(n: Names) -> Iterator[Case]:
    yield _client("1", f"unit:{n.whole}:{n.unit}")
    yield _client("1b", f"unit:{n.number}:2.54")
    yield _client("2", f"casing:{n.word}")
    yield _client("3", f"padding:{n.word}")
    yield _client("4", f"shift:{n.clock}:4:{n.period}")
    yield _client("5", f"null-as:-999:{n.whole}", share=0.3)
    yield _client("5b", f"null-as:-1:{n.number}", share=0.3)
    yield _client("6", f"empty:{n.word}", share=0.3)
    yield _client("7", f"missing:{n.number}")
    yield _client("8", f"as-text:{n.whole}")
    yield _client("9", f"comma:{n.number}")
    if n.weekday:
        yield _client("10", f"base:{n.weekday}:1")
    yield _client("11", f"swap:{n.clock}:{n.other_number}")
    yield _client("12", f"cut:{n.word}:1")
    yield _client("13", f"code:{n.word}")
    yield _client("14", f"overflow:{n.whole}:16:37")
    yield _client("24", f"clip:{n.whole}:{n.clip}")
    for number, share in (("45", 0.2), ("46", 0.05)):
        yield _client(number, f"unit:{n.whole}:{n.unit}", share=share)
        yield _client(f"{number}r", f"rounded-unit:{n.whole}:{n.unit}", share=share)
    yield _client("47", f"casing:{n.word}", share=0.05)
    yield _client("48", f"rounded-unit:{n.whole}:1.609344")
    yield _client("52", f"shift:{n.clock}:1:{n.period}")
    yield _client("55", f"duplicate-key:{n.number}")
    yield _client("56", f"as-text:{n.flag}")
    if n.date:
        yield _client("57", f"day-month:{n.date}")
    yield _client("58", f"unit:{n.whole}:1000")
    yield _client("69", f"big-integer:{n.whole}", share=0.1)


def _of_endpoints(n: Names) -> Iterator[Case]:
    yield _inside("15", f"parse-celsius:{n.looked_up}", "preprocessing")
    yield _inside("16", "scaler-refit", "preprocessing")
    yield _inside("17", "column-order", "preprocessing")
    yield _inside("18", f"impute:{n.looked_up}:0", "preprocessing")
    yield _inside("19", "half-precision", "preprocessing")
    yield _inside("20", "single-precision", "healthy")
    yield _inside("21", "threshold:0.35", "preprocessing")
    yield _inside("22", "class-order", "model")
    yield _inside("23", f"parse-clip:{n.number}:{n.limit}", "preprocessing")
    yield _inside("33", "library-transform", "environment", environment=_LIBRARY)
    yield Case("34", "other library, equal answers", "healthy", Traffic(environment=_LIBRARY))
    yield _inside("35", "library-score", "environment", environment=_LIBRARY)
    yield _inside("37", "corrupt-weights", "model", artefact_equal=False)
    yield _inside("59", f"parse-lower:{n.word}", "preprocessing")
    yield _inside("60", f"parse-scale:{n.number}:0.00392157", "preprocessing")
    yield _inside("61/62", f"batch-mean:{n.looked_up}", "preprocessing", paths=True)
    yield _inside("63", f"parse-shift:{n.clock}:5:{n.period}", "preprocessing")
    yield _inside("67", "last-bits", "healthy")
    yield _inside("68", f"impute:{n.other_looked_up}:-1", "preprocessing")
    yield _inside("70", "row-order", "model", paths=True)


def _of_stores(study: Study, n: Names) -> Iterator[Case]:
    one, other = n.looked_up, n.other_looked_up
    yield _looked_up("25", f"lookup-miss:{one}", "availability", 0.35)
    yield _looked_up("26", f"lookup-null:{one}", "availability", 0.35)
    yield _looked_up("27", f"lookup-default:{one}:50", "availability", 0.4)
    if study.time is not None:  # else there is no older value to be had
        yield _looked_up("28", f"lookup-stale:{one}", "staleness")
    yield _looked_up("29", f"lookup-aged:{one}:132", "staleness")
    yield _looked_up("30", f"lookup-default:{other}:-1", "availability", 0.2)
    yield _looked_up("31", f"lookup-unit:{other}:0.44704", "preprocessing")
    yield _looked_up("32", f"lookup-wrong-key:{one}", "preprocessing")
    yield _looked_up("66", f"lookup-wrong-key:{other}", "preprocessing", 0.3)


def _of_the_rest(study: Study, n: Names) -> Iterator[Case]:
    yield Case("36", "old version routed", "routing", Traffic(wrong_replicas=2))
    yield Case("64", "half of the replicas old", "routing", Traffic(wrong_replicas=1))
    yield Case("65", "assignment changed its salt", "routing", Traffic(switched_units=300))
    yield Case("41", "a new category", "drift", Traffic(words=(n.word, n.new_word, 0.15)))
    yield Case("42", "labels flipped", "drift", Traffic(flipped=0.6))
    yield Case("71", "labels chosen by the model", "drift", Traffic(selected=True))
    yield Case("72", "labels not there yet", "inconclusive", Traffic(flipped=0.6, labels=60))
    yield Case("54", "a feature known too late", "model", Traffic(leak=True))
    yield Case("43", "300 healthy rows", "inconclusive", Traffic(rows=300))
    mask = study.shifts[next(iter(study.shifts))]
    yield Case(
        "50",
        "a shift and an endpoint's fault",
        "preprocessing",
        Traffic(fault(f"parse-celsius:{n.looked_up}"), mask=mask),
        also=("drift",),
    )
    yield Case(
        "50b",
        "a client's fault and a shift",
        "schema",
        Traffic(fault(f"casing:{n.word}"), mask=mask),
        also=("drift",),
    )
    yield Case(
        "50c",
        "a client's fault and an endpoint's",
        "preprocessing",
        Traffic(fault(f"casing:{n.word}"), more=(fault("scaler-refit"),)),
        also=("schema",),
    )
    yield Case(
        "50d",
        "a client's fault and a store's",
        "availability",
        Traffic(fault(f"casing:{n.word}"), more=(fault(f"lookup-null:{n.looked_up}", share=0.35),)),
        also=("schema",),
    )
    nulls = study.frame[n.looked_up].isna().to_numpy()
    if nulls.sum() > 1000:
        random = np.random.default_rng(2)
        mask = nulls | (random.random(len(nulls)) < 3 * nulls.sum() / len(nulls))
        yield Case("51", "nulls really grow", "drift", Traffic(mask=mask))


def shifts(study: Study) -> Iterator[Case]:
    """Genuine changes of the traffic: 38 to 40, 49, 53 and more of the kind."""
    right = "inconclusive" if study.derived or study.captured < TRAINED else "drift"
    for name, mask in study.shifts.items():
        if mask.sum() >= 3000:
            yield Case("38-40", name, right, Traffic(mask=mask, rows=4000))


def controls(count: int, study: Study | None = None) -> Iterator[Case]:
    """Healthy traffic of some sizes; where there is too little to compare, that must be said."""
    sizes = (1000, 2000, 4000) if study is None else study.sizes
    for at in range(count):
        rows = sizes[at % len(sizes)]
        few = rows < _ENOUGH or (study is not None and (study.derived or study.captured < TRAINED))
        name = f"healthy {at + 1}, {rows} rows"
        right = "inconclusive" if few else "healthy"
        yield Case("44", name, right, Traffic(rows=rows, seed=100 + at))
