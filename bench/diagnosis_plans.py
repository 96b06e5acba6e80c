"""What is put into the held-out worlds: each fault in three shares, pairs of faults, all else once.

A case names the classes that are right; nothing here says how they are found.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bench.diagnosis_cases import Case
from bench.diagnosis_data import Study
from bench.diagnosis_traffic import CALLERS, Traffic, varied
from serinus.parity.diagnosis.distance import TRAINED
from serinus.parity.diagnosis.values import LibraryDifference
from serinus.testing.faults import KINDS, ClientFault, StoreFault, fault

__all__ = ["SHARES", "held_out_cases"]

SHARES = (1.0, 0.2, 0.05)
_ROWS_OF_ONE = 6000
_ROWS = {1.0: 4000, 0.2: 5000, 0.05: 6000}
_LIBRARY = (LibraryDifference(name="scikit-learn", trained="1.5.2", serving="1.9.1"),)


@dataclass(frozen=True)
class Plan:
    """The faults that make sense in one world; fields have ``|`` for a blank in their name."""

    client: str
    endpoint: str
    store: str = ""
    #: Two faults that hold at once, with ``+`` between.
    pairs: str = ""
    #: Only where its answers are classes: share of labels to flip.
    flipped: float = 0.6


_COMPUTED = (
    "scaler-refit column-order half-precision single-precision last-bits library-transform "
    "library-score corrupt-weights row-order "
)
_PLANS = {
    "tumours": Plan(
        client=(
            "unit:mean|radius:2.54 unit:worst|area:0.01 unit:mean|texture:1.609344 "
            "rounded-unit:mean|perimeter:0.393701 rounded-unit:worst|area:1.609344 "
            "null-as:-1:mean|smoothness null-as:0:worst|texture null-as:9999:mean|area "
            "missing:mean|area as-text:mean|radius comma:mean|perimeter "
            "swap:mean|radius:mean|texture swap:mean|smoothness:worst|smoothness "
            "clip:worst|area:900 overflow:worst|area:8 big-integer:mean|area "
            "unit:area|error:1000 duplicate-key:mean|radius"
        ),
        endpoint=f"{_COMPUTED}class-order threshold:0.3 parse-clip:mean|area:500 "
        "parse-scale:mean|radius:2.54 parse-celsius:mean|texture",
        pairs=(
            "unit:mean|radius:2.54+null-as:-1:mean|smoothness missing:mean|area+class-order "
            "clip:worst|area:900+scaler-refit unit:worst|area:0.01+parse-clip:mean|texture:20 "
            "comma:mean|perimeter+unit:mean|texture:1.609344 "
            "null-as:9999:mean|area+null-as:-1:worst|texture "
            "swap:mean|radius:mean|texture+corrupt-weights"
        ),
    ),
    "visits": Plan(
        client=(
            "unit:age_days:0.0027379 rounded-unit:age_days:0.032854 rounded-unit:age_days:24 "
            "unit:lpi:100 unit:disea:0.1 null-as:-1:physlm null-as:-999:disea null-as:99:disea "
            "shift:interview_month:1:12:1 base:interview_month:-1 missing:disea as-text:idp "
            "comma:lpi swap:lpi:fmde clip:age_days:15000 overflow:age_days:8 "
            "overflow:age_days:16:7 big-integer:age_days duplicate-key:lpi"
        ),
        endpoint=f"{_COMPUTED}impute:physlm:-1 parse-clip:disea:15 parse-scale:lpi:100 "
        "parse-shift:interview_month:5:12 batch-mean:physlm",
        pairs=(
            "unit:lpi:100+null-as:-999:disea comma:lpi+scaler-refit "
            "rounded-unit:age_days:24+library-score clip:age_days:15000+parse-scale:lpi:100 "
            "shift:interview_month:1:12:1+unit:disea:0.1 missing:disea+unit:lpi:100"
        ),
    ),
    "orders": Plan(
        client=(
            "unit:amount:100 unit:amount:1.17 rounded-unit:grams:0.035274 unit:grams:0.001 "
            "unit:discount:100 casing:channel casing:country padding:sku unicode:channel "
            "empty:coupon shift:placed_hour:2:24 shift:placed_hour:-1:24 base:placed_weekday:-1 "
            "null-as:-1:age null-as:99:age null-as:0:age null-as:null:age missing:amount "
            "as-text:items as-text:gift comma:amount cut:sku:6 cut:channel:1 code:country "
            "overflow:grams:8 clip:grams:2000 clip:amount:60 swap:amount:discount swap:age:items "
            "day-month:placed big-integer:items duplicate-key:amount"
        ),
        endpoint=f"{_COMPUTED}class-order parse-lower:channel impute:age:0 batch-mean:age "
        "parse-clip:amount:50 parse-scale:amount:100 parse-shift:placed_hour:2:24",
        store=(
            "lookup-miss:spent lookup-null:spent lookup-null:rating lookup-default:rating:3 "
            "lookup-default:spent:0 lookup-stale:spent lookup-stale:rating lookup-aged:spent:132 "
            "lookup-unit:spent:0.01 lookup-wrong-key:spent lookup-wrong-key:rating"
        ),
        pairs=(
            "casing:channel+unit:amount:100 casing:country+lookup-null:spent "
            "shift:placed_hour:2:24+lookup-stale:spent unit:grams:0.001+class-order "
            "null-as:-1:age+scaler-refit lookup-null:spent+lookup-default:rating:3 "
            "lookup-unit:spent:0.01+lookup-stale:rating lookup-wrong-key:spent+row-order "
            "comma:amount+padding:sku missing:amount+lookup-miss:spent "
            "empty:coupon+unit:amount:100 clip:grams:2000+casing:channel"
        ),
    ),
    "houses": Plan(
        client=(
            "unit:area:10.7639 rounded-unit:area:10.7639 unit:centre_km:0.621371 "
            "unit:centre_km:1000 unit:plot:0.000247105 unit:energy:0.2777778 "
            "casing:district casing:kind cut:district:4 code:kind empty:district "
            "null-as:-1:floor null-as:0:energy null-as:-999:energy null-as:0:year "
            "base:floor:1 missing:energy as-text:year "
            "comma:centre_km swap:area:plot swap:rooms:floor swap:area:energy clip:area:150 "
            "overflow:year:8 day-month:listed big-integer:year "
            "duplicate-key:area casing:text"
        ),
        endpoint=f"{_COMPUTED}parse-lower:district parse-clip:area:120 parse-scale:centre_km:1000 "
        "impute:energy:0 batch-mean:energy",
        pairs=(
            "unit:area:10.7639+casing:district unit:centre_km:1000+scaler-refit "
            "null-as:0:energy+null-as:-1:floor casing:kind+library-score "
            "missing:energy+unit:area:10.7639 clip:area:150+unit:energy:0.2777778 "
            "swap:area:plot+padding:district comma:centre_km+corrupt-weights"
        ),
    ),
    "readings": Plan(
        client=(
            "unit:temperature:1.8:32 unit:temperature:1:273.15 unit:pressure:0.02953 "
            "rounded-unit:pressure:0.750062 unit:rpm:0.0166667 "
            "rounded-unit:uptime_s:0.0166667 unit:vibration:1000 "
            "unit:vibration:0.0393701 unit:load:0.01 shift:hour:1:24 "
            "shift:hour:-2:24 shift:hour:8:24 shift:wind_from:180:360 base:hour:1 "
            "null-as:-1:humidity null-as:0:humidity null-as:-999:temperature null-as:0:vibration "
            "null-as:null:current casing:machine casing:mode "
            "cut:mode:1 code:mode missing:load as-text:rpm comma:temperature "
            "swap:temperature:humidity swap:load:current swap:hour:load clip:vibration:0.5 "
            "clip:temperature:15 overflow:rpm:8 overflow:uptime_s:16 big-integer:uptime_s "
            "duplicate-key:load"
        ),
        endpoint=f"{_COMPUTED}class-order parse-celsius:temperature parse-clip:load:80 "
        "parse-scale:vibration:1000 parse-shift:hour:2:24 parse-lower:machine impute:humidity:0 "
        "batch-mean:humidity",
        pairs=(
            "unit:temperature:1.8:32+shift:hour:2:24 casing:machine+half-precision "
            "null-as:-1:humidity+clip:vibration:0.5 shift:hour:8:24+class-order "
            "swap:temperature:humidity+unit:vibration:1000 missing:load+library-transform "
            "unit:pressure:0.02953+as-text:door unit:uptime_s:1000+cut:mode:1"
        ),
    ),
    "few wines": Plan(
        client=(
            "unit:alcohol:0.789 unit:proline:1000 null-as:-1:ash null-as:-999:hue missing:hue "
            "as-text:proline comma:alcohol swap:alcohol:ash clip:proline:900 overflow:proline:8"
        ),
        endpoint=_COMPUTED,
    ),
    "wines": Plan(
        client=(
            "unit:alcohol:0.789 null-as:-1:ash missing:hue as-text:proline comma:alcohol "
            "swap:alcohol:ash big-integer:proline duplicate-key:ash"
        ),
        endpoint="scaler-refit class-order row-order",
    ),
}  # fmt: skip
#: What a fault changes nothing by, or what is refused before it does any harm.
_HARMLESS = {"unicode:channel"}


def held_out_cases(study: Study, *, computed: bool = True, shares: bool = True) -> Iterator[Case]:
    """All of one world; without ``shares`` only what depends on the model."""
    plan = _PLANS[study.name]
    if shares:
        yield from _sent(study, plan)
    if computed:
        for text in plan.endpoint.split():
            yield _known(study, _case(text, 1.0))
        if not study.derived:
            for case in _of_labels(study, plan):
                yield _known(study, case)
        few = study.derived or study.captured < TRAINED
        right = "inconclusive" if few else "healthy"
        yield Case("own", "other library, equal answers", right, Traffic(environment=_LIBRARY))
        yield Case("own", "half of the replicas old", "routing", Traffic(wrong_replicas=1))
        yield Case("own", "300 healthy rows", "inconclusive", Traffic(rows=300))


def _sent(study: Study, plan: Plan) -> Iterator[Case]:
    """Clients' and stores' faults; every second one from one caller, where callers differ."""
    for text in (plan.client + " " + plan.store).split():
        if text not in _HARMLESS:
            for share in SHARES:
                yield _known(study, _case(text, share))
    if study.callers is not None:
        for text in plan.client.split()[::2]:
            yield _of_one(_case(text, 1.0))
    for text in plan.pairs.split():
        yield _pair(text)


def _known(study: Study, case: Case) -> Case:
    """What can be known of it: without training's values only what needs none of them."""
    many = study.captured >= TRAINED and not study.derived
    if many or case.number.startswith("endpoint"):
        return case
    kind = KINDS.get(case.name.partition(":")[0])
    structure = kind is not None and kind.fault == "schema.structure"
    by_itself = structure or case.traffic.paths
    if by_itself:
        return case
    if study.derived:
        return replace(case, right="inconclusive")
    # Values that training could not have had are told by few rows, too.
    return replace(case, unless="inconclusive")


