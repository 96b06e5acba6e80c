"""The targets against the peers, and what came of each, from ratios in one run. Pure.

What could not be measured is open: neither met nor missed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from bench.peers.figures import Section, middle, ratio, ratios, spoiled

__all__ = ["BATCHING", "HAND", "TARGETS", "Finding", "Target", "judge"]

HAND = ("fastapi-sync", "fastapi-async")
BATCHING = (
    "mlserver-mlflow-batched", "mlserver-sklearn-batched", "bentoml-batched", "ray-batched",
    "litserve-batched",
)  # fmt: skip
_MLFLOW = ("mlflow",)


@dataclass(frozen=True, slots=True)
class Target:
    """`own` against the best of `peers`; with no peers a figure of its own, see `kind`."""

    text: str
    model: str
    want: float
    peers: tuple[str, ...] = ()
    connections: int = 64
    name: str = "rps"
    own: str = "serinus"
    at_least: bool = True
    #: "ratio", "memory" (PSS against the peers'), or "tail" (p99 / p50 at 60 % of capacity).
    kind: str = "ratio"


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a target."""

    target: Target
    measured: float | None = None
    lowest: float | None = None
    highest: float | None = None
    #: Wrong answers or errors lie under the figure: it counts for nothing.
    spoiled: int = 0
    #: A backlog lies under the figure: p99 is near p50 because both are the backlog's.
    full: bool = False

    @property
    def met(self) -> bool | None:
        """None while it was not measured."""
        if self.measured is None:
            return None
        if self.spoiled or self.full:
            return False
        want = self.target.want
        return self.measured >= want if self.target.at_least else self.measured <= want


TARGETS = (
    Target("throughput, M1, 64 connections ÷ `mlflow models serve`", "M1", 120, _MLFLOW),
    Target("throughput, M1, 64 connections ÷ the better hand-written handler", "M1", 20, HAND),
    Target("throughput, M1, 64 connections ÷ the best batching peer", "M1", 7, BATCHING),
    Target("throughput, M1, 16 connections ÷ `mlflow models serve`", "M1", 30, _MLFLOW, 16),
    Target("throughput, M1, 16 connections ÷ the better hand-written handler", "M1", 6, HAND, 16),
    Target("throughput, M1, 16 connections ÷ the best batching peer", "M1", 3, BATCHING, 16),
    Target("throughput, M2, 64 connections ÷ `mlflow models serve`", "M2", 50, _MLFLOW),
    Target("throughput, M2, 64 connections ÷ the better hand-written handler", "M2", 15, HAND),
    Target("throughput, M0, 64 connections ÷ HAProxy's split over constant back ends", "M0", 0.6,
           ("haproxy-split",)),
    Target("p50, M1, 1 connection ÷ the better hand-written handler", "M1", 1.15, HAND, 1,
           name="p50_ms", at_least=False),
    Target("p50, M1, 1 connection, `optimize: onnx` ÷ the better hand-written handler", "M1", 0.35,
           HAND, 1, name="p50_ms", own="serinus-onnx", at_least=False),
    Target("throughput, M1, 64 connections, two versions ÷ one", "M1", 0.97, ("serinus",),
           own="serinus-split"),
    Target("throughput, M1, 64 connections, two versions watched by their contract ÷ two", "M1",
           0.85, ("serinus-split",), own="serinus-watched"),
    Target("p99 ÷ p50, M1, open loop at 60 % of capacity", "M1", 3, kind="tail", at_least=False),
    Target("memory, M1 ÷ `mlflow models serve`", "M1", 1, _MLFLOW, kind="memory", at_least=False),
)  # fmt: skip

#: The open-loop load that the tail is judged at.
_TAIL_SHARE = 0.6
#: Half of all requests take so many times as long as in a closed loop of 64: nobody keeps up.
_FULL = 10


def judge(sections: Mapping[str, Section]) -> list[Finding]:
    """One finding per target, in their order."""
    return [_judged(target, sections.get(target.model)) for target in TARGETS]


def _judged(target: Target, section: Section | None) -> Finding:
    if section is None:
        return Finding(target)
    if target.kind == "memory":
        return Finding(target, _memory(target, section))
    if target.kind == "tail":
        return Finding(target, _tail(target, section), full=_full(target, section))
    found = ratios(section, target.own, target.peers, target.connections, target.name)
    if not found:
        return Finding(target)
    bad = spoiled(section, target.own)
    best = ratio(section, target.own, target.peers, target.connections, target.name)
    return Finding(target, best, min(found), max(found), bad)


def _memory(target: Target, section: Section) -> float | None:
    solos = section["solos"]
    others = [solos[peer]["pss_mib"] for peer in target.peers if peer in solos]
    if target.own not in solos or not others:
        return None
    return float(solos[target.own]["pss_mib"] / min(others))


def _open(section: Section) -> set[int]:
    return {cell["connections"] for cell in section["cells"] if cell["share"]}


def _full(target: Target, section: Section) -> bool:
    closed = middle(section, target.own, target.connections, "p50_ms")
    usual = [middle(section, target.own, n, "p50_ms", _TAIL_SHARE) for n in _open(section)]
    return closed is not None and any(each and each > _FULL * closed for each in usual)


def _tail(target: Target, section: Section) -> float | None:
    found = []
    for each in _open(section):
        slow = middle(section, target.own, each, "p99_ms", _TAIL_SHARE)
        usual = middle(section, target.own, each, "p50_ms", _TAIL_SHARE)
        if slow and usual:
            found.append(slow / usual)
    return median(found) if found else None
