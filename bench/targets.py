"""The targets of the foundation and whether they were met, from ratios within one run.

Pure. A target that could not be measured is never met and never missed: it is open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

__all__ = [
    "BASELINES",
    "FOUNDATION",
    "Finding",
    "Limit",
    "Ratio",
    "Round",
    "Weights",
    "evaluate",
    "ratios",
]

#: (contender, connections) → field → value, of one round.
Round = Mapping[tuple[str, int], Mapping[str, float]]

_SYNC, _ASYNC, _MLFLOW = "fastapi-sync", "fastapi-async-orjson", "mlflow"
#: Whom every contender is compared with → a short word for a table's head.
BASELINES = {_SYNC: "sync", _ASYNC: "async", _MLFLOW: "mlflow"}


@dataclass(frozen=True, slots=True)
class Ratio:
    """`contender` against the best of `peers`, both measured in the same round."""

    text: str
    want: float
    peers: tuple[str, ...]
    connections: int
    field: str = "rps"
    contender: str = "serinus"
    #: False: the ratio must not exceed `want`.
    at_least: bool = True
    unit: str = " x"


@dataclass(frozen=True, slots=True)
class Limit:
    """A figure of the product itself that must not exceed `want`."""

    text: str
    want: float
    key: str
    unit: str
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one target."""

    text: str
    want: float
    at_least: bool
    unit: str
    measured: float | None = None
    #: Lowest and highest of the rounds.
    lowest: float | None = None
    highest: float | None = None
    #: Wrong answers or errors lie under the figure: it counts for nothing.
    spoiled: bool = False

    @property
    def met(self) -> bool | None:
        """None while it was not measured."""
        if self.measured is None:
            return None
        if self.spoiled:
            return False
        return self.measured >= self.want if self.at_least else self.measured <= self.want


#: Figures of the product outside the rounds, by key; one that is missing was not measured.
Weights = Mapping[str, float]

FOUNDATION: tuple[Ratio | Limit, ...] = (
    Ratio("64 connections, req/s ÷ hand-written sync handler", 8, (_SYNC,), 64),
    Ratio("64 connections, req/s ÷ hand-written async handler with orjson", 8, (_ASYNC,), 64),
    Ratio("64 connections, req/s ÷ mlflow models serve", 60, (_MLFLOW,), 64),
    Ratio("64 connections, req/s ÷ the gateway's own constant", 0.4, ("serinus-constant",), 64),
    Ratio(
        "1 connection, p50 ÷ the better hand-written handler",
        1.35,
        (_SYNC, _ASYNC),
        1,
        field="p50_ms",
        at_least=False,
    ),
    Limit("memory of a gateway", 90, "gateway_mib", " MiB"),
    Limit("memory of the controller", 150, "controller_mib", " MiB"),
    Limit("memory of a replica over the bare model process", 60, "replica_over_bare_mib", " MiB"),
    Limit("serve to the first answer, environment cached", 5, "cold_start_s", " s"),
)


def evaluate(
    targets: Sequence[Ratio | Limit], rounds: Sequence[Round], weights: Weights
) -> list[Finding]:
    """One finding per target, in their order."""
    return [
        _ratio(target, rounds) if isinstance(target, Ratio) else _limit(target, weights)
        for target in targets
    ]


def ratios(target: Ratio, rounds: Sequence[Round]) -> list[float]:
    """The ratio of each round in which both sides were measured."""
    found = []
    for cells in rounds:
        own = cells.get((target.contender, target.connections), {}).get(target.field, 0.0)
        peers = [
            value
            for peer in target.peers
            if (value := cells.get((peer, target.connections), {}).get(target.field, 0.0)) > 0
        ]
        if own > 0 and len(peers) == len(target.peers):
            # The best peer: most requests, or least time.
            found.append(own / (max(peers) if target.at_least else min(peers)))
    return found


def _ratio(target: Ratio, rounds: Sequence[Round]) -> Finding:
    found = ratios(target, rounds)
    base = (target.text, target.want, target.at_least, target.unit)
    if not found:
        return Finding(*base)
    own = (target.contender, target.connections)
    spoiled = any(cells.get(own, {}).get("failed", 0) > 0 for cells in rounds)
    return Finding(*base, median(found), min(found), max(found), spoiled)


def _limit(target: Limit, weights: Weights) -> Finding:
    value = weights.get(target.key)
    return Finding(target.text, target.want, target.at_least, target.unit, value, value, value)