def _of_one(case: Case) -> Case:
    """The same from one caller, from noon on, where callers and hours are not alike."""
    traffic = varied(case.traffic, caller=CALLERS[1], hour=12, rows=_ROWS_OF_ONE)
    return replace(case, number="caller", name=f"{case.name} of one caller", traffic=traffic)


def _of_labels(study: Study, plan: Plan) -> Iterator[Case]:
    yield Case("own", "labels flipped", "drift", Traffic(flipped=plan.flipped))
    late = Traffic(flipped=plan.flipped, labels=60)
    yield Case("own", "labels not there yet", "inconclusive", late)


def _made(text: str, share: float) -> tuple[str, Traffic]:
    spec = text.replace("|", " ")
    name = spec.partition(":")[0]
    one = fault(spec, share=share)
    rows = _ROWS[share]
    if name in ("library-transform", "library-score"):
        return KINDS[name].fault, Traffic(one, environment=_LIBRARY, rows=rows)
    if name == "corrupt-weights":
        return KINDS[name].fault, Traffic(one, artefact_equal=False, rows=rows)
    return KINDS[name].fault, Traffic(one, rows=rows, paths=name in ("batch-mean", "row-order"))


def _case(text: str, share: float) -> Case:
    right, traffic = _made(text, share)
    kind = "store" if isinstance(traffic.fault, StoreFault) else "endpoint"
    kind = "client" if isinstance(traffic.fault, ClientFault) else kind
    name = text.replace("|", " ") + (f" in {share:.0%}" if share < 1 else "")
    return Case(f"{kind} {share:.0%}", name, right.partition(".")[0], traffic)


def _pair(text: str) -> Case:
    """Two faults; which of them stands first is for their proofs to say, both must be told."""
    one, other = text.split("+")
    (first, traffic), (second, more) = _made(one, 1.0), _made(other, 1.0)
    assert more.fault is not None
    both = Traffic(
        traffic.fault,
        more=(more.fault,),
        environment=more.environment,
        artefact_equal=more.artefact_equal,
        paths=more.paths,
        rows=4000,
    )
    heads = (first.partition(".")[0], second.partition(".")[0])
    fields = tuple(
        each.split(":")[1 + each.startswith("null-as")].replace("|", " ")
        for each in (one, other)
        if KINDS[each.partition(":")[0]].where.value != "endpoint"
    )
    return Case("pair", text.replace("|", " "), "", both, also=heads, features=fields)
