"""Nulls in which the gate itself decides how far the ramp goes, and which restarts run through.

Step by step as the controller does it: judge, and move on when everything is SAFE, so that the ramp
depends on the data. An equal candidate must not be rolled back by any guardrail.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec
import numpy as np

from bench.rates import Rate
from bench.traces import RAMP, LiveStage, Rng, latency_arms
from serinus.evidence.eprocess import Events, log_regression, log_safety
from serinus.evidence.guardrails import (
    Confidence,
    ErrorRate,
    Evidence,
    Guardrail,
    Latency,
    Predictions,
    Quality,
)
from serinus.evidence.outcomes import OutcomeLine, Settled
from serinus.evidence.summary import ArmSummary, Flush, Ledger
from serinus.evidence.verdict import Verdict, judge
from serinus.evidence.windows import Timeline

__all__ = ["gates"]

_ALPHA = 0.05
_NEXT = (*RAMP[1:], 1.0)


def gates(rng: Rng, cheap: int, dear: int) -> Iterator[Rate]:
    """Errors alone, many rollouts at once; then everything, by the product's own judge."""
    hits = sum(_errors_alone(rng, part) for part in _parts(cheap))
    yield Rate("errors: the gate decides the ramp (when-safe), margin 0", hits, cheap, _ALPHA)
    for restarts in (False, True):
        name = "restarts of gateways and controller" if restarts else "the gate decides the ramp"
        fallen = [_rollout(rng, restarts=restarts) for _ in range(dear)]
        for guardrail in ("error_rate", "latency", "predictions", "quality"):
            hits = sum(guardrail in each for each in fallen)
            yield Rate(f"{guardrail}: {name} (when-safe), margin 0", hits, dear, _ALPHA)


def _parts(runs: int) -> Iterator[int]:
    while runs > 0:
        yield min(runs, 2000)
        runs -= 2000


def _errors_alone(rng: Rng, runs: int, ticks: int = 150) -> int:
    """200 requests a second, 1 % errors, 10 s a look: rollouts that are ever rolled back.

    Safety is asked at twice the rate, regression at equality: the harder null.
    """
    stage = np.zeros(runs, np.int64)
    mine, both = (np.zeros((runs, len(RAMP))) for _ in range(2))
    fallen = np.zeros(runs, bool)
    shares, rows = np.array(RAMP), np.arange(runs)
    for _ in range(ticks):
        errors = rng.poisson(20.0, runs)
        mine[rows, stage] += rng.binomial(errors, shares[stage])
        both[rows, stage] += errors
        events = Events(mine, both, shares)
        fallen |= log_regression(events, 1.0) >= -np.log(_ALPHA)
        for place, exposure in enumerate(_NEXT[:-1]):
            at = np.flatnonzero(stage == place)
            if len(at):
                part = Events(mine[at], both[at], shares)
                safe = log_safety(part, 1.0 + 1.0 / exposure) >= -np.log(_ALPHA)
                stage[at[safe]] += 1
    return int(fallen.sum())


#: By these it moves on; and by the same without margins it would be rolled back.
_WANTED: list[Guardrail] = [ErrorRate(), Latency(), Predictions(), Quality(0.1)]


def _rollout(rng: Rng, *, restarts: bool) -> set[str]:
    """The guardrails that ever convicted an equal candidate, at 20 requests/s."""
    ledger, kept, fallen = Ledger(), _Kept(), set[str]()
    incarnation, stored = 0, b""
    told: list[Settled] = []
    for number, share in enumerate(RAMP):
        stage = LiveStage(Timeline(), number, share)
        for look in range(12):
            stage.add(*_arms(rng, 400, share))
            told += _settled(rng, 400, share, len(told))
            # A new incarnation of the gateway begins at nothing; the old one's flush stays.
            ledger.replace(Flush("g", str(incarnation), look + 1, [stage.total]))
            totals = ledger.stages("r")
            kept.timeline.observe(totals)
            # As from the store: all that the line has not counted yet.
            kept.line.take(told[kept.line.through[0] + 1 :])
            evidence = Evidence(totals, kept.timeline, lines={"quality": kept.line})
            fallen |= _convicted(evidence)
            if restarts and look % 4 == 2:
                incarnation += 1
                stage = LiveStage(Timeline(), number, share)
                # The controller comes back with what it stored one look before.
                if stored:
                    kept = msgspec.convert(msgspec.json.decode(stored), _Kept, str_keys=True)
            stored = msgspec.json.encode(msgspec.to_builtins(kept, str_keys=True))
            verdicts = judge(evidence, _WANTED, Confidence(), round(_NEXT[number] * 10_000))
            if all(each.verdict is Verdict.SAFE for each in verdicts):
                break
    return fallen


@dataclass(slots=True)
class _Kept:
    """What a controller has in memory, and stores."""

    timeline: Timeline = field(default_factory=Timeline)
    line: OutcomeLine = field(default_factory=OutcomeLine)


def _settled(rng: Rng, count: int, share: float, first: int) -> list[Settled]:
    """Requests whose outcome is known: right in four of five, one of ten without a label."""
    mine, right, lost = (rng.random(count) < each for each in (share, 0.8, 0.1))
    return [
        Settled(first + place, 0, bool(on), round(share * 10_000), None if gone else float(good))
        for place, (on, good, gone) in enumerate(zip(mine, right, lost, strict=True))
    ]


def _convicted(evidence: Evidence) -> set[str]:
    """By every guardrail with no margin at all, where the null is hardest to keep."""
    strict: list[Guardrail] = [
        ErrorRate(0.0, 0.0),
        Latency(((0.5, 0.0), (0.95, 0.0), (0.99, 0.0))),
        Predictions(0.0),
        Quality(0.0),
    ]
    verdicts = judge(evidence, strict, Confidence(_ALPHA * len(strict)), 10_000)
    return {each.name for each in verdicts if each.verdict is Verdict.REGRESSED}


def _arms(rng: Rng, count: int, share: float) -> tuple[ArmSummary, ArmSummary]:
    arms = latency_arms(rng, count, share, 1.0, 1.0)
    for arm in arms:
        arm.lone_errors = int(rng.binomial(arm.requests, 0.005))
        labels = rng.multinomial(arm.requests, (0.6, 0.3, 0.1)).tolist()
        arm.predictions = {label: n for label, n in zip("abc", labels, strict=True) if n}
    return arms
